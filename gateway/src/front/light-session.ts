/**
 * One device's connection, served straight from the socket's bytes: CONNECT with a will, QoS 0 and 1 PUBLISH, its own `config` and
 * `ack`, PING, DISCONNECT. Whoever asks for more is handed to aedes, with the CONNECT and the bytes that are not served yet.
 *
 * Thousands of these are there at a time, so there are no closures, no timers and no objects a message: what all share is in
 * `LightSessions`. Its life: `new` until CONNECT, `connected`, perhaps `leaving` (to aedes, once its last PUBACK is written), `over`.
 */
import type { AppendReceiver } from '../log/frame-log.js'
import { admitPublish, payloadBytesMax, type UpstreamKind } from './admission.js'
import { PACKET_BYTES_MAX, UNACKED_BYTES_MAX, UNACKED_MAX } from './bounds.js'
import type { ClientSocket, Reader } from './client-socket.js'
import type { Downstream, DownstreamKind, Will } from './core.js'
import type { Session } from './front.js'
import {
  bodyStart,
  CONNACK,
  idStartOf,
  isHeadOfDevice,
  type LightConnect,
  ownTopicKind,
  PINGRESP,
  packetBytes,
  publishBytes,
  readConnect,
  readSubscribe,
  readUnsubscribe,
  subackBytes,
  unsubackBytes,
  writePuback
} from './light-packets.js'
import type { LightSessions } from './light-sessions.js'
import { PartialPacket } from './partial-packet.js'

/** A token holds the message ID and, above it, the payload's bytes; one of QoS 0 is negative. */
const MESSAGE_IDS = 0x1_0000

const CONNECT_HEAD = 0x10
const NO_ACK = -1
const loneAck = Buffer.alloc(4) // free again once it is sent

/** Bytes that wait to be written before the socket is no longer read. */
const UNWRITTEN_BYTES_MAX = 64 * 1024

export type LightState = 'new' | 'connected' | 'leaving' | 'over'

export class LightSession implements Session, AppendReceiver, Reader {
  state: LightState = 'new'
  deviceId = ''
  number = 0
  keepaliveS = 0
  /** The last tick in which it was read from; until its CONNECT is whole, the one in which it began. */
  seenTick: number
  unackedCount = 0
  unackedBytes = 0
  isHeld = false
  /** The tick since which it does not take what it is sent; 0: it does. */
  clogTick = 0
  /** Granted; -1: not subscribed. */
  configQos = -1
  ackQos = -1
  /** From the moment it is handed to aedes: what came down until aedes has it. */
  missed: Downstream[] | null = null
  /** The whole CONNECT, for the will and for aedes. */
  private connectPacket: Buffer | null = null
  private willKind: UpstreamKind | null = null
  private willStart = 0
  private willEnd = 0
  /** A packet that has come in part. */
  private partial: PartialPacket | null = null
  /** Message IDs to be acked with this wave. */
  private firstAck = NO_ACK
  private moreAcks: number[] | null = null
  private lastMessageId = 0
  /** While leaving: what aedes is to see. */
  private unserved: Buffer | null = null

  constructor(
    readonly shared: LightSessions,
    readonly socket: ClientSocket
  ) {
    this.seenTick = shared.tick
  }

  /** Takes what the socket has read. */
  feed(chunk: Buffer): void {
    if (this.state !== 'new') this.seenTick = this.shared.tick
    let at = this.partial === null ? 0 : this.completePartial(chunk)
    while (at < chunk.length && (this.state === 'new' || this.state === 'connected')) {
      if (!this.isServable(chunk, at)) break
      const bytes = packetBytes(chunk, at, chunk.length, PACKET_BYTES_MAX)
      if (bytes < 0) {
        this.refuseSize()
        return
      }
      if (bytes === 0 || at + bytes > chunk.length) {
        this.partial = new PartialPacket(chunk, at, PACKET_BYTES_MAX)
        return
      }
      this.packet(chunk, at, at + bytes)
      at += bytes
    }
    if (this.unserved !== null && at < chunk.length) this.unserved = Buffer.concat([this.unserved, chunk.subarray(at)])
    this.leaveIfDone()
  }

  settled(error: Error | null, _entry: number, token: number, appendedMs: number): void {
    const isQos0 = token < 0
    const value = isQos0 ? -1 - token : token
    this.unackedCount--
    this.unackedBytes -= Math.floor(value / MESSAGE_IDS)
    if (this.state === 'connected' || this.state === 'leaving') {
      if (error !== null) this.fail()
      else if (!isQos0) this.ack(value % MESSAGE_IDS)
    }
    this.leaveIfDone()
    this.shared.front.noteSettled(error, appendedMs)
  }

  takeOver(): void {
    if (this.state === 'over')
      this.shared.front.unregister(this.deviceId, this) // aedes has it now
    else this.fail()
  }

  deliver(kind: DownstreamKind, payload: Uint8Array, isRetained: boolean): void {
    const granted = kind === 'config' ? this.configQos : this.ackQos
    if (granted < 0) return
    if (this.state === 'over') {
      this.missed?.push({ kind, payload })
      return
    }
    this.lastMessageId = (this.lastMessageId % 0xffff) + 1
    const qos = granted === 0 ? 0 : 1
    this.write(publishBytes(this.deviceId, kind, payload, { qos, isRetained, messageId: this.lastMessageId }))
  }

  get will(): Will | null {
    if (this.willKind === null || this.connectPacket === null) return null
    return { kind: this.willKind, payload: this.connectPacket.subarray(this.willStart, this.willEnd) }
  }

  /** Ends the connection as if it had been lost. */
  fail(): void {
    this.end(true)
    this.socket.destroy()
  }

  /** Is over, whether or not its socket is closed; appends the will where it is due. */
  end(isWillDue: boolean): void {
    const { state, will } = this
    this.state = 'over'
    this.partial = null
    if (state !== 'connected' && state !== 'leaving') return
    if (isWillDue && will !== null) this.shared.appendWill(this.deviceId, will)
    this.shared.front.unregister(this.deviceId, this)
  }

  /** Writes the PUBACKs of this wave, and goes to aedes if it is to and nothing waits. */
  flushAcks(): void {
    const more = this.moreAcks?.length ?? 0
    const bytes = more === 0 ? loneAck : Buffer.allocUnsafe(4 * (1 + more))
    writePuback(bytes, 0, this.firstAck)
    for (let i = 0; i < more; i++) writePuback(bytes, 4 + 4 * i, this.moreAcks![i])
    this.firstAck = NO_ACK
    this.moreAcks = null
    this.write(bytes)
    this.leaveIfDone()
  }

  /** Looks at a packet's first byte. What no device sends ends the connection, before the rest has come; a beginning that is none is for aedes. */
  private isServable(bytes: Buffer, start: number): boolean {
    if (this.state === 'new' && bytes[start] !== CONNECT_HEAD) this.leave(bytes, start, start)
    else if (!isHeadOfDevice(bytes[start])) this.fail()
    else return true
    return false
  }

  private packet(bytes: Buffer, start: number, end: number): void {
    const first = bytes[start]
    const body = bodyStart(bytes, start)
    if (this.state === 'new') {
      const connect = readConnect(bytes, body, end)
      if (connect === null || this.shared.front.isRelay(connect.deviceId)) this.leave(bytes, start, end)
      else this.connect(connect, bytes, start, end)
      return
    }
    switch (first >> 4) {
      case 3:
        this.publish(bytes, start, body, end)
        return
      case 4: // PUBACK of what was delivered: nothing is sent again, so nothing is kept
        return
      case 8:
        this.subscribe(bytes, start, body, end)
        return
      case 10:
        this.unsubscribe(bytes, start, body, end)
        return
      case 12:
        this.write(PINGRESP)
        return
      case 14:
        this.end(false)
        this.socket.destroy()
        return
      case 1: // a second CONNECT
        this.fail()
        return
      default: // the rest of QoS 2
        this.leave(bytes, start, end)
    }
  }

  private connect(connect: LightConnect, bytes: Buffer, start: number, end: number): void {
    const { front } = this.shared
    this.connectPacket = Buffer.from(bytes.subarray(start, end))
    this.deviceId = connect.deviceId
    this.keepaliveS = connect.keepaliveS
    this.seenTick = this.shared.tick
    this.willKind = connect.willKind
    this.willStart = connect.willStart - start
    this.willEnd = connect.willEnd - start
    this.number = front.nextNumber()
    this.state = 'connected'
    front.register(this.deviceId, this, this.will)
    this.write(CONNACK)
  }

  private publish(bytes: Buffer, start: number, body: number, end: number): void {
    const qos = (bytes[start] >> 1) & 3
    if (qos === 2) {
      this.leave(bytes, start, end)
      return
    }
    const topicStart = body + 2
    const topicEnd = topicStart + bytes[body] * 256 + bytes[body + 1]
    const payloadStart = topicEnd + (qos === 1 ? 2 : 0)
    if (topicStart > end || payloadStart > end) {
      this.fail()
      return
    }
    const kind = ownTopicKind(bytes, topicStart, topicEnd, this.deviceId)
    if (kind === null || end - payloadStart > payloadBytesMax(kind)) {
      this.refusePublish(bytes, topicStart, topicEnd, end - payloadStart)
      return
    }
    const { front, frame } = this.shared
    frame.kind = kind
    frame.bytes = bytes
    frame.idStart = idStartOf(topicStart)
    frame.idEnd = frame.idStart + this.deviceId.length
    frame.payloadStart = payloadStart
    frame.payloadEnd = end
    const messageId = qos === 1 ? bytes[topicEnd] * 256 + bytes[topicEnd + 1] : 0
    const token = messageId + (end - payloadStart) * MESSAGE_IDS
    this.unackedCount++
    this.unackedBytes += end - payloadStart
    front.notePublished()
    front.core.appendFrom(frame, this, qos === 1 ? token : -1 - token)
    if (this.unackedCount >= UNACKED_MAX || this.unackedBytes >= UNACKED_BYTES_MAX || front.core.isFull) this.shared.hold(this)
  }

  private refusePublish(bytes: Buffer, topicStart: number, topicEnd: number, payloadBytes: number): void {
    const topic = bytes.toString('utf8', topicStart, topicEnd)
    const admission = admitPublish(this.deviceId, topic, payloadBytes)
    const refusal = admission.ok ? 'wrong-topic' : admission.refusal
    this.shared.front.refuse(refusal, this.deviceId, { topic: topic.slice(0, 200), bytes: payloadBytes })
    this.fail()
  }

  private subscribe(bytes: Buffer, start: number, body: number, end: number): void {
    const subscribe = readSubscribe(bytes, body, end, this.deviceId)
    if (subscribe === null) {
      this.leave(bytes, start, end)
      return
    }
    for (const { kind, qos } of subscribe.wanted) {
      if (kind === 'config') this.configQos = qos
      else this.ackQos = qos
    }
    this.write(subackBytes(subscribe))
    if (subscribe.wanted.some(({ kind }) => kind === 'config')) this.shared.front.core.requestConfig(this.deviceId)
  }

  private unsubscribe(bytes: Buffer, start: number, body: number, end: number): void {
    const unsubscribe = readUnsubscribe(bytes, body, end, this.deviceId)
    if (unsubscribe === null) {
      this.leave(bytes, start, end)
      return
    }
    for (const kind of unsubscribe.kinds) {
      if (kind === 'config') this.configQos = -1
      else this.ackQos = -1
    }
    this.write(unsubackBytes(unsubscribe.messageId))
  }

  private ack(messageId: number): void {
    if (this.firstAck === NO_ACK) {
      this.firstAck = messageId
      this.shared.flushSoon(this)
    } else {
      this.moreAcks ??= []
      this.moreAcks.push(messageId)
    }
  }

  private write(bytes: Buffer): void {
    if (this.socket.send(bytes)) return
    if (this.clogTick === 0 && this.socket.writableLength > UNWRITTEN_BYTES_MAX) this.shared.noteClogged(this)
  }

  /** Goes to aedes with the packet at [start, end) and what follows, as soon as all that was appended is acked. */
  private leave(bytes: Buffer, start: number, end: number): void {
    this.unserved = Buffer.from(bytes.subarray(start, end))
    if (this.state === 'new') {
      this.state = 'leaving'
      return // nothing is under way
    }
    this.state = 'leaving'
    this.socket.pause()
  }

  private leaveIfDone(): void {
    const { unserved } = this
    if (this.state !== 'leaving' || unserved === null || this.unackedCount > 0 || this.firstAck !== NO_ACK) return
    this.state = 'over'
    this.unserved = null
    this.shared.handOver(this, this.connectPacket, unserved)
  }

  private refuseSize(): void {
    this.shared.refuseSize(this)
    this.fail()
  }

  /** Adds what the packet lacks that has come in part, serves it when it is whole, and returns how many bytes of `chunk` were used. */
  private completePartial(chunk: Buffer): number {
    const partial = this.partial!
    const used = partial.complete(chunk)
    if (used < 0) {
      this.refuseSize()
      return chunk.length
    }
    if (!partial.isWhole) return used
    this.partial = null
    this.packet(partial.bytes, 0, partial.used)
    return used
  }
}
