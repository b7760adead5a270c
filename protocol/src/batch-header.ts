/** Reads and judges a batch's header: what is accounted of a batch even when the rest of it is damaged. */
import { BATCH_VERSION, type BatchHeader } from './batch.js'
import { isCount, isTime } from './batch-parts.js'
import { isEventInteger } from './event-id.js'
import { INTEGER_MAX, NAME_LENGTH_MAX, READINGS_PER_BATCH_MAX } from './limits.js'

export interface HeaderOnWire {
  readonly header: BatchHeader
  /** Event time of the first reading, Unix ms. */
  readonly baseEventTimeMs: number
}

/** null where `wire` is no header, is of another version, or contradicts itself. */
export function readHeader(wire: unknown): HeaderOnWire | null {
  if (!Array.isArray(wire) || wire.length < 10 || wire.length > 11 || wire[0] !== BATCH_VERSION) return null
  const [, profile, profileVersion, epoch, held, sampled, buffered, firstSeq, baseEventTimeMs, count, steps] = wire as unknown[]
  if (typeof profile !== 'string' || profile.length > NAME_LENGTH_MAX) return null
  if (!isEventInteger(profileVersion) || !isEventInteger(epoch) || !isEventInteger(firstSeq)) return null
  if (!isCount(held) || held >= firstSeq || !isCount(sampled) || !isCount(buffered) || !isTime(baseEventTimeMs)) return null
  if (!isCount(count) || count > READINGS_PER_BATCH_MAX) return null
  const seqs = readSeqs(firstSeq, count, steps)
  const highestSampledSeq = firstSeq + sampled - 1
  if (seqs === null || highestSampledSeq > INTEGER_MAX || (count > 0 && seqs[count - 1] > highestSampledSeq)) return null
  return {
    // + 0: a float64 on the wire may be -0
    header: { profile, profileVersion, epoch, oldestHeldSeq: firstSeq - held, highestSampledSeq, buffered: buffered + 0, seqs },
    baseEventTimeMs: baseEventTimeMs + 0
  }
}

function readSeqs(firstSeq: number, count: number, steps: unknown): Float64Array | null {
  const seqs = new Float64Array(count)
  if (count > 0) seqs[0] = firstSeq
  if (steps === undefined) {
    for (let i = 1; i < count; i++) seqs[i] = firstSeq + i
    return count > 0 && !isEventInteger(seqs[count - 1]) ? null : seqs
  }
  if (!Array.isArray(steps) || steps.length !== count - 1) return null
  for (let i = 1; i < count; i++) {
    const step: unknown = steps[i - 1]
    if (!isEventInteger(step)) return null
    seqs[i] = seqs[i - 1] + step
    if (!isEventInteger(seqs[i])) return null
  }
  return seqs
}
