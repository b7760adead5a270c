/**
 * The rules that the parts of a batch besides its columns obey, for the encoder, which asserts them, and the decoder, which
 * answers by them. Each function names the fault, or gives null.
 */
import type { ExtraColumn, Tombstone } from './batch.js'
import { isEventInteger } from './event-id.js'
import {
  INTEGER_MAX,
  METRICS_PER_PROFILE_MAX,
  NAME_LENGTH_MAX,
  TIME_MS_MAX,
  TOMBSTONE_REASON_LENGTH_MAX,
  TOMBSTONES_PER_BATCH_MAX
} from './limits.js'
import { isWellFormed } from './text.js'

const REASON = new RegExp(`^[a-z-]{1,${TOMBSTONE_REASON_LENGTH_MAX}}$`)

/** Whether `value` is an integer in [0, 2^53 - 1]. */
export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= INTEGER_MAX
}

/** Whether `value` is a time that the wire can carry, in whole Unix ms. */
export function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && Math.abs(value) <= TIME_MS_MAX
}

export function tombstonesFault(tombstones: readonly Tombstone[], highestSampledSeq: number): string | null {
  if (tombstones.length > TOMBSTONES_PER_BATCH_MAX)
    return `a batch holds at most ${TOMBSTONES_PER_BATCH_MAX} tombstones, not ${tombstones.length}`
  for (const { firstSeq, lastSeq, keepEvery, reason } of tombstones) {
    if (!isEventInteger(firstSeq) || !isEventInteger(lastSeq) || firstSeq > lastSeq)
      return `a tombstone cannot span ${firstSeq} to ${lastSeq}`
    if (lastSeq > highestSampledSeq) return `a tombstone ends at seq ${lastSeq}, above the highest sampled, ${highestSampledSeq}`
    if (!isCount(keepEvery) || keepEvery === 1) return `a tombstone cannot keep every ${keepEvery}th`
    if (!REASON.test(reason)) return `"${reason}" is no reason of a tombstone`
  }
  return null
}

export function endOfStreamFault(endOfStreamSeq: number | null, highestSampledSeq: number): string | null {
  if (endOfStreamSeq === null || endOfStreamSeq === highestSampledSeq) return null
  return `the stream cannot end at seq ${endOfStreamSeq} when the highest sampled is ${highestSampledSeq}`
}

export function extraFault(extra: readonly ExtraColumn[], count: number): string | null {
  if (extra.length > METRICS_PER_PROFILE_MAX) return `a batch holds at most ${METRICS_PER_PROFILE_MAX} extra fields, not ${extra.length}`
  const names = new Set<string>()
  for (const { name, values } of extra) {
    if (name.length < 1 || name.length > NAME_LENGTH_MAX || !isWellFormed(name)) return `an extra field cannot be named "${name}"`
    if (names.has(name)) return `the extra field "${name}" is there twice`
    if (values.length !== count) return `the extra field "${name}" has ${values.length} values for ${count} readings`
    if (!values.every(isExtraValue)) return `the extra field "${name}" holds what is neither null, a finite number, a bool nor a string`
    names.add(name)
  }
  return null
}

function isExtraValue(value: unknown): boolean {
  return value === null || typeof value === 'boolean' || typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value))
}
