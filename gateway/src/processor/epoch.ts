/**
 * The seqs of one epoch of a device: which were seen, which were shed, which are missing, which the device still holds.
 *
 *   1 ……………… settledThrough | gap | ahead | gap | ahead …  highestSampled
 *   settled: seen, or shed,                       seen
 *   or in `missing`
 *
 * Exact, with memory that does not grow with the number of readings. Knows no values, no time but event times.
 */
import type { Tombstone } from '@tidemark/protocol'
import { ShedSeqs } from './shed.js'

/** Most intervals (ahead and missing) tracked in an epoch; a reading that would make one more is quarantined. */
export const INTERVALS_MAX = 1024

/** Seen seqs [first, last] above a gap; `eventTimeMs` is the latest of them that may move the watermark. */
interface Ahead {
  first: number
  last: number
  eventTimeMs: number
}

interface Interval {
  first: number
  last: number
}

/** What a seq is on arrival. `reused`: seen, but this is another reading under the same event ID. */
export type Sight = 'new' | 'duplicate' | 'reused' | 'shed' | 'fragmented'

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
  highestSampledSeq: number
  latestEventTimeMs: number
  endOfStreamSeq: number | null
  gapSinceMs: number
  ahead: Ahead[]
  missing: Interval[]
  shed: { firstSeq: number; lastSeq: number; keepEvery: number }[]
  counts: EpochCounts
}

export class Epoch {
  readonly epoch: number
  readonly counts: EpochCounts
  highestSampledSeq: number
  endOfStreamSeq: number | null
  /** Uptime at which the oldest gap opened, ms; NaN without one. */
  gapSinceMs: number
  private settledThrough: number
  /** The latest event time of any reading seen, whatever became of it. */
  private latestEventTimeMs: number
  private readonly ahead: Ahead[]
  private readonly missing: Interval[]
  private readonly shed: ShedSeqs

  constructor(epoch: number, snapshot?: EpochSnapshot) {
    this.epoch = epoch
    this.counts = snapshot?.counts ?? { archived: 0, quarantined: 0, shed: 0, missing: 0, duplicates: 0, late: 0 }
    this.highestSampledSeq = snapshot?.highestSampledSeq ?? 0
    this.endOfStreamSeq = snapshot?.endOfStreamSeq ?? null
    this.gapSinceMs = snapshot?.gapSinceMs ?? Number.NaN
    this.settledThrough = snapshot?.settledThrough ?? 0
    this.latestEventTimeMs = snapshot?.latestEventTimeMs ?? Number.NEGATIVE_INFINITY
    this.ahead = snapshot?.ahead ?? []
    this.missing = snapshot?.missing ?? []
    this.shed = new ShedSeqs(snapshot?.shed)
  }

  /** Judges a reading's event ID; changes nothing. `eventTimeMs` is NaN where it cannot be read. */
  sight(seq: number, eventTimeMs: number): Sight {
    if (seq <= this.settledThrough) {
      const lost = this.missing.length > 0 && intervalAt(this.missing, seq) !== null
      if (this.shed.has(seq)) return 'shed'
      if (lost) return this.fitsSplit(seq) ? 'new' : 'fragmented'
      return this.sightOfSeen(eventTimeMs)
    }
    if (intervalAt(this.ahead, seq) !== null) return this.sightOfSeen(eventTimeMs)
    if (this.shed.has(seq)) return 'shed'
    if (seq === this.settledThrough + 1 || this.ahead.length + this.missing.length < INTERVALS_MAX) return 'new'
    return intervalAt(this.ahead, seq - 1) !== null || intervalAt(this.ahead, seq + 1) !== null ? 'new' : 'fragmented'
  }

  /**
   * Marks a seq whose sight was `new` as seen. `eventTimeMs` is -Infinity where it must not move the watermark.
   * Returns the latest event time that this settles, -Infinity where a gap below holds it back.
   */
  see(seq: number, eventTimeMs: number): number {
    if (eventTimeMs > this.latestEventTimeMs) this.latestEventTimeMs = eventTimeMs
    if (seq <= this.settledThrough) {
      removeSeq(this.missing, seq)
      this.counts.missing--
      return eventTimeMs
    }
    if (seq === this.settledThrough + 1) {
      this.settledThrough = seq
      return this.ahead.length === 0 && this.shed.toArray().length === 0 ? eventTimeMs : Math.max(eventTimeMs, this.absorb())
    }
    addSeen(this.ahead, seq, eventTimeMs)
    return Number.NEGATIVE_INFINITY
  }

  /** Notes an event time that no watermark may follow, so that a resent copy is still known as a duplicate. */
  noteEventTime(eventTimeMs: number): void {
    if (eventTimeMs > this.latestEventTimeMs) this.latestEventTimeMs = eventTimeMs
  }

  /** Takes in what the device declares as dropped. Returns the latest event time that this settles. */
  bury(tombstone: Tombstone): number {
    const range = { ...tombstone, lastSeq: Math.min(tombstone.lastSeq, this.highestSampledSeq) }
    if (range.firstSeq > range.lastSeq) return Number.NEGATIVE_INFINITY
    let recovered = 0
    for (const { first, last } of this.missing) recovered += this.shed.countNew(range, first, last)
    let dropped = recovered
    for (const { first, last } of this.unseenAbove(this.highestSampledSeq)) dropped += this.shed.countNew(range, first, last)
    if (dropped === 0) return Number.NEGATIVE_INFINITY
    this.shed.add(range)
    this.counts.shed += dropped
    this.counts.missing -= recovered
    return this.absorb()
  }

  /** The device holds nothing below `oldestHeldSeq` any more: what was never seen nor shed there is missing. */
  settleBelow(oldestHeldSeq: number): number {
    const last = oldestHeldSeq - 1
    if (last <= this.settledThrough) return Number.NEGATIVE_INFINITY
    let lost = 0
    for (const unseen of this.unseenAbove(last)) {
      const kept = this.shed.countKept(unseen.first, unseen.last)
      lost += kept
      if (kept > 0) appendInterval(this.missing, unseen)
    }
    this.counts.missing += lost
    let eventTimeMs = Number.NEGATIVE_INFINITY
    while (this.ahead.length > 0 && this.ahead[0].first <= last) {
      const seen = this.ahead.shift()!
      eventTimeMs = Math.max(eventTimeMs, seen.eventTimeMs)
      this.settledThrough = seen.last
    }
    this.settledThrough = Math.max(this.settledThrough, last)
    return Math.max(eventTimeMs, this.absorb())
  }

  get hasGap(): boolean {
    return this.ahead.length > 0
  }

  /** Whether the device said that the epoch ends, and everything up to there is settled. */
  get isClosed(): boolean {
    return this.endOfStreamSeq !== null && this.settledThrough >= this.endOfStreamSeq
  }

  /** The latest event time above a gap; -Infinity without one. */
  get latestAheadMs(): number {
    return this.ahead.reduce((latest, { eventTimeMs }) => Math.max(latest, eventTimeMs), Number.NEGATIVE_INFINITY)
  }

  /** Seqs that were sampled and neither seen nor shed, and that the device still holds. */
  get buffered(): number {
    let held = 0
    for (const { first, last } of this.unseenAbove(this.highestSampledSeq)) held += this.shed.countKept(first, last)
    return held
  }

  toSnapshot(): EpochSnapshot {
    const { epoch, settledThrough, highestSampledSeq, latestEventTimeMs, endOfStreamSeq, gapSinceMs, ahead, missing, counts } = this
    return { epoch, settledThrough, highestSampledSeq, latestEventTimeMs, endOfStreamSeq, gapSinceMs, ahead, missing, shed: [...this.shed.toArray()], counts }
  }

  private sightOfSeen(eventTimeMs: number): Sight {
    return eventTimeMs > this.latestEventTimeMs ? 'reused' : 'duplicate'
  }

  private fitsSplit(seq: number): boolean {
    const interval = intervalAt(this.missing, seq)!
    return interval.first === seq || interval.last === seq || this.ahead.length + this.missing.length < INTERVALS_MAX
  }

  /** Moves `settledThrough` over seen and shed seqs that follow it. */
  private absorb(): number {
    let eventTimeMs = Number.NEGATIVE_INFINITY
    for (;;) {
      const next = this.settledThrough + 1
      if (this.ahead.length > 0 && this.ahead[0].first <= next) {
        const seen = this.ahead.shift()!
        this.settledThrough = Math.max(this.settledThrough, seen.last)
        eventTimeMs = Math.max(eventTimeMs, seen.eventTimeMs)
        continue
      }
      const end = this.shed.endOfRun(next)
      if (end < next) return eventTimeMs
      const untilSeen = this.ahead.length > 0 ? Math.min(end, this.ahead[0].first - 1) : end
      this.settledThrough = untilSeen
    }
  }

  /** The runs of seqs in (settledThrough, last] that were not seen. */
  private *unseenAbove(last: number): Generator<Interval> {
    let first = this.settledThrough + 1
    for (const seen of this.ahead) {
      if (seen.first > last) break
      if (seen.first > first) yield { first, last: seen.first - 1 }
      first = seen.last + 1
    }
    if (first <= last) yield { first, last }
  }
}

/** The index of the first interval whose last is at or above `seq`. */
function indexFor(intervals: readonly Interval[], seq: number): number {
  let low = 0
  let high = intervals.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (intervals[middle].last < seq) low = middle + 1
    else high = middle
  }
  return low
}

function intervalAt<T extends Interval>(intervals: readonly T[], seq: number): T | null {
  const interval = intervals[indexFor(intervals, seq)]
  return interval !== undefined && interval.first <= seq ? interval : null
}

function addSeen(ahead: Ahead[], seq: number, eventTimeMs: number): void {
  const at = indexFor(ahead, seq)
  const below = ahead[at - 1]
  const above = ahead[at]
  const touchesBelow = below !== undefined && below.last === seq - 1
  const touchesAbove = above !== undefined && above.first === seq + 1
  if (touchesBelow && touchesAbove) {
    below.last = above.last
    below.eventTimeMs = Math.max(below.eventTimeMs, above.eventTimeMs, eventTimeMs)
    ahead.splice(at, 1)
  } else if (touchesBelow) {
    below.last = seq
    below.eventTimeMs = Math.max(below.eventTimeMs, eventTimeMs)
  } else if (touchesAbove) {
    above.first = seq
    above.eventTimeMs = Math.max(above.eventTimeMs, eventTimeMs)
  } else ahead.splice(at, 0, { first: seq, last: seq, eventTimeMs })
}

function removeSeq(intervals: Interval[], seq: number): void {
  const at = indexFor(intervals, seq)
  const { first, last } = intervals[at]
  const rest: Interval[] = []
  if (first < seq) rest.push({ first, last: seq - 1 })
  if (last > seq) rest.push({ first: seq + 1, last })
  intervals.splice(at, 1, ...rest)
}

function appendInterval(intervals: Interval[], { first, last }: Interval): void {
  const tail = intervals[intervals.length - 1]
  if (tail !== undefined && tail.last === first - 1) tail.last = last
  else intervals.push({ first, last })
}
