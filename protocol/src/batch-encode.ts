import { Encoder } from '@msgpack/msgpack'
import { BATCH_VERSION, type ClockQuality, type ExtraColumn, type Tombstone } from './batch.js'
import { endOfStreamFault, extraFault, isCount, isTime, tombstonesFault } from './batch-parts.js'
import type { Column } from './column.js'
import { encodeColumn } from './column-codec.js'
import { isEventInteger } from './event-id.js'
import { PAYLOAD_BYTES_MAX, READINGS_PER_BATCH_MAX } from './limits.js'
import type { Profile } from './profile.js'
import { textForWire } from './text.js'

/** What an agent knows when it makes a batch. */
export interface BatchInput {
  readonly profile: Profile
  readonly epoch: number
  readonly oldestHeldSeq: number
  readonly highestSampledSeq: number
  readonly buffered: number
  /** Strictly rising. Where there are none, nothing but the header, tombstones and the end of the stream is sent. */
  readonly seqs: ArrayLike<number>
  /** Unix ms, one a seq. */
  readonly eventTimesMs: ArrayLike<number>
  /** One a metric, in the profile's order. */
  readonly columns: readonly Column[]
  readonly tombstones?: readonly Tombstone[]
  readonly clock?: ClockQuality
  /** The epoch ends with this seq, which is the highest sampled. */
  readonly endOfStreamSeq?: number
  readonly extra?: readonly ExtraColumn[]
}

const encoder = new Encoder({ initialBufferSize: 4096 })

/**
 * The payload of a PUBLISH: the header, then the body, one MessagePack value each. Numbers of metrics with a resolution are
 * rounded to it. Throws a RangeError for what no decoder would take (limits.ts) and a TypeError for a column of another type
 * than its metric: both are mistakes of the caller.
 */
export function encodeBatch(input: BatchInput): Uint8Array {
  const fault = faultOf(input)
  if (fault !== null) throw new RangeError(fault)
  const head = encoder.encode(headerOf(input))
  const tail = encoder.encode(bodyOf(input))
  const payload = new Uint8Array(head.length + tail.length)
  payload.set(head)
  payload.set(tail, head.length)
  if (payload.length > PAYLOAD_BYTES_MAX) throw new RangeError(`a batch has at most ${PAYLOAD_BYTES_MAX} bytes, not ${payload.length}`)
  return payload
}

function headerOf(input: BatchInput): unknown[] {
  const { profile, epoch, oldestHeldSeq, highestSampledSeq, buffered, seqs, eventTimesMs } = input
  const firstSeq = firstSeqOf(input)
  const header: unknown[] = [
    BATCH_VERSION,
    profile.name,
    profile.version,
    epoch,
    firstSeq - oldestHeldSeq,
    highestSampledSeq - firstSeq + 1,
    buffered,
    firstSeq,
    seqs.length > 0 ? eventTimesMs[0] : 0,
    seqs.length
  ]
  const steps = stepsOf(seqs)
  if (steps.some(step => step !== 1)) header.push(steps)
  return header
}

function bodyOf(input: BatchInput): unknown[] {
  const { profile, columns, tombstones = [], clock, endOfStreamSeq, extra = [] } = input
  const steps = stepsOf(input.eventTimesMs)
  const body: unknown[] = [
    steps.every(step => step === steps[0]) ? (steps[0] ?? 0) : steps,
    input.seqs.length > 0 ? profile.metrics.map((metric, m) => encodeColumn(metric, columns[m])) : [],
    tombstones.length > 0 ? tombstones.map(t => [t.firstSeq, t.lastSeq, t.keepEvery, t.reason]) : null,
    clock === 'estimated' ? 1 : null,
    endOfStreamSeq ?? null,
    extra.length > 0 ? extra.map(({ name, values }) => [textForWire(name), values.map(extraForWire)]) : null
  ]
  while (body[body.length - 1] === null) body.pop()
  return body
}

/** A batch without readings begins where the next one would. */
function firstSeqOf({ seqs, highestSampledSeq }: BatchInput): number {
  return seqs.length > 0 ? seqs[0] : highestSampledSeq + 1
}

function faultOf(input: BatchInput): string | null {
  const { profile, epoch, oldestHeldSeq, highestSampledSeq, buffered, seqs, eventTimesMs, columns } = input
  const count = seqs.length
  if (!isEventInteger(epoch)) return `${epoch} is no epoch`
  if (!isCount(highestSampledSeq) || !isCount(buffered)) return `neither the highest sampled seq nor the readings buffered can be negative`
  if (!isEventInteger(oldestHeldSeq) || !isEventInteger(firstSeqOf(input))) return `a seq is an integer in [1, 2^53 - 1]`
  if (oldestHeldSeq > firstSeqOf(input)) return `seq ${firstSeqOf(input)} is below the oldest held, ${oldestHeldSeq}`
  if (count > READINGS_PER_BATCH_MAX) return `a batch holds at most ${READINGS_PER_BATCH_MAX} readings, not ${count}`
  if (eventTimesMs.length !== count) return `${count} readings have ${eventTimesMs.length} event times`
  for (let i = 0; i < count; i++) {
    if (!isEventInteger(seqs[i]) || (i > 0 && seqs[i] <= seqs[i - 1])) return `seqs must rise, not go from ${seqs[i - 1]} to ${seqs[i]}`
    if (!isTime(eventTimesMs[i])) return `${eventTimesMs[i]} is no event time in whole Unix ms`
  }
  if (count > 0 && seqs[count - 1] > highestSampledSeq) return `seq ${seqs[count - 1]} was never sampled`
  if (count > 0 && (columns.length !== profile.metrics.length || columns.some(column => column.values.length !== count))) {
    return `profile ${profile.name} needs ${profile.metrics.length} columns of ${count} values`
  }
  return (
    tombstonesFault(input.tombstones ?? [], highestSampledSeq) ??
    endOfStreamFault(input.endOfStreamSeq ?? null, highestSampledSeq) ??
    extraFault(input.extra ?? [], count)
  )
}

function extraForWire(value: number | boolean | string | null): number | boolean | string | null {
  return typeof value === 'string' ? textForWire(value) : value
}

/** Differences of neighbours, one fewer than there are values. */
function stepsOf(values: ArrayLike<number>): number[] {
  const steps = new Array<number>(Math.max(0, values.length - 1))
  for (let i = 0; i < steps.length; i++) steps[i] = values[i + 1] - values[i]
  return steps
}
