/**
 * Which front has which device, and what is kept for whoever subscribes later: each device's last status and its configuration.
 *
 * - A device has one connection: where it connects twice, on whatever fronts, the later holds and the earlier is ended.
 * - The will of a connection is its front's to append; where the front died, it is handed to whoever reports that.
 * - What is meant for a device goes down its own connection; where it has none, to the relays that listen to it.
 * - What a device in backlog is granted holds for all its connections: its agent forgets it with each, so each birth is answered with it.
 * - The death of a session that is not the last one is not taken: it must not bury the birth of the next.
 */
import { type Ack, decodeStatus } from '@tidemark/protocol'
import type { Connected, DeviceMessage, DownstreamKind, FrontEnd, Will } from './core.js'

/** Sessions and statuses remembered, in devices. */
const DEVICES_MAX = 200_000

interface Connection {
  readonly front: FrontEnd
  readonly number: number
  readonly acceptedMs: number
  readonly will: Will | null
}

export class Presence {
  /** The connection that holds, by device. */
  private readonly holding = new Map<string, Connection>()
  /** All connections of a front that it has not reported as ended, by device. */
  private readonly byFront = new Map<FrontEnd, Map<string, Connection>>()
  /** The session of each device's last birth. */
  private readonly sessions = new Map<string, string>()
  private readonly retainedStatuses = new Map<string, Uint8Array>()
  private readonly configs = new Map<string, Uint8Array>()
  /** The drain that is granted, in readings a second, by device. */
  private readonly grants = new Map<string, number>()
  private readonly watching = new Set<FrontEnd>()
  /** Fronts with a relay that listens to what is meant for other devices. */
  private readonly relaying = new Set<FrontEnd>()

  connected(front: FrontEnd, { deviceId, number, acceptedMs, will }: Connected): void {
    const connection = { front, number, acceptedMs, will }
    const before = this.holding.get(deviceId)
    const isLater = before === undefined || before.front === front || before.acceptedMs <= acceptedMs
    let own = this.byFront.get(front)
    if (own === undefined) {
      own = new Map()
      this.byFront.set(front, own)
    }
    own.set(deviceId, connection)
    if (isLater) this.holding.set(deviceId, connection)
    if (before === undefined || before.front === front) return // a front ends its own earlier one by itself
    const ended = isLater ? before : connection
    ended.front.takeOver(deviceId, ended.number)
  }

  disconnected(front: FrontEnd, deviceId: string, number: number): void {
    const own = this.byFront.get(front)
    if (own?.get(deviceId)?.number === number) own.delete(deviceId)
    const holding = this.holding.get(deviceId)
    if (holding?.front === front && holding.number === number) this.holding.delete(deviceId)
  }

  /** Forgets a front that has died, and returns the wills of its connections. */
  frontDied(front: FrontEnd): { readonly deviceId: string; readonly will: Will }[] {
    const wills: { deviceId: string; will: Will }[] = []
    for (const [deviceId, { will, number }] of this.byFront.get(front) ?? []) {
      if (will !== null) wills.push({ deviceId, will })
      const holding = this.holding.get(deviceId)
      if (holding?.front === front && holding.number === number) this.holding.delete(deviceId)
    }
    this.byFront.delete(front)
    this.watching.delete(front)
    this.relaying.delete(front)
    return wills
  }

  /** Remembers the session of a birth, and answers it with the gateway's time and what is granted. False for the death of a session that is not the last one. */
  admitStatus(deviceId: string, payload: Uint8Array): boolean {
    const status = decodeStatus(payload)
    if (status === null) return true // logged as it is
    if (status.state === 'offline') {
      const current = this.sessions.get(deviceId)
      return current === undefined || current === status.session
    }
    keep(this.sessions, deviceId, status.session)
    const granted = this.grants.get(deviceId)
    this.tell(deviceId, { time_ms: Date.now(), ...(granted !== undefined && { max_rate: `${granted}/s` }) })
    return true
  }

  /** Keeps a status that is durable and shows it to whoever listens. `payload` is kept. */
  noteStatus(deviceId: string, payload: Uint8Array): void {
    if (payload.length === 0) this.retainedStatuses.delete(deviceId)
    else keep(this.retainedStatuses, deviceId, payload)
    for (const front of this.watching) front.showStatus({ deviceId, payload })
  }

  watch(front: FrontEnd): void {
    this.watching.add(front)
  }

  watchDevices(front: FrontEnd): void {
    this.relaying.add(front)
  }

  /** What is kept of the devices that the filter names: their last statuses, or their configurations. */
  *kept(filter: string): Generator<DeviceMessage, void> {
    const [, , named, kind] = filter.split('/')
    const kept = kind === 'config' ? this.configs : this.retainedStatuses
    for (const deviceId of named === '+' ? [...kept.keys()] : [named]) {
      const payload = kept.get(deviceId)
      if (payload !== undefined) yield { deviceId, payload }
    }
  }

  /** Keeps a configuration and delivers it to the device, if it is there and listens; null takes it back. */
  setConfig(deviceId: string, payload: Uint8Array | null): void {
    if (payload !== null) this.configs.set(deviceId, payload)
    else if (!this.configs.delete(deviceId)) return
    this.deliver(deviceId, 'config', payload ?? new Uint8Array(0))
  }

  deliverConfig(front: FrontEnd, deviceId: string): void {
    const payload = this.configs.get(deviceId)
    if (payload !== undefined) front.deliver(deviceId, 'config', payload, true)
  }

  /** Grants a device a drain in readings a second; null lifts it. Who grants bounds how many there are. */
  grant(deviceId: string, readingsPerSecond: number | null): void {
    if (readingsPerSecond === null) this.grants.delete(deviceId)
    else this.grants.set(deviceId, readingsPerSecond)
    this.tell(deviceId, { max_rate: readingsPerSecond === null ? null : `${readingsPerSecond}/s` })
  }

  /** Tells a device something on its ack topic, if it is there. */
  tell(deviceId: string, message: Ack): void {
    this.deliver(deviceId, 'ack', Buffer.from(JSON.stringify(message)))
  }

  private deliver(deviceId: string, kind: DownstreamKind, payload: Uint8Array): void {
    const holding = this.holding.get(deviceId)
    if (holding !== undefined) holding.front.deliver(deviceId, kind, payload, false)
    else for (const front of this.relaying) front.relay(deviceId, kind, payload)
  }
}

/** Sets a value as the newest; the oldest goes when there are too many. */
function keep<T>(map: Map<string, T>, deviceId: string, value: T): void {
  map.delete(deviceId)
  map.set(deviceId, value)
  if (map.size <= DEVICES_MAX) return
  const [oldest] = map.keys()
  map.delete(oldest)
}
