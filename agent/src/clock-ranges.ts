/**
 * Which clock the stored times of readings come from, by ranges of positions; a table beside the chunks. A range goes from its
 * first position to the next range's. What stands before all ranges has event times of a synced clock.
 *
 * - `held`: the clock was not set; the stored times are monotonic ms of a boot, and nothing from here on may be published.
 * - `rebased`: the stored times are such, and the offset is known now. Chunks are not rewritten: the offset is added on reading.
 * - `set`: the stored times are event times.
 * Changes of memory follow the commit that the caller makes.
 */
import type { ClockQuality } from '@tidemark/protocol'
import type { ReadingColumns } from './chunk.js'
import type { Rebased } from './core/rebase.js'
import type { Database, Statement } from './sqlite.js'

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

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS clock_ranges (
    first_position INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    quality TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    offset_ms INTEGER NOT NULL,
    floor_ms INTEGER NOT NULL
  ) STRICT;
`

const BEFORE_ALL: ClockRange = { firstPosition: 0, kind: 'set', quality: 'synced', bootId: '', offsetMs: 0, floorMs: 0 }

export class ClockRanges {
  private ranges: readonly ClockRange[]
  private readonly replace: Statement<[ClockRange]>

  constructor(private readonly database: Database) {
    database.exec(SCHEMA)
    this.ranges = database
      .prepare<[], ClockRange>(
        `SELECT first_position AS firstPosition, kind, quality, boot_id AS bootId, offset_ms AS offsetMs, floor_ms AS floorMs
         FROM clock_ranges ORDER BY first_position`
      )
      .all()
    this.replace = database.prepare<[ClockRange]>(
      'INSERT OR REPLACE INTO clock_ranges VALUES (@firstPosition, @kind, @quality, @bootId, @offsetMs, @floorMs)'
    )
  }

  /** That of the next reading. */
  get current(): ClockRange {
    return this.ranges[this.ranges.length - 1] ?? BEFORE_ALL
  }

  /** The ranges that wait for the clock to be set. */
  get held(): readonly ClockRange[] {
    return this.ranges.filter(range => range.kind === 'held')
  }

  /** The last position that may be published as far as clocks go. */
  get lastReadable(): number {
    const first = this.ranges.find(range => range.kind === 'held')
    return first === undefined ? Number.POSITIVE_INFINITY : first.firstPosition - 1
  }

  /** The last position of the range that a position belongs to. */
  endOf(position: number): number {
    const next = this.ranges.find(range => range.firstPosition > position)
    return next === undefined ? Number.POSITIVE_INFINITY : next.firstPosition - 1
  }

  /** Readings of one range with their event times, and how good those are. */
  apply(readings: ReadingColumns): ReadingColumns {
    const [position] = readings.positions
    const range = this.ranges.findLast(candidate => candidate.firstPosition <= position) ?? BEFORE_ALL
    const { kind, quality, offsetMs, floorMs } = range
    if (kind !== 'rebased') return quality === 'synced' ? readings : { ...readings, clock: quality }
    return { ...readings, clock: quality, eventTimesMs: readings.eventTimesMs.map(storedMs => Math.max(floorMs, storedMs + offsetMs)) }
  }

  /** What begins a range, to be run in a commit, and what is so after it. Ranges whose readings are all settled are dropped. */
  begin(range: ClockRange, settledPosition: number): { write: () => void; done: () => void } {
    const kept = this.ranges.filter((candidate, i) => {
      const end = this.ranges[i + 1]?.firstPosition ?? range.firstPosition
      return candidate.firstPosition < range.firstPosition && end - 1 > settledPosition
    })
    return {
      write: () => {
        const firstKept = kept[0]?.firstPosition ?? range.firstPosition
        this.database.prepare('DELETE FROM clock_ranges WHERE first_position < ?').run(firstKept)
        this.replace.run(range)
      },
      done: () => {
        this.ranges = [...kept, range]
      }
    }
  }

  /** As `begin`: held ranges get their offsets. */
  rebase(rebased: readonly Rebased[], exactQuality: ClockQuality): { write: () => void; done: () => void } {
    const ranges = this.ranges.map(range => {
      const found = rebased.find(candidate => candidate.firstPosition === range.firstPosition)
      if (found === undefined) return range
      const { offsetMs, floorMs, isExact } = found
      return { ...range, kind: 'rebased' as const, quality: isExact ? exactQuality : ('estimated' as const), offsetMs, floorMs }
    })
    return {
      write: () => {
        for (const range of ranges) this.replace.run(range)
      },
      done: () => {
        this.ranges = ranges
      }
    }
  }
}
