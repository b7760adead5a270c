import type { Column } from './column.js'
import type { RejectReason } from './reject.js'

/** The version of the layout that this package writes and reads. */
export const BATCH_VERSION = 1

/** Whether a device's event times come from a clock that is known to be right. */
export type ClockQuality = 'synced' | 'estimated'

/** What a device declares to have dropped: the seqs in [firstSeq, lastSeq], save those that are multiples of `keepEvery`. */
export interface Tombstone {
  readonly firstSeq: number
  readonly lastSeq: number
  /** 0: none is kept. Otherwise at least 2: seqs divisible by it are kept, so that thinning again with 2n sheds only more. */
  readonly keepEvery: number
  /** `thinned`, `dropped-oldest`, `dropped-newest`, `expired`, `crash`, `refused`, `damaged`, or a device's own, `[a-z-]{1,32}`. */
  readonly reason: string
}

/** What is accounted of a batch even when its columns are damaged. */
export interface BatchHeader {
  readonly profile: string
  readonly profileVersion: number
  readonly epoch: number
  /** Every seq below it was acked or shed; at most the first seq of the batch. */
  readonly oldestHeldSeq: number
  /** The last seq that was given away when the batch was made, to a reading or to a tombstone; 0 where none was. */
  readonly highestSampledSeq: number
  /** Readings in the device's buffer when the batch was made, those in the batch included. */
  readonly buffered: number
  /** Strictly rising; as many as there are readings. */
  readonly seqs: Float64Array
}

/** A batch as decoded: the readings of one PUBLISH, by columns. */
export interface Batch {
  readonly header: BatchHeader
  /** Why none of the readings can be used; null where they can be judged one by one. What else could be read is there all the same. */
  readonly reject: RejectReason | null
  /** Unix ms, one a reading; null where they are damaged. */
  readonly eventTimesMs: Float64Array | null
  /** One a metric, in the profile's order; empty where `reject` is set. */
  readonly columns: readonly Column[]
  readonly tombstones: readonly Tombstone[]
  readonly clock: ClockQuality
  /** The epoch's last seq, where the device says that it has ended; equals `highestSampledSeq`. */
  readonly endOfStreamSeq: number | null
  readonly extra: readonly ExtraColumn[]
}

/** A field that the profile does not name, or a metric's values that are not of its type. */
export interface ExtraColumn {
  /** 1 to 64 characters, once in a batch. */
  readonly name: string
  /** One a reading. Numbers are finite. */
  readonly values: readonly (number | boolean | string | null)[]
}
