/**
 * The rows that the processor has made and no flush has taken yet, by layer, profile and hour; and which of them a boundary
 * takes: those of the current hour and of large ones at once, those of small hours behind it when they have waited. What is
 * resolved never waits: whoever reads the archive as of a boundary must see all that was resolved before it.
 */
import type { WaitingHour } from './fleet.js'
import type { FileRows, HourLedger, RepairMark } from './flush.js'
import { READING } from './layouts.js'
import { RowMemory } from './row-memory.js'
import { type HourTally, MANY_ROWS, type RowLayout, Rows, type RowsSnapshot } from './rows.js'

const HOUR_MS = 3_600_000

/** Bytes of quarantined payloads that make a boundary of their own, however few the rows. */
export const PAYLOAD_BYTES_WAITING_MAX = 64 * 1024 * 1024

/** By how much more than the last boundary the next one may hold, without room being made again. */
const ROOM_TO_SPARE = 1.1

export interface TakeRule {
  readonly ingestMs: number
  readonly smallHourRows: number
  readonly smallHourWaitMs: number
  readonly all: boolean
}

export class Outputs {
  /** Rows that wait, and bytes of payloads in them: what bounds memory between boundaries. */
  rows = 0
  payloadBytes = 0
  /**
   * Rows that go out at the next boundary need not be kept, as nobody wants them; at least so many of an hour are sure to go.
   * Infinity: all are wanted.
   */
  discardsFrom = Number.POSITIVE_INFINITY
  /** What many rows lie in; whoever takes them gives it back. */
  readonly memory = new RowMemory()
  /** By layout: a little more rows than a boundary took last, of whatever hours. */
  private readonly expected = new Map<string, number>()
  private readonly pending = new Map<string, Rows>()
  /** The rows that each layout wrote to last; and of the layout that was asked for last. */
  private readonly recent = new Map<RowLayout, Rows>()
  private last: Rows | null = null
  private readonly hours = new Map<string, HourTally>()
  private readonly repairs = new Map<string, RepairMark>()

  /** The rows of the layout's layer and the hour that holds `timeMs`, to write `count` more into. */
  rowsFor(layout: RowLayout, timeMs: number, ingestMs: number, count = 1): Rows {
    const rows = this.rowsToStage(layout, timeMs, ingestMs, count)
    rows.settle()
    return rows
  }

  /** The same, to stage the rows. */
  rowsToStage(layout: RowLayout, timeMs: number, ingestMs: number, count = 1): Rows {
    this.rows += count
    const recent = this.last?.layout === layout ? this.last : this.recent.get(layout)
    if (recent !== undefined && timeMs >= recent.hourMs && timeMs < recent.hourMs + HOUR_MS) {
      if (recent.count >= this.discardsFrom && !recent.isDiscarded) recent.discard()
      this.last = recent
      return recent
    }
    const hourMs = Math.floor(timeMs / HOUR_MS) * HOUR_MS
    const key = `${layout.id}/${hourMs}`
    let rows = this.pending.get(key)
    if (rows === undefined) {
      rows = new Rows(layout, hourMs, ingestMs, this.stillExpected(layout), this.memory)
      this.pending.set(key, rows)
    }
    if (rows.count >= this.discardsFrom && !rows.isDiscarded) rows.discard()
    this.recent.set(layout, rows)
    this.last = rows
    return rows
  }

  /** Rows of the layout beside many that wait: where a boundary lies behind the turn of an hour, the new one needs no room for all. */
  private stillExpected({ id }: RowLayout): number {
    let expected = this.expected.get(id) ?? 0
    for (const { layout, count } of this.pending.values()) if (layout.id === id && count >= MANY_ROWS) expected -= count
    return Math.max(0, expected)
  }

  /** Counts readings that were written into the rows. */
  countReadings(rows: Rows, archived: number, late: number): void {
    rows.tally ??= this.tallyOf(rows.layout.profile!, rows.hourMs)
    rows.tally.archived += archived
    rows.tally.late += late
  }

  private tallyOf(profile: string, hourMs: number): HourTally {
    const key = `${profile}/${hourMs}`
    const tally = this.hours.get(key) ?? { profile, hourMs, archived: 0, late: 0 }
    this.hours.set(key, tally)
    return tally
  }

  /** Rows as of (fromMs, throughMs], hour by hour. */
  markRepair(deviceId: string, profile: string, fromMs: number, throughMs: number): void {
    for (let hourMs = Math.floor(fromMs / HOUR_MS) * HOUR_MS; hourMs <= throughMs; hourMs += HOUR_MS) {
      const key = `${deviceId}/${profile}/${hourMs}`
      const known = this.repairs.get(key)
      this.repairs.set(key, {
        deviceId,
        profile,
        hourMs,
        fromMs: Math.min(known?.fromMs ?? Number.POSITIVE_INFINITY, Math.max(fromMs, hourMs - 1)),
        throughMs: Math.max(known?.throughMs ?? Number.NEGATIVE_INFINITY, Math.min(throughMs, hourMs + HOUR_MS - 1))
      })
    }
  }

  /** The rows themselves, to look at. */
  get waiting(): Iterable<Rows> {
    for (const rows of this.pending.values()) rows.settle()
    return this.pending.values()
  }

  /** What is no small hour stays none when another number of rows makes one from now on. */
  noteLarge(smallHourRows: number): void {
    for (const rows of this.pending.values()) if (rows.count >= smallHourRows) rows.isLarge = true
  }

  /** Whether rows of a small hour have waited long enough. */
  isDue(ingestMs: number, smallHourWaitMs: number): boolean {
    for (const rows of this.pending.values()) if (ingestMs - rows.sinceMs >= smallHourWaitMs) return true
    return false
  }

  /** Takes what the boundary writes; the rest waits. Of what nobody wants no file is given. */
  take(rule: TakeRule): { files: FileRows[]; strings: string[]; hours: HourLedger[]; repairs: RepairMark[] } {
    const files: FileRows[] = []
    const strings: string[] = []
    const taken = new Map<string, number>()
    const currentHourMs = Math.floor(rule.ingestMs / HOUR_MS) * HOUR_MS
    for (const [key, rows] of this.pending) {
      if (!rule.all && rows.layout.layer !== 'resolved' && isSmallHour(rows, rule, currentHourMs)) continue
      if (this.discardsFrom === Number.POSITIVE_INFINITY) {
        const { layer, profile, profileVersion, sortBy } = rows.layout
        const columns = rows.toColumns(strings.length)
        files.push({ layer, profile, profileVersion, hourMs: rows.hourMs, rows: rows.count, columns, sortBy })
        for (const text of rows.strings) strings.push(text)
        taken.set(rows.layout.id, (taken.get(rows.layout.id) ?? 0) + rows.count)
      }
      this.pending.delete(key)
      this.rows -= rows.count
      this.payloadBytes -= rows.payloadBytes
    }
    for (const [layout, rows] of taken) this.expected.set(layout, Math.ceil(rows * ROOM_TO_SPARE))
    const hours = [...this.hours.values()]
    const repairs = [...this.repairs.values()]
    this.hours.clear()
    this.repairs.clear()
    this.recent.clear()
    this.last = null
    for (const rows of this.pending.values()) rows.tally = null
    return { files, strings, hours, repairs }
  }

  /** Readings that wait, by device and epoch (0: opaque). */
  waitingReadings(): Map<string, Map<number, number>> {
    const waiting = new Map<string, Map<number, number>>()
    for (const rows of this.pending.values()) {
      if (rows.layout.layer !== 'processed') continue
      rows.settle()
      for (let row = 0; row < rows.count; row++) {
        const deviceId = rows.stringAt(READING.device, row)!
        const epoch = rows.numberAt(READING.epoch, row) || 0 // NaN: opaque
        const epochs = waiting.get(deviceId) ?? new Map<number, number>()
        waiting.set(deviceId, epochs.set(epoch, (epochs.get(epoch) ?? 0) + 1))
      }
    }
    return waiting
  }

  /** Readings that wait, by profile and hour. */
  waitingHours(): WaitingHour[] {
    const waiting = new Map<string, WaitingHour>()
    for (const { layout, hourMs, count } of this.pending.values()) {
      if (layout.layer !== 'processed') continue
      const key = `${layout.profile}/${hourMs}`
      waiting.set(key, { profile: layout.profile!, hourMs, rows: count + (waiting.get(key)?.rows ?? 0) })
    }
    return [...waiting.values()]
  }

  /** At a boundary, when counts and repairs have just been taken: the rows that wait. */
  toSnapshot(): RowsSnapshot[] {
    return Array.from(this.pending.values(), rows => rows.toSnapshot())
  }

  /** `placeOf`: the place of the device of this ID. */
  restore(snapshots: readonly RowsSnapshot[], placeOf: (deviceId: string) => number): void {
    for (const snapshot of snapshots) {
      const rows = Rows.restore(snapshot, placeOf, this.memory)
      this.pending.set(`${rows.layout.id}/${rows.hourMs}`, rows)
      this.rows += rows.count
      this.payloadBytes += rows.payloadBytes
    }
  }
}

/** Whether the rows are few, of an hour gone by, and have not waited long. */
function isSmallHour(rows: Rows, { smallHourRows, ingestMs, smallHourWaitMs }: TakeRule, currentHourMs: number): boolean {
  return !rows.isLarge && rows.hourMs < currentHourMs && rows.count < smallHourRows && ingestMs - rows.sinceMs < smallHourWaitMs
}
