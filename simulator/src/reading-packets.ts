/**
 * The PUBLISH of a single reading without a fault, written in one go: it is nearly all that a large fleet sends, and the way by columns,
 * `encodeBatch` and a payload of its own makes dozens of objects. The bytes are the same; a test compares them.
 */
import { BATCH_VERSION, topicOf } from '@tidemark/protocol'
import { type Device, deviceId, eventTimeMs, PROFILE, type RunPlan, scaledMetrics } from './device.js'
import { METRIC } from './machine.js'
import { PUBLISH_HEAD_BYTES, writePublishHead, writeUint16 } from './mqtt-packets.js'
import { FALSE, NIL, TRUE, writeArrayHead, writeInteger, writeShortText } from './msgpack-write.js'
import type { BufferState } from './publication.js'

/** Packets of one buffer: it lives until the last of them is acked. */
const BUFFER_BYTES = 64 * 1024

/** No packet takes more: 28 bytes of MQTT with up to 2 unused in front, at most 59 of the batch's header, 59 of its body. */
const PACKET_BYTES_MAX = 160

const TOPIC = Buffer.from(topicOf(deviceId(0), 'batch'))
const TOPIC_ID_END = TOPIC.lastIndexOf('/')
const ID_DIGITS = 6

/** What the header of every batch begins with: its length, the version of the format, the profile and its version. */
const HEAD = headOf()

export class ReadingPackets {
  /** Of the packet written last: [start, end) of `bytes`, which is not written to again there. */
  bytes = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  start = 0
  end = 0
  payloadBytes = 0

  /** Writes the packet of reading `seq`. */
  write(plan: RunPlan, device: Device, seq: number, state: BufferState, messageId: number): void {
    if (this.end + PACKET_BYTES_MAX > BUFFER_BYTES) {
      this.bytes = Buffer.allocUnsafeSlow(BUFFER_BYTES)
      this.end = 0
    }
    const { bytes } = this
    const topicAt = this.end + PUBLISH_HEAD_BYTES
    const payloadAt = writeUint16(bytes, writeTopic(bytes, topicAt, device.index), messageId)
    this.end = writeColumns(bytes, writeHeader(bytes, payloadAt, plan, device, seq, state), plan, device, seq)
    this.start = writePublishHead(bytes, topicAt, TOPIC.length, this.end)
    this.payloadBytes = this.end - payloadAt
  }
}

function writeTopic(into: Uint8Array, at: number, index: number): number {
  into.set(TOPIC, at)
  let digits = index
  for (let i = 1; i <= ID_DIGITS; i++) {
    into[at + TOPIC_ID_END - i] = 48 + (digits % 10)
    digits = Math.floor(digits / 10)
  }
  return at + TOPIC.length
}

function writeHeader(into: Uint8Array, begin: number, plan: RunPlan, device: Device, seq: number, state: BufferState): number {
  into.set(HEAD, begin)
  let at = writeInteger(into, begin + HEAD.length, device.epoch)
  at = writeInteger(into, at, seq - state.oldestHeldSeq)
  at = writeInteger(into, at, state.highestSampledSeq - seq + 1)
  at = writeInteger(into, at, state.buffered)
  at = writeInteger(into, at, seq)
  at = writeInteger(into, at, eventTimeMs(plan, device, seq, 'none'))
  return writeInteger(into, at, 1)
}

/** The body: no steps of time, a value a column. */
function writeColumns(into: Uint8Array, begin: number, plan: RunPlan, device: Device, seq: number): number {
  const metrics = scaledMetrics(plan, device, seq)
  let at = writeInteger(into, writeArrayHead(into, begin, 2), 0)
  at = writeArrayHead(into, at, PROFILE.metrics.length)
  for (let m = 0; m < METRIC.maintenanceFlag; m++) {
    if (Number.isNaN(metrics[m])) into[at++] = NIL
    else at = writeInteger(into, at, metrics[m])
  }
  into[at++] = metrics[METRIC.maintenanceFlag] === 0 ? FALSE : TRUE
  return writeShortText(into, at, device.machine.location)
}

function headOf(): Uint8Array {
  const bytes = new Uint8Array(64)
  let at = writeInteger(bytes, writeArrayHead(bytes, 0, 10), BATCH_VERSION)
  at = writeInteger(bytes, writeShortText(bytes, at, PROFILE.name), PROFILE.version)
  return bytes.slice(0, at)
}
