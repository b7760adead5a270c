/** The core for a front in its own process: the log and the presence, with nothing between. */
import type { AppendReceiver, FrameLog } from '../log/frame-log.js'
import type { FrameInPlace, FrameKind } from '../log/frames.js'
import { type Connected, type DeviceMessage, type FrontCore, type FrontEnd, StaleDeathError } from './core.js'
import type { Presence } from './presence.js'

export class LocalCore implements FrontCore {
  /** The front that this is the core of; set before it takes connections. */
  front: FrontEnd | null = null

  constructor(
    private readonly log: FrameLog,
    private readonly presence: Presence
  ) {}

  get isFull(): boolean {
    return this.log.isFull
  }

  appendFor(kind: FrameKind, deviceId: string, payload: Uint8Array, receiver: AppendReceiver, token: number): void {
    if (kind === 'status') this.appendStatus(deviceId, payload, receiver, token)
    else this.log.appendFor(kind, deviceId, payload, receiver, token)
  }

  appendFrom(frame: FrameInPlace, receiver: AppendReceiver, token: number): void {
    if (frame.kind === 'status') {
      const { bytes, idStart, idEnd, payloadStart, payloadEnd } = frame
      const deviceId = Buffer.from(bytes.subarray(idStart, idEnd)).toString('latin1')
      this.appendStatus(deviceId, bytes.subarray(payloadStart, payloadEnd), receiver, token)
    } else this.log.appendFrom(frame, receiver, token)
  }

  connected(client: Connected): void {
    this.presence.connected(this.front!, { ...client, will: null }) // the will dies with this process
  }

  disconnected(deviceId: string, number: number): void {
    this.presence.disconnected(this.front!, deviceId, number)
  }

  watchStatuses(): void {
    this.presence.watch(this.front!)
  }

  watchDevices(): void {
    this.presence.watchDevices(this.front!)
  }

  async *kept(filter: string): AsyncGenerator<DeviceMessage> {
    yield* this.presence.kept(filter)
  }

  requestConfig(deviceId: string): void {
    this.presence.deliverConfig(this.front!, deviceId)
  }

  private appendStatus(deviceId: string, payload: Uint8Array, receiver: AppendReceiver, token: number): void {
    if (!this.presence.admitStatus(deviceId, payload)) {
      receiver.settled(new StaleDeathError(), 0, token, performance.now())
      return
    }
    const kept = Uint8Array.from(payload)
    const settled: AppendReceiver['settled'] = (error, entry, _token, appendedMs) => {
      if (error === null) this.presence.noteStatus(deviceId, kept)
      receiver.settled(error, entry, token, appendedMs)
    }
    this.log.appendFor('status', deviceId, payload, { settled }, token)
  }
}
