/**
 * Which clock the stored times of readings come from, by ranges of positions; a table beside the chunks. A range goes from its
 * first position to the next range's. What stands before all ranges has event times of a synced clock.
 *
 * - `held`: the clock was not set; the stored times are monotonic ms of a boot, and nothing from here on may be published.
 * - `rebased`: the stored times are such, and the offset is known now. Chunks are not rewritten: the offset is added on reading.
 * - `set`: the stored times are event times.
 * Never changed in place: what changes them gives new ones, which buffer-ledger.ts takes and writes.
 */
import type { ClockQuality } from '@tidemark/protocol'
import type { ReadingColumns } from './chunk.js'
import type { Rebased } from './core/rebase.js'

export interface ClockRange {
  readonly firstPosition: number
  readonly kind: 'held' | 'rebased' | 'set'
  readonly quality: ClockQuality
  /** Empty where the stored times are event times. */
  readonly bootId: string
  /** Held: wall - monotonic clock as it was when the range began. Rebased: what is added to the stored times. Whole ms. */
  readonly offsetMs: number
  /** Rebased: no event time lies before it. */
  readonly floorMs: number
}

const BEFORE_ALL: ClockRange = { firstPosition: 0, kind: 'set', quality: 'synced', bootId: '', offsetMs: 0, floorMs: 0 }

export class ClockRanges {
  /** @param all in the order of their positions */
  constructor(readonly all: readonly ClockRange[]) {}

  /** That of the next reading. */
  get current(): ClockRange {
    return this.all[this.all.length - 1] ?? BEFORE_ALL
  }

  /** The ranges that wait for the clock to be set. */
  get held(): readonly ClockRange[] {
    return this.all.filter(range => range.kind === 'held')
  }

  /** The last position that may be published as far as clocks go. */
  get lastReadable(): number {
    const first = this.all.find(range => range.kind === 'held')
    return first === undefined ? Number.POSITIVE_INFINITY : first.firstPosition - 1
  }

  /** The last position of the range that a position belongs to. */
  endOf(position: number): number {
    const next = this.all.find(range => range.firstPosition > position)
    return next === undefined ? Number.POSITIVE_INFINITY : next.firstPosition - 1
  }

  /** Readings of one range with their event times, and how good those are. */
  apply(readings: ReadingColumns): ReadingColumns {
    const [position] = readings.positions
    const range = this.all.findLast(candidate => candidate.firstPosition <= position) ?? BEFORE_ALL
    const { kind, quality, offsetMs, floorMs } = range
    if (kind !== 'rebased') return quality === 'synced' ? readings : { ...readings, clock: quality }
    return { ...readings, clock: quality, eventTimesMs: readings.eventTimesMs.map(storedMs => Math.max(floorMs, storedMs + offsetMs)) }
  }

  /** With a range that begins behind, or anew at, the current one's first position; without those whose readings are all settled. */
  begun(range: ClockRange, settledPosition: number): ClockRanges {
    const kept = this.all.filter((candidate, i) => {
      const end = this.all[i + 1]?.firstPosition ?? range.firstPosition
      return candidate.firstPosition < range.firstPosition && end - 1 > settledPosition
    })
    return new ClockRanges([...kept, range])
  }

  /** With the offsets of held ranges. */
  rebased(rebased: readonly Rebased[], exactQuality: ClockQuality): ClockRanges {
    return new ClockRanges(
      this.all.map(range => {
        const found = rebased.find(candidate => candidate.firstPosition === range.firstPosition)
        if (found === undefined) return range
        const { offsetMs, floorMs, isExact } = found
        return { ...range, kind: 'rebased' as const, quality: isExact ? exactQuality : ('estimated' as const), offsetMs, floorMs }
      })
    )
  }
}
