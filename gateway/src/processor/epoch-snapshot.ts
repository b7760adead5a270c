/** An epoch as a snapshot holds it. */
import type { Ahead, SpannedInterval } from './spans.js'

export interface EpochCounts {
  archived: number
  quarantined: number
  shed: number
  missing: number
  duplicates: number
  late: number
}

export interface EpochSnapshot {
  epoch: number
  settledThrough: number
  blurredThrough: number
  highestSampledSeq: number
  latestEventTimeMs: number
  endOfStreamSeq: number | null
  ahead: Ahead[]
  missing: SpannedInterval[]
  settledMs: number
  reportedThrough: number
  reportedCount: number
  shed: { firstSeq: number; lastSeq: number; keepEvery: number }[]
  counts: EpochCounts
}
