/**
 * The seqs of one epoch of a device: which were seen, which were shed, which are missing, which the device still holds.
 *
 *   1 ……………… settledThrough | gap | ahead | gap | ahead …  highestSampled
 *   settled: seen, or shed,                       seen
 *   or in `missing`
 *
 * Exact, with memory that does not grow with the number of readings. What is shed was never seen: a tombstone that covers a seen
 * seq does not change what became of it. Knows no values, no time but event times and the age of gaps.
 */
import type { Tombstone } from '@tidemark/protocol'
import { appendInterval, holds, type Interval, indexFor, removeSeq, removeThrough } from './intervals.js'
import { ShedSeqs } from './shed.js'

/** Most intervals of seen seqs above a gap; a reading that would make one more is quarantined. As many intervals of missing seqs. */
export const INTERVALS_MAX = 1024

/** Pieces of shed seqs above which no more are taken in, unless settled ones can be forgotten. */
export const SHED_PIECES_MAX = 1024

/** Seen seqs [first, last] above a gap, perhaps with shed ones among them. */
interface Ahead extends Interval {
  /** The latest event time of them that may move the watermark. */
  eventTimeMs: number
  /** Uptime at which the gap below opened, ms. */
  sinceMs: number
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
  blurredThrough: number
  highestSampledSeq: number
  latestEventTimeMs: number
  endOfStreamSeq: number | null
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
  private settledThrough: number
  /** At and below it seen, missing and shed seqs are no longer told apart, only counted. */
  private blurredThrough: number
  /** The latest event time of any reading seen, whatever became of it. */
  private latestEventTimeMs: number
  private readonly ahead: Ahead[]
  /** Unseen seqs that the device no longer holds; those of them that are shed are not missing. */
  private readonly missing: Interval[]
  private readonly shed: ShedSeqs

  constructor(epoch: number, snapshot?: EpochSnapshot) {
    this.epoch = epoch
    this.counts = snapshot?.counts ?? { archived: 0, quarantined: 0, shed: 0, missing: 0, duplicates: 0, late: 0 }
    this.highestSampledSeq = snapshot?.highestSampledSeq ?? 0
    this.endOfStreamSeq = snapshot?.endOfStreamSeq ?? null
    this.settledThrough = snapshot?.settledThrough ?? 0
    this.blurredThrough = snapshot?.blurredThrough ?? 0
    this.latestEventTimeMs = snapshot?.latestEventTimeMs ?? Number.NEGATIVE_INFINITY
    this.ahead = snapshot?.ahead ?? []
    this.missing = snapshot?.missing ?? []
    this.shed = new ShedSeqs(snapshot?.shed)
  }

  /**
   * Whether the seq, and those behind it, come in order: nothing above was seen, nothing was shed, and that the device holds
   * nothing below `oldestHeldSeq` settles nothing.
   */
  isNextInOrder(seq: number, oldestHeldSeq: number): boolean {
    return seq === this.settledThrough + 1 && oldestHeldSeq <= seq && this.ahead.length === 0 && this.shed.size === 0
  }

  /** Marks the seqs up to `last` as seen; the first of them was the next in order. Their event times are to be noted. */
  seeThrough(last: number): void {
    this.settledThrough = last
  }

  /** Judges a reading's event ID; changes nothing. `eventTimeMs` is NaN where it cannot be read. */
  sight(seq: number, eventTimeMs: number): Sight {
    if (this.shed.has(seq)) return 'shed'
    if (seq <= this.blurredThrough) return 'fragmented'
    if (seq <= this.settledThrough) return holds(this.missing, seq) ? 'new' : this.sightOfSeen(eventTimeMs)
    if (holds(this.ahead, seq)) return this.sightOfSeen(eventTimeMs)
    if (seq === this.settledThrough + 1 || this.ahead.length < INTERVALS_MAX) return 'new'
    const at = indexFor(this.ahead, seq)
    return this.joins(this.ahead[at - 1]?.last, seq) || this.joins(seq, this.ahead[at]?.first) ? 'new' : 'fragmented'
  }

  /**
   * Marks a seq whose sight was `new` as seen. `eventTimeMs` is -Infinity where it must not move the watermark.
   * Returns the latest event time that this settles, -Infinity where a gap below holds it back.
   */
  see(seq: number, eventTimeMs: number, uptimeMs: number): number {
    this.noteEventTime(eventTimeMs)
    if (seq <= this.settledThrough) {
      removeSeq(this.missing, seq, part => this.isLost(part))
      this.counts.missing--
      this.boundMissing()
      return eventTimeMs
    }
    if (seq === this.settledThrough + 1) {
      this.settledThrough = seq
      return this.ahead.length === 0 && this.shed.size === 0 ? eventTimeMs : Math.max(eventTimeMs, this.absorb())
    }
    this.addAhead(seq, eventTimeMs, uptimeMs)
    return Number.NEGATIVE_INFINITY
  }

  /** Notes an event time that no watermark may follow, so that a resent copy is still known as a duplicate. */
  noteEventTime(eventTimeMs: number): void {
    if (eventTimeMs > this.latestEventTimeMs) this.latestEventTimeMs = eventTimeMs
  }

  /** Takes in what the device declares as dropped, save what was seen. Returns the latest event time that this settles. */
  bury({ firstSeq, lastSeq, keepEvery }: Tombstone): number {
    const endSeq = Math.min(lastSeq, this.highestSampledSeq)
    const bury = ({ first, last }: Interval): number => {
      if (!this.makeRoomForShed()) return 0
      const range = { firstSeq: Math.max(first, firstSeq, this.blurredThrough + 1), lastSeq: Math.min(last, endSeq), keepEvery }
      return range.firstSeq <= range.lastSeq ? this.shed.add(range) : 0
    }
    const from = indexFor(this.missing, firstSeq)
    const lost = this.missing.slice(from, indexFor(this.missing, endSeq) + 1).map(({ first, last }) => ({ first, last }))
    const recovered = lost.reduce((sum, interval) => sum + bury(interval), 0)
    let dropped = recovered
    for (const unseen of this.unseenAbove(endSeq)) dropped += bury(unseen)
    if (dropped === 0) return Number.NEGATIVE_INFINITY
    this.counts.shed += dropped
    this.counts.missing -= recovered
    if (recovered > 0) this.missing.splice(0, this.missing.length, ...this.missing.filter(interval => this.isLost(interval)))
    this.joinAhead()
    return this.absorb()
  }

  /** The device holds nothing below `oldestHeldSeq` any more: what was never seen nor shed there is missing. */
  settleBelow(oldestHeldSeq: number): number {
    const last = oldestHeldSeq - 1
    if (last <= this.settledThrough) return Number.NEGATIVE_INFINITY
    for (const unseen of this.unseenAbove(last)) {
      const kept = this.shed.countKept(unseen.first, unseen.last)
      this.counts.missing += kept
      if (kept > 0) appendInterval(this.missing, unseen)
    }
    let eventTimeMs = Number.NEGATIVE_INFINITY
    while (this.ahead.length > 0 && this.ahead[0].first <= last) {
      const seen = this.ahead.shift()!
      eventTimeMs = Math.max(eventTimeMs, seen.eventTimeMs)
      this.settledThrough = seen.last
    }
    this.settledThrough = Math.max(this.settledThrough, last)
    this.boundMissing()
    return Math.max(eventTimeMs, this.absorb())
  }

  get hasGap(): boolean {
    return this.ahead.length > 0
  }

  /** Uptime at which the lowest gap opened, ms; NaN without one. */
  get gapSinceMs(): number {
    return this.ahead.length === 0 ? Number.NaN : this.ahead[0].sinceMs
  }

  /** Whether the device said that the epoch ends, and everything up to there is settled; no longer when it has gone on. */
  get isClosed(): boolean {
    const { endOfStreamSeq } = this
    return endOfStreamSeq !== null && this.settledThrough >= endOfStreamSeq && this.highestSampledSeq <= endOfStreamSeq
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
    const { epoch, settledThrough, blurredThrough, highestSampledSeq, latestEventTimeMs, endOfStreamSeq, ahead, missing, counts } = this
    const shed = [...this.shed.toArray()]
    return { epoch, settledThrough, blurredThrough, highestSampledSeq, latestEventTimeMs, endOfStreamSeq, ahead, missing, shed, counts }
  }

  private sightOfSeen(eventTimeMs: number): Sight {
    return eventTimeMs > this.latestEventTimeMs ? 'reused' : 'duplicate'
  }

  private isLost({ first, last }: Interval): boolean {
    return this.shed.countKept(first, last) > 0
  }

  /** Whether nothing but shed seqs lies between the two. */
  private joins(lower: number | undefined, upper: number | undefined): boolean {
    return lower !== undefined && upper !== undefined && this.shed.endOfRun(lower + 1) >= upper - 1
  }

  private addAhead(seq: number, eventTimeMs: number, uptimeMs: number): void {
    const at = indexFor(this.ahead, seq)
    const below = this.ahead[at - 1]
    const above = this.ahead[at]
    if (this.joins(below?.last, seq)) {
      below.last = seq
      below.eventTimeMs = Math.max(below.eventTimeMs, eventTimeMs)
      if (this.joins(seq, above?.first)) this.joinWithNext(at - 1)
    } else if (this.joins(seq, above?.first)) {
      above.first = seq
      above.eventTimeMs = Math.max(above.eventTimeMs, eventTimeMs)
    } else this.ahead.splice(at, 0, { first: seq, last: seq, eventTimeMs, sinceMs: above?.sinceMs ?? uptimeMs })
  }

  private joinWithNext(at: number): void {
    const [lower, upper] = [this.ahead[at], this.ahead[at + 1]]
    lower.last = upper.last
    lower.eventTimeMs = Math.max(lower.eventTimeMs, upper.eventTimeMs)
    this.ahead.splice(at + 1, 1)
  }

  /** Makes one of what only shed seqs keep apart. */
  private joinAhead(): void {
    for (let at = this.ahead.length - 2; at >= 0; at--) {
      if (this.joins(this.ahead[at].last, this.ahead[at + 1].first)) this.joinWithNext(at)
    }
  }

  /** Moves `settledThrough` over seen and shed seqs that follow it. */
  private absorb(): number {
    let eventTimeMs = Number.NEGATIVE_INFINITY
    for (;;) {
      const end = this.shed.endOfRun(this.settledThrough + 1)
      this.settledThrough = Math.max(this.settledThrough, end)
      if (this.ahead.length === 0 || this.ahead[0].first > this.settledThrough + 1) return eventTimeMs
      const seen = this.ahead.shift()!
      this.settledThrough = Math.max(this.settledThrough, seen.last)
      eventTimeMs = Math.max(eventTimeMs, seen.eventTimeMs)
    }
  }

  private makeRoomForShed(): boolean {
    while (this.shed.size >= SHED_PIECES_MAX) {
      if (this.shed.lowestPieceEnd > this.settledThrough) return false
      this.blur(this.shed.lowestPieceEnd)
    }
    return true
  }

  private boundMissing(): void {
    while (this.missing.length > INTERVALS_MAX) this.blur(this.missing[0].last)
  }

  /** What is settled at and below `seq` is only counted from now on. */
  private blur(seq: number): void {
    this.blurredThrough = Math.max(this.blurredThrough, seq)
    this.shed.forgetThrough(seq)
    removeThrough(this.missing, seq)
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
