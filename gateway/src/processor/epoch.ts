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
import type { EpochCounts, EpochSnapshot } from './epoch-snapshot.js'
import { holds, type Interval, indexFor, removeSeq, removeThrough } from './intervals.js'
import { ShedSeqs } from './shed.js'
import {
  type Ahead,
  appendSpanned,
  NOTHING_KNOWN,
  type Span,
  type SpannedInterval,
  type Surroundings,
  spanBetween,
  type UnseenReport,
  widen
} from './spans.js'

/** Most intervals of seen seqs above a gap; a reading that would make one more is quarantined. As many intervals of missing seqs. */
export const INTERVALS_MAX = 1024

/** Pieces of shed seqs above which no more are taken in, unless settled ones can be forgotten. */
export const SHED_PIECES_MAX = 1024

/** What a seq is on arrival. `reused`: seen, but this is another reading under the same event ID. */
export type Sight = 'new' | 'duplicate' | 'reused' | 'shed' | 'fragmented'

/** What most epochs share, having none of their own; nothing is ever added to it. */
const NONE: SpannedInterval[] = []
const NOTHING_AHEAD: Ahead[] = []
const NOTHING_SHED = new ShedSeqs()

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
  private ahead: Ahead[]
  /** Unseen seqs that the device no longer holds; those of them that are shed are not missing. */
  private missing: SpannedInterval[]
  /** The latest event time of what is settled. */
  private settledMs: number
  /** What of the missing has been blurred since the last report; perhaps with shed seqs among them. */
  private blurred: SpannedInterval[] = NONE
  /** `blurredThrough` as of the last report, and how many ranges that held. */
  private reportedThrough: number
  private reportedCount: number
  private shed: ShedSeqs

  constructor(epoch: number, snapshot?: EpochSnapshot) {
    this.epoch = epoch
    this.counts = snapshot?.counts ?? { archived: 0, quarantined: 0, shed: 0, missing: 0, duplicates: 0, late: 0 }
    this.highestSampledSeq = snapshot?.highestSampledSeq ?? 0
    this.endOfStreamSeq = snapshot?.endOfStreamSeq ?? null
    this.settledThrough = snapshot?.settledThrough ?? 0
    this.blurredThrough = snapshot?.blurredThrough ?? 0
    this.latestEventTimeMs = snapshot?.latestEventTimeMs ?? Number.NEGATIVE_INFINITY
    this.ahead = snapshot?.ahead.length ? snapshot.ahead : NOTHING_AHEAD
    this.missing = snapshot === undefined || snapshot.missing.length === 0 ? NONE : snapshot.missing
    this.settledMs = snapshot?.settledMs ?? Number.NEGATIVE_INFINITY
    this.reportedThrough = snapshot?.reportedThrough ?? 0
    this.reportedCount = snapshot?.reportedCount ?? 0
    this.shed = snapshot === undefined || snapshot.shed.length === 0 ? NOTHING_SHED : new ShedSeqs(snapshot.shed)
  }

  /**
   * Whether the seq, and those behind it, come in order: nothing above was seen, nothing was shed, and that the device holds
   * nothing below `oldestHeldSeq` settles nothing.
   */
  isNextInOrder(seq: number, oldestHeldSeq: number): boolean {
    return seq === this.settledThrough + 1 && oldestHeldSeq <= seq && this.ahead.length === 0 && this.shed.size === 0
  }

  /** Marks the seqs up to `last` as seen; the first of them was the next in order. Their event times are to be noted. */
  seeThrough(last: number, latestEventTimeMs: number): void {
    this.settledThrough = last
    this.noteEventTime(latestEventTimeMs)
    this.noteSettled(latestEventTimeMs)
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

  /** Whether the seq was seen; true where that is no longer told apart. */
  hasSeen(seq: number): boolean {
    return seq <= this.blurredThrough || this.sight(seq, Number.NEGATIVE_INFINITY) === 'duplicate'
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
      this.noteSettled(eventTimeMs)
      return this.ahead.length === 0 && this.shed.size === 0 ? eventTimeMs : Math.max(eventTimeMs, this.absorb())
    }
    this.addAhead(seq, eventTimeMs, uptimeMs)
    return Number.NEGATIVE_INFINITY
  }

  /** A seen seq was quarantined and is archived after all: its event time counts from now on. Returns what `see` returns. */
  reinstate(seq: number, eventTimeMs: number): number {
    this.noteEventTime(eventTimeMs)
    if (seq <= this.settledThrough) return eventTimeMs
    const ahead = this.ahead[indexFor(this.ahead, seq)]
    ahead.eventTimeMs = Math.max(ahead.eventTimeMs, eventTimeMs)
    return Number.NEGATIVE_INFINITY
  }

  /** Notes an event time that no watermark may follow, so that a resent copy is still known as a duplicate. */
  noteEventTime(eventTimeMs: number): void {
    if (eventTimeMs > this.latestEventTimeMs) this.latestEventTimeMs = eventTimeMs
  }

  /**
   * Takes in what the device declares as dropped, save what was seen. Returns the latest event time that this settles. `onShed` gets
   * how many seqs were dropped, and when they were measured.
   */
  bury(
    { firstSeq, lastSeq, keepEvery }: Tombstone,
    around: Surroundings = NOTHING_KNOWN,
    onShed: (seqs: number, span: Span) => void = () => {}
  ): number {
    const endSeq = Math.min(lastSeq, this.highestSampledSeq)
    if (this.shed === NOTHING_SHED) this.shed = new ShedSeqs()
    const bury = ({ first, last, ...span }: SpannedInterval): number => {
      if (!this.makeRoomForShed()) return 0
      const range = { firstSeq: Math.max(first, firstSeq, this.blurredThrough + 1), lastSeq: Math.min(last, endSeq), keepEvery }
      const seqs = range.firstSeq <= range.lastSeq ? this.shed.add(range) : 0
      if (seqs > 0) onShed(seqs, span)
      return seqs
    }
    const from = indexFor(this.missing, firstSeq)
    const lost = this.missing.slice(from, indexFor(this.missing, endSeq) + 1).map(interval => ({ ...interval }))
    const recovered = lost.reduce((sum, interval) => sum + bury(interval), 0)
    let dropped = recovered
    for (const unseen of this.unseenAbove(endSeq, around)) dropped += bury(unseen)
    if (dropped === 0) return Number.NEGATIVE_INFINITY
    this.counts.shed += dropped
    this.counts.missing -= recovered
    if (recovered > 0) this.missing.splice(0, this.missing.length, ...this.missing.filter(interval => this.isLost(interval)))
    this.joinAhead()
    return this.absorb()
  }

  /** The device holds nothing below `oldestHeldSeq` any more: what was never seen nor shed there is missing. */
  settleBelow(oldestHeldSeq: number, around: Surroundings = NOTHING_KNOWN): number {
    const last = oldestHeldSeq - 1
    if (last <= this.settledThrough) return Number.NEGATIVE_INFINITY
    if (this.missing === NONE) this.missing = []
    for (const unseen of this.unseenAbove(last, around)) {
      const kept = this.shed.countKept(unseen.first, unseen.last)
      this.counts.missing += kept
      if (kept > 0) appendSpanned(this.missing, unseen)
    }
    let eventTimeMs = Number.NEGATIVE_INFINITY
    while (this.ahead.length > 0 && this.ahead[0].first <= last) {
      const seen = this.ahead.shift()!
      eventTimeMs = Math.max(eventTimeMs, seen.eventTimeMs)
      this.settledThrough = seen.last
    }
    this.noteSettled(eventTimeMs)
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
    if (this.ahead.length === 0 && this.shed.size === 0) return Math.max(0, this.highestSampledSeq - this.settledThrough)
    let held = 0
    for (const { first, last } of this.unseenAbove(this.highestSampledSeq, NOTHING_KNOWN)) held += this.shed.countKept(first, last)
    return held
  }

  /**
   * The seqs that are missing, and those below a seen one that the device still holds, for completeness; null where none are and none were
   * reported before. At and below `keepThrough` an earlier report stands. To be asked once a boundary.
   */
  reportUnseen(): UnseenReport | null {
    if (this.ahead.length === 0 && this.missing.length === 0 && this.blurred.length === 0 && this.reportedCount === 0) {
      this.reportedThrough = this.blurredThrough
      return null
    }
    const lost = (interval: SpannedInterval) => ({ ...interval, seqs: this.shed.countKept(interval.first, interval.last), held: false })
    const gaps = this.ahead.length === 0 ? [] : [...this.unseenAbove(this.ahead[this.ahead.length - 1].first - 1, NOTHING_KNOWN)]
    const ranges = [
      ...this.blurred.map(interval => ({ ...interval, seqs: interval.last - interval.first + 1, held: false })),
      ...this.missing.map(lost),
      ...gaps.map(gap => ({ ...lost(gap), held: true })).filter(({ seqs }) => seqs > 0)
    ]
    const keepThrough = this.reportedThrough
    const isNews = ranges.length > 0 || this.reportedCount > 0
    this.blurred = NONE
    this.reportedThrough = this.blurredThrough
    this.reportedCount = ranges.length
    return isNews ? { keepThrough, ranges } : null
  }

  toSnapshot(): EpochSnapshot {
    const { epoch, settledThrough, blurredThrough, highestSampledSeq, latestEventTimeMs, endOfStreamSeq, ahead, missing, counts } = this
    const { settledMs, reportedThrough, reportedCount } = this
    const shed = [...this.shed.toArray()]
    const seqs = { settledThrough, blurredThrough, highestSampledSeq, endOfStreamSeq, ahead, missing, shed, reportedThrough, reportedCount }
    return { epoch, ...seqs, latestEventTimeMs, settledMs, counts }
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
    if (this.ahead === NOTHING_AHEAD) this.ahead = []
    const at = indexFor(this.ahead, seq)
    const [below, above] = [this.ahead[at - 1], this.ahead[at]]
    if (this.joins(below?.last, seq)) {
      below.last = seq
      widen(below, eventTimeMs, eventTimeMs)
      if (this.joins(seq, above?.first)) this.joinWithNext(at - 1)
    } else if (this.joins(seq, above?.first)) {
      above.first = seq
      widen(above, eventTimeMs, eventTimeMs)
    } else this.ahead.splice(at, 0, { first: seq, last: seq, eventTimeMs, earliestMs: eventTimeMs, sinceMs: above?.sinceMs ?? uptimeMs })
  }

  private joinWithNext(at: number): void {
    const [lower, upper] = [this.ahead[at], this.ahead[at + 1]]
    lower.last = upper.last
    widen(lower, upper.eventTimeMs, upper.earliestMs)
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
      if (this.ahead.length === 0 || this.ahead[0].first > this.settledThrough + 1) return this.noteSettled(eventTimeMs)
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
    this.blurred = [...this.blurred, ...removeThrough(this.missing, seq)]
  }

  private noteSettled(eventTimeMs: number): number {
    if (eventTimeMs > this.settledMs) this.settledMs = eventTimeMs
    return eventTimeMs
  }

  /** The runs of seqs in (settledThrough, last] that were not seen. */
  private *unseenAbove(last: number, around: Surroundings): Generator<SpannedInterval> {
    let first = this.settledThrough + 1
    let belowMs = this.settledMs
    for (const seen of this.ahead) {
      const end = Math.min(last, seen.first - 1)
      if (first <= end) yield { first, last: end, ...spanBetween(belowMs, seen.earliestMs, around) }
      if (seen.first > last) return
      first = seen.last + 1
      belowMs = Math.max(belowMs, seen.eventTimeMs)
    }
    if (first <= last) yield { first, last, ...spanBetween(belowMs, around.timeAbove(last), around) }
  }
}
