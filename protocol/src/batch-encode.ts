import { Encoder } from '@msgpack/msgpack'
import { BATCH_VERSION, type ClockQuality, type ExtraColumn, type Tombstone } from './batch.js'
import type { Column } from './column.js'
import { encodeColumn } from './column-codec.js'
import { PAYLOAD_BYTES_MAX, READINGS_PER_BATCH_MAX, TOMBSTONES_PER_BATCH_MAX } from './limits.js'
import type { Profile } from './profile.js'

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
  readonly endOfStreamSeq?: number
  readonly extra?: readonly ExtraColumn[]
}

const encoder = new Encoder({ initialBufferSize: 4096 })

/**
 * The payload of a PUBLISH: the header, then the body, one MessagePack value each. Numbers of metrics with a resolution are
 * rounded to it. Throws a RangeError for what no decoder would take (limits.ts): that is a mistake of the caller.
 */
export function encodeBatch(input: BatchInput): Uint8Array {
  const { seqs, eventTimesMs, profile } = input
  const count = seqs.length
  const firstSeq = count > 0 ? seqs[0] : input.highestSampledSeq + 1
  if (count > READINGS_PER_BATCH_MAX) throw new RangeError(`a batch holds at most ${READINGS_PER_BATCH_MAX} readings, not ${count}`)
  if (input.oldestHeldSeq > firstSeq) throw new RangeError(`seq ${firstSeq} is below the oldest held, ${input.oldestHeldSeq}`)
  if (count > 0 && seqs[count - 1] > input.highestSampledSeq) throw new RangeError(`seq ${seqs[count - 1]} was never sampled`)
  if ((input.tombstones?.length ?? 0) > TOMBSTONES_PER_BATCH_MAX) {
    throw new RangeError(`a batch holds at most ${TOMBSTONES_PER_BATCH_MAX} tombstones`)
  }
  const header: unknown[] = [
    BATCH_VERSION,
    profile.name,
    profile.version,
    input.epoch,
    firstSeq - input.oldestHeldSeq,
    input.highestSampledSeq - firstSeq + 1,
    input.buffered,
    firstSeq,
    count > 0 ? eventTimesMs[0] : 0,
    count
  ]
  const seqSteps = stepsOf(seqs)
  if (seqSteps.some(step => step !== 1)) header.push(seqSteps)
  const timeSteps = stepsOf(eventTimesMs)
  const body: unknown[] = [
    timeSteps.every(step => step === timeSteps[0]) ? (timeSteps[0] ?? 0) : timeSteps,
    count > 0 ? profile.metrics.map((metric, m) => encodeColumn(metric, input.columns[m])) : [],
    input.tombstones?.length ? input.tombstones.map(t => [t.firstSeq, t.lastSeq, t.keepEvery, t.reason]) : null,
    input.clock === 'estimated' ? 1 : null,
    input.endOfStreamSeq ?? null,
    input.extra?.length ? input.extra.map(column => [column.name, [...column.values]]) : null
  ]
  while (body[body.length - 1] === null) body.pop()
  const head = encoder.encode(header)
  const tail = encoder.encode(body)
  const payload = new Uint8Array(head.length + tail.length)
  payload.set(head)
  payload.set(tail, head.length)
  if (payload.length > PAYLOAD_BYTES_MAX) throw new RangeError(`a batch has at most ${PAYLOAD_BYTES_MAX} bytes, not ${payload.length}`)
  return payload
}

/** Differences of neighbours, one fewer than there are values. */
function stepsOf(values: ArrayLike<number>): number[] {
  const steps = new Array<number>(Math.max(0, values.length - 1))
  for (let i = 0; i < steps.length; i++) steps[i] = values[i + 1] - values[i]
  return steps
}
