/**
 * When unseen seqs were measured, as far as that is known: between the event times of their neighbours, the seen readings next below
 * and above them. Where one neighbour is not known the other stands for both; where none is, the ingest time.
 */
import type { Interval } from './intervals.js'

/** Event times, both ends included; Unix ms. */
export interface Span {
  fromMs: number
  toMs: number
}

export type SpannedInterval = Interval & Span

/** What a batch says of the time around seqs that it does not hold. */
export interface Surroundings {
  /** The event time of its first reading above the seq; NaN without one. */
  timeAbove(seq: number): number
  readonly ingestMs: number
}

export const NOTHING_KNOWN: Surroundings = { timeAbove: () => Number.NaN, ingestMs: 0 }

/** `belowMs` and `aboveMs` are not finite where they are not known. Clocks step: the earlier one comes first. */
export function spanBetween(belowMs: number, aboveMs: number, { ingestMs }: Surroundings): Span {
  const below = Number.isFinite(belowMs) ? belowMs : Number.isFinite(aboveMs) ? aboveMs : ingestMs
  const above = Number.isFinite(aboveMs) ? aboveMs : below
  return { fromMs: Math.min(below, above), toMs: Math.max(below, above) }
}

/** Adds an interval that lies behind all others; one that touches the last is joined with it. */
export function appendSpanned(intervals: SpannedInterval[], interval: SpannedInterval): void {
  const tail = intervals[intervals.length - 1]
  if (tail?.last !== interval.first - 1) {
    intervals.push({ ...interval })
    return
  }
  tail.last = interval.last
  tail.fromMs = Math.min(tail.fromMs, interval.fromMs)
  tail.toMs = Math.max(tail.toMs, interval.toMs)
}

/** Seen seqs [first, last] above a gap, perhaps with shed ones among them. */
export interface Ahead extends Interval {
  /** The latest event time of them that may move the watermark, and the earliest. */
  eventTimeMs: number
  earliestMs: number
  /** Uptime at which the gap below opened, ms. */
  sinceMs: number
}

/** Takes event times in. */
export function widen(seen: Ahead, latestMs: number, earliestMs: number): void {
  seen.eventTimeMs = Math.max(seen.eventTimeMs, latestMs)
  // -Infinity: an event time that nothing may follow
  if (Number.isFinite(earliestMs)) seen.earliestMs = Number.isFinite(seen.earliestMs) ? Math.min(seen.earliestMs, earliestMs) : earliestMs
}

/** Seqs that were not seen, and when they were measured. */
export interface UnseenRange extends SpannedInterval {
  /** How many of them were not shed. */
  readonly seqs: number
  /** The device holds them still: they are expected. Otherwise they are missing. */
  readonly held: boolean
}

export interface UnseenReport {
  readonly keepThrough: number
  readonly ranges: readonly UnseenRange[]
}
