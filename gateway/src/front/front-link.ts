/**
 * A front in a process of its own as the core sees it: its waves go to the log as they are, and it is told the last one that is
 * durable, once a group commit. Only waves that hold a status are looked into.
 *
 * Bounded: while the log is full the socket is not read, so that the front's bytes stay with the front, which holds its sockets.
 */
import type { Socket } from 'node:net'
import type { AppendReceiver, PackedLog } from '../log/frame-log.js'
import { FrameCursor } from '../log/frames.js'
import type { DeviceMessage, DownstreamKind, FrontEnd } from './core.js'
import { encodeMessage, type MessageSink, MessageSplitter, type ToCore, type ToFront } from './link-messages.js'
import type { Presence } from './presence.js'

/** Bytes of what is kept in a page. */
const PAGE_BYTES = 64 * 1024

/** How often it is looked whether the log has room again, ms. */
const RESUME_MS = 10

/** Bytes that the front has not read of what is only shown, such as others' statuses, before more of it is dropped. */
const SHOWN_BYTES_MAX = 16 * 1024 * 1024

/** What a front reports beside what it appends. */
export type Report = Extract<ToCore, { type: 'log' | 'stats' | 'listening' | 'failed-to-listen' }>

export class FrontLink implements FrontEnd, AppendReceiver, MessageSink<ToCore> {
  onReport: (report: Report) => void = () => {}
  private readonly splitter = new MessageSplitter<ToCore>(this)
  /** Statuses of waves under way, to be noted when these are durable. */
  private readonly statuses = new Map<number, DeviceMessage[]>()
  private refused: [number, number][] = []
  /** Waves of which nothing is left to append: settled with the one before. */
  private readonly emptyWaves = new Set<number>()
  private settledThrough = 0
  private saidThrough = 0
  /** Why the waves that are settled and not said yet are not in the log; null: they are. */
  private error: string | null = null
  private isSaying = false
  private readonly requests = new Map<number, Iterator<DeviceMessage>>()
  private resuming: NodeJS.Timeout | null = null

  constructor(
    private readonly socket: Socket,
    private readonly log: PackedLog,
    private readonly presence: Presence
  ) {
    socket.on('data', chunk => {
      this.splitter.feed(chunk)
      if (this.log.isFull) this.pause()
    })
    socket.on('error', () => {}) // 'close' follows
  }

  /** Whether the front is not read just now: it may have said what we have not heard. */
  get isHeld(): boolean {
    return this.resuming !== null
  }

  /** Resolves when the front is gone and all that it had said has been read. */
  closed(): Promise<void> {
    return new Promise(resolve => this.socket.once('close', () => resolve()))
  }

  takeOver(deviceId: string, number: number): void {
    this.say({ type: 'take-over', deviceId, number })
  }

  deliver(deviceId: string, kind: DownstreamKind, payload: Uint8Array, isRetained: boolean): void {
    this.say({ type: 'deliver', deviceId, kind, payload, isRetained })
  }

  relay(deviceId: string, kind: DownstreamKind, payload: Uint8Array): void {
    this.say({ type: 'relay', deviceId, kind, payload })
  }

  showStatus({ deviceId, payload }: DeviceMessage): void {
    if (this.socket.writableLength < SHOWN_BYTES_MAX) this.say({ type: 'status', deviceId, payload })
  }

  /** Tells the front to take in no more, to wait for what is under way, and to end. */
  close(): void {
    this.say({ type: 'close' })
  }

  wave(wave: number, hasStatus: boolean, frames: Uint8Array): void {
    const kept = hasStatus ? this.decideStatuses(wave, frames) : frames
    if (kept.length > 0) this.log.appendPacked(kept, this, wave)
    else if (this.settledThrough === wave - 1) this.settled(null, 0, wave)
    else this.emptyWaves.add(wave)
  }

  settled(error: Error | null, _entry: number, wave: number): void {
    const message = error?.message ?? null
    if (message !== this.error) this.saySettled()
    for (const { deviceId, payload } of this.statuses.get(wave) ?? []) if (error === null) this.presence.noteStatus(deviceId, payload)
    this.statuses.delete(wave)
    this.settledThrough = wave
    while (this.emptyWaves.delete(this.settledThrough + 1)) this.settledThrough++
    this.error = message
    if (this.isSaying) return
    this.isSaying = true
    queueMicrotask(() => this.saySettled())
  }

  message(message: ToCore): void {
    switch (message.type) {
      case 'connected':
        this.presence.connected(this, message)
        return
      case 'disconnected':
        this.presence.disconnected(this, message.deviceId, message.number)
        return
      case 'watch-statuses':
        this.presence.watch(this)
        return
      case 'watch-devices':
        this.presence.watchDevices(this)
        return
      case 'kept':
        this.sendPage(message.request, message.filter)
        return
      case 'kept-end':
        this.requests.delete(message.request)
        return
      case 'config':
        this.presence.deliverConfig(this, message.deviceId)
        return
      case 'log':
      case 'stats':
      case 'listening':
      case 'failed-to-listen':
        this.onReport(message)
        return
      default:
        message satisfies never
    }
  }

  /** Notes the statuses that are taken and returns the frames without those that are not. */
  private decideStatuses(wave: number, frames: Uint8Array): Uint8Array {
    const taken: DeviceMessage[] = []
    const kept: Uint8Array[] = []
    const cursor = new FrameCursor(frames)
    let keptFrom = 0
    for (let index = 0, start = 0; cursor.next(); index++, start = cursor.payloadEnd) {
      if (cursor.kind !== 'status') continue
      const { deviceId, payload } = cursor
      if (this.presence.admitStatus(deviceId, payload)) taken.push({ deviceId, payload: Uint8Array.from(payload) })
      else {
        this.refused.push([wave, index])
        kept.push(frames.subarray(keptFrom, start))
        keptFrom = cursor.payloadEnd
      }
    }
    if (taken.length > 0) this.statuses.set(wave, taken)
    if (kept.length === 0) return frames
    return Buffer.concat([...kept, frames.subarray(keptFrom)])
  }

  private saySettled(): void {
    this.isSaying = false
    const { settledThrough: through } = this
    if (through === this.saidThrough) return
    const refused = this.refused.filter(([wave]) => wave <= through)
    this.refused = this.refused.filter(([wave]) => wave > through)
    this.say({ type: 'settled', through, error: this.error, refused })
    this.saidThrough = through
  }

  private sendPage(request: number, filter: string): void {
    const iterator = this.requests.get(request) ?? this.presence.kept(filter)
    const kept: [string, Uint8Array][] = []
    let isLast = false
    for (let bytes = 0; bytes < PAGE_BYTES; ) {
      const next = iterator.next()
      isLast = next.done === true
      if (next.done) break
      kept.push([next.value.deviceId, next.value.payload])
      bytes += next.value.payload.length
    }
    if (isLast) this.requests.delete(request)
    else this.requests.set(request, iterator)
    this.say({ type: 'page', request, isLast, kept })
  }

  private say(message: ToFront): void {
    if (!this.socket.destroyed) this.socket.write(encodeMessage(message))
  }

  private pause(): void {
    if (this.resuming !== null) return
    this.socket.pause()
    this.resuming = setInterval(() => {
      if (this.log.isFull) return
      clearInterval(this.resuming!)
      this.resuming = null
      this.socket.resume()
    }, RESUME_MS)
  }
}
