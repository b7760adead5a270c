/**
 * One device's MQTT 3.1.1 connection: light, because there are many. QoS 1 only; it publishes and subscribes to nothing.
 *
 * - What is published stays in `inFlight` until its PUBACK, over any number of sockets: each new one begins by sending all of it
 *   again, in order, with DUP.
 * - It neither retries nor keeps timers: its owner decides when to `open`, and calls `watch` now and then.
 */
import { performance } from 'node:perf_hooks' // the global of this name is looked up anew at each use
import type { Packet } from 'mqtt-packet'
import { KEEPALIVE_S, SILENCE_MS_MAX } from './limits.js'
import { connectPacket, DISCONNECT, loneAckOf, markRedelivered, PINGREQ, publishPacket, readPackets, refusalOf } from './mqtt-packets.js'
import { received, WireSocket } from './wire-socket.js'

/** A PUBLISH that waits for its PUBACK, with what its owner wants to know of it then. */
export interface InFlight<T> {
  readonly messageId: number
  /** The packet is [start, end) of these. */
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  readonly tag: T
}

/** MQTT bytes over all sockets of an owner. */
export interface WireBytes {
  sent: number
  received: number
}

/** What connections tell their owner; one object serves all of them. Every `open` is answered by one `onClosed` in the end. */
export interface ConnectionEvents<T> {
  /** Counted up by its connections. */
  readonly wire?: WireBytes
  /** CONNACK has come, and what was in flight is on its way again. */
  onOpen(connection: Connection<T>, redelivered: number): void
  /** `nowMs`: when the PUBACK came, by performance.now(). */
  onAcked(connection: Connection<T>, tag: T, nowMs: number): void
  /** The socket takes data again. */
  onDrain(connection: Connection<T>): void
  /** null: closed by `close`. */
  onClosed(connection: Connection<T>, cause: Error | null): void
}

export interface BrokerAddress {
  readonly host: string
  readonly port: number
}

/** The broker answered, with a refusal: trying again does not help before something is changed there. */
export class BrokerRefusedError extends Error {
  readonly code = 'BROKER_REFUSED'
}

const NOTHING = Buffer.alloc(0)

export class Connection<T> {
  readonly inFlight: InFlight<T>[] = []
  private socket: WireSocket | null = null
  private state: 'closed' | 'connecting' | 'open' | 'closing' = 'closed'
  private rest: Buffer = NOTHING
  private cause: Error | null = null
  private nextMessageId = 1
  private isCongested = false
  private isPinging = false
  private sentMs = 0
  private heardMs = 0

  constructor(
    readonly index: number,
    readonly clientId: string,
    private readonly events: ConnectionEvents<T>
  ) {}

  get isClosed(): boolean {
    return this.state === 'closed'
  }

  get isOpen(): boolean {
    return this.state === 'open'
  }

  /** Whether `publish` may be called without piling up data in memory. */
  get isWritable(): boolean {
    return this.state === 'open' && !this.isCongested
  }

  /** Dials the broker; only when closed. */
  open(address: BrokerAddress): void {
    if (this.state !== 'closed') throw new Error(`connection ${this.clientId} is ${this.state} already`)
    this.state = 'connecting'
    this.cause = null
    this.isCongested = this.isPinging = false
    this.rest = NOTHING
    this.sentMs = this.heardMs = performance.now()
    const socket = new WireSocket(this)
    this.socket = socket
    socket.on('connect', () => this.write(connectPacket(this.clientId, KEEPALIVE_S)))
    socket.on('drain', () => {
      this.isCongested = false
      if (this.state === 'open') this.events.onDrain(this)
    })
    socket.on('error', error => {
      this.cause ??= error
    })
    socket.on('close', () => this.closed())
    socket.connect({ ...address, noDelay: true })
  }

  /** Publishes with QoS 1; only when open. `onAcked` gets the tag. */
  publish(topic: string, payload: Uint8Array, tag: T): void {
    const messageId = this.takeMessageId()
    const packet = publishPacket(topic, payload, messageId)
    this.send(messageId, packet, 0, packet.length, tag)
  }

  /** Sends [start, end) of `bytes`: a PUBLISH with QoS 1 and an ID from `takeMessageId`, which nobody changes any more. Only when open. */
  send(messageId: number, bytes: Buffer, start: number, end: number, tag: T): void {
    if (this.state !== 'open') throw new Error(`connection ${this.clientId} is not open`)
    this.inFlight.push({ messageId, bytes, start, end, tag })
    this.sentMs = performance.now()
    this.write(bytes, start, end)
  }

  /** An ID that no PUBLISH in flight has. */
  takeMessageId(): number {
    do {
      this.nextMessageId = this.nextMessageId === 65_535 ? 1 : this.nextMessageId + 1
    } while (this.placeOf(this.nextMessageId) >= 0)
    return this.nextMessageId
  }

  /** Pings when nothing was sent for half the keepalive, and drops the socket when an answer is overdue. `nowMs` is performance.now(). */
  watch(nowMs: number): void {
    if (this.state === 'closed') return
    if (this.state !== 'open' || this.isPinging) {
      if (nowMs - this.heardMs > SILENCE_MS_MAX) this.drop(new Error(`the broker was silent for ${SILENCE_MS_MAX / 1000} s`))
      return
    }
    const quietMs = KEEPALIVE_S * 500
    if (nowMs - this.sentMs < quietMs && (this.inFlight.length === 0 || nowMs - this.heardMs < quietMs)) return
    this.isPinging = true
    this.sentMs = this.heardMs = nowMs
    this.write(PINGREQ)
  }

  /** Says goodbye and closes. What is in flight stays so. */
  close(): void {
    if (this.state === 'closed' || this.state === 'closing') return
    const wasOpen = this.state === 'open'
    this.state = 'closing'
    if (wasOpen) this.socket?.end(DISCONNECT)
    else this.socket?.destroy()
  }

  /** Closes without a word. */
  drop(cause: Error): void {
    this.cause ??= cause
    this.socket?.destroy()
  }

  private write(bytes: Buffer, start = 0, end = bytes.length): void {
    if (this.events.wire !== undefined) this.events.wire.sent += end - start
    if (this.socket?.send(bytes, start, end) === false) this.isCongested = true
  }

  /** Where in `inFlight` a PUBLISH is; -1: nowhere. */
  private placeOf(messageId: number): number {
    const { inFlight } = this
    for (let i = 0; i < inFlight.length; i++) if (inFlight[i].messageId === messageId) return i
    return -1
  }

  /** For the socket alone to call. */
  onReceived(length: number): void {
    if (this.events.wire !== undefined) this.events.wire.received += length
    const messageId = this.rest.length === 0 ? loneAckOf(received, length) : -1
    if (messageId >= 0) {
      this.acked(messageId)
      return
    }
    const bytes = received.subarray(0, length)
    const whole = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes])
    try {
      const taken = readPackets(whole, packet => this.receive(packet))
      this.rest = taken === whole.length ? NOTHING : Buffer.from(whole.subarray(taken))
    } catch (error) {
      this.drop(error instanceof Error ? error : new Error(String(error)))
    }
  }

  private receive(packet: Packet): void {
    if (packet.cmd === 'puback') {
      this.acked(packet.messageId ?? 0)
      return
    }
    this.heardMs = performance.now()
    this.isPinging = false
    if (packet.cmd === 'connack') this.admitted(packet.returnCode ?? 0)
  }

  private admitted(returnCode: number): void {
    if (this.state !== 'connecting') return
    if (returnCode !== 0) {
      this.drop(new BrokerRefusedError(`the broker refuses ${this.clientId}: ${refusalOf(returnCode)}`))
      return
    }
    this.state = 'open'
    for (const entry of this.inFlight) {
      markRedelivered(entry.bytes, entry.start)
      this.write(entry.bytes, entry.start, entry.end)
    }
    this.events.onOpen(this, this.inFlight.length)
  }

  private acked(messageId: number): void {
    const nowMs = performance.now()
    this.heardMs = nowMs
    this.isPinging = false
    const at = this.placeOf(messageId)
    if (at < 0) return
    const { inFlight } = this
    const { tag } = inFlight[at]
    if (at === inFlight.length - 1) inFlight.pop()
    else inFlight.splice(at, 1)
    this.events.onAcked(this, tag, nowMs)
  }

  private closed(): void {
    const cause = this.state === 'closing' ? null : (this.cause ?? new Error('the broker closed the connection'))
    this.state = 'closed'
    this.socket = null
    this.rest = NOTHING
    this.events.onClosed(this, cause)
  }
}
