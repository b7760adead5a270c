/**
 * The features of one device under one profile: takes readings in, gives rows out, one for each hop that holds a reading,
 * once the watermark has passed the hop's end; and again, with the next revision, when a late reading changes them.
 *
 *      evicted        first recomputable                emitted through       watermark
 *         |  window of   |   corrections still possible       |    hops still open
 *   ------+--------------+------------------------------------+--------------------->  event time
 *
 * Invariant: a row goes out only while every pane of its windows is kept. What is later than that is named as a repair.
 */
import {
  CORRECTED_AT,
  DIRTY_FROM,
  DIRTY_THROUGH,
  EMITTED_THROUGH,
  EVICTED_THROUGH,
  PANE_END,
  type Plan,
  type TablePlan,
  YOUNG_AT,
  YOUNG_COUNT
} from './feature-plan.js'
import { addReading, addRun, age, evict } from './old-panes.js'
import type { Order, Run } from './pane.js'
import { Panes } from './panes.js'
import { panesUnder } from './panes-under.js'
import { WindowReader, type WindowValues } from './windows.js'

export interface FeatureSinks {
  /** Whether a row is not wanted, and need not be made: it counts as if it had gone out. */
  skips(asOfMs: number, revision: number): boolean
  /**
   * A row goes out. `eventCount`: readings in the hop that ends at `asOfMs`. `coverage`: readings in the longest window over readings
   * expected in it. `values` is overwritten by the next row.
   */
  row(asOfMs: number, revision: number, provisional: boolean, eventCount: number, coverage: number, values: WindowValues): void
  /** Rows as of (fromMs, throughMs] would change, but their panes are gone. */
  repair(fromMs: number, throughMs: number): void
}

/** In a line of a CPU's cache. */
const DOUBLES_PER_LINE = 8

/** Most open panes a table may hold; beyond it the older half goes out, and what comes for it later is a correction. */
const PANES_MAX = 8192

/** It is its panes, too: one object less to read and to keep for each device. */
export class Features extends Panes {
  /** All that there is to keep of it, for a snapshot; changes with it. */
  get block(): Float64Array {
    return this.data
  }

  /** Rows as of this and before are out, save those of hops without readings. Unix ms. */
  get emittedThroughMs(): number {
    return this.data[EMITTED_THROUGH]
  }

  /** When corrections last went out, ingest time. */
  get correctedAtMs(): number {
    return this.data[CORRECTED_AT]
  }

  get isDirty(): boolean {
    return this.data[DIRTY_FROM] < Number.POSITIVE_INFINITY
  }

  /**
   * Takes valid readings [from, behind) in, all in one hop of rows, as `add` would one after another; as long as no row becomes due
   * meanwhile. Rows that they change wait for `correct`.
   */
  addRun(run: Run, from: number, behind: number, sinks: FeatureSinks): void {
    const { tables } = this.plan
    for (let t = 0; t < tables.length; t++) addRun(this, tables[t], run, from, behind)
    this.noteAdded(this.endOf(tables[0], run.eventTimesMs[from]), sinks)
  }

  /**
   * Takes a valid reading in if it lies in the last pane of each table, and neither makes a row due nor changes one that is out: as nearly
   * all do. Where not, answers false, and nothing has happened. `values` holds a number a metric; NaN is null.
   */
  addToOpenPanes(order: Order, values: Float64Array): boolean {
    const { data } = this
    const { tables } = this.plan
    const { timeMs } = order
    for (let t = 0; t < tables.length; t++) {
      const { headAt, stride, hopMs } = tables[t]
      const count = data[headAt + YOUNG_COUNT]
      if (count === 0 || count > PANES_MAX) return false
      const endMs = data[data[headAt + YOUNG_AT] + (count - 1) * stride + PANE_END]
      if (timeMs > endMs || timeMs <= endMs - hopMs) return false
      if (t === 0 && (data[EMITTED_THROUGH] >= endMs || data[EMITTED_THROUGH] < endMs - hopMs)) return false
    }
    for (let t = 0; t < tables.length; t++) this.mergeIntoLast(tables[t], order, values)
    return true
  }

  /** Whether a reading lies in the same hop as the one that is taken in next, and nothing becomes due by either. */
  isInOpenHop(nextMs: number, timeMs: number): boolean {
    const [table] = this.plan.tables
    if (this.count(table) >= PANES_MAX) return false
    const hopEndMs = this.endOf(table, nextMs)
    return timeMs <= hopEndMs && timeMs > hopEndMs - table.hopMs && this.emittedThroughMs >= hopEndMs - table.hopMs
  }

  /** Only reads: what of the block's head the next reading will need. */
  readHead(): number {
    const { data } = this
    let seen = 0
    for (let at = 0; at < this.plan.headDoubles; at += DOUBLES_PER_LINE) seen += data[at]
    return seen
  }

  /** Only reads: the panes that the next reading will be merged into. */
  readOpenPanes(): number {
    const { tables } = this.plan
    let seen = 0
    for (let t = 0; t < tables.length; t++) {
      const base = this.baseOf(tables[t], Math.max(0, this.count(tables[t]) - 1))
      for (let at = 0; at < tables[t].stride; at += DOUBLES_PER_LINE) seen += this.data[base + at] ?? 0
    }
    return seen
  }

  /** The row of the latest as_of that went out, of the young panes; null: none did. */
  lastRow(): { readonly asOfMs: number; readonly revision: number } | null {
    const [table] = this.plan.tables
    for (let pane = this.count(table) - 1; pane >= 0; pane--) {
      const revision = this.lastRevision(table, pane)
      if (revision >= 0) return { asOfMs: this.endAt(table, pane), revision }
    }
    return null
  }

  /** Takes a valid reading in. Rows that it changes wait for `correct`. */
  add(order: Order, values: Float64Array, sinks: FeatureSinks): void {
    const { tables } = this.plan
    for (let t = 0; t < tables.length; t++) addReading(this, tables[t], order, values)
    this.noteAdded(this.endOf(tables[0], order.timeMs), sinks)
  }

  /** What follows from readings in the hop that ends at `hopEndMs`. */
  private noteAdded(hopEndMs: number, sinks: FeatureSinks): void {
    const [table] = this.plan.tables
    if (hopEndMs <= this.emittedThroughMs) this.markDirty(hopEndMs, sinks)
    else if (this.count(table) > PANES_MAX) this.advance(this.endAt(table, this.count(table) >> 1), sinks)
  }

  /** Lets rows out whose end the watermark has passed: as of < `watermarkMs`. */
  advance(watermarkMs: number, sinks: FeatureSinks): void {
    const { emittedThroughMs } = this
    const throughMs = Math.ceil(watermarkMs / this.plan.hopMs) * this.plan.hopMs - this.plan.hopMs
    if (throughMs <= emittedThroughMs) return
    this.emitFrom(emittedThroughMs, throughMs, sinks)
    this.data[EMITTED_THROUGH] = throughMs
    this.evict(sinks)
  }

  /** The device says that it has ended: nothing more is expected in any hop. */
  close(sinks: FeatureSinks): void {
    const [table] = this.plan.tables
    const count = this.count(table)
    if (count > 0) this.advance(this.endAt(table, count - 1) + 1, sinks)
  }

  /** The device is silent: shows the open hops as they stand. They go out again when the watermark passes them. */
  showOpenHops(sinks: FeatureSinks): void {
    const [table] = this.plan.tables
    const count = this.count(table)
    for (let pane = this.firstBehind(table, this.emittedThroughMs); pane < count; pane++) this.emit(pane, true, sinks)
  }

  /** Lets the rows out again that late readings have changed. */
  correct(ingestMs: number, sinks: FeatureSinks): void {
    if (!this.isDirty) return
    const { data } = this
    this.emitFrom(data[DIRTY_FROM] - 1, Math.min(data[DIRTY_THROUGH], this.emittedThroughMs), sinks)
    data[DIRTY_FROM] = Number.POSITIVE_INFINITY
    data[DIRTY_THROUGH] = Number.NEGATIVE_INFINITY
    data[CORRECTED_AT] = ingestMs
  }

  /**
   * The same panes under another plan of the profile: revisions go on, and so does what both plans keep of a metric, for as long
   * as both keep it; the rest begins. Corrections must have gone out. Where the row's hop is another, open hops are closed and
   * no pane goes on.
   */
  under(plan: Plan, sinks: FeatureSinks): Features {
    const isSameHop = plan.hopMs === this.plan.hopMs
    if (!isSameHop) this.close(sinks)
    const { data } = this
    const features = new Features(plan)
    const block = features.data
    for (const at of [EMITTED_THROUGH, DIRTY_FROM, DIRTY_THROUGH, CORRECTED_AT]) block[at] = data[at]
    for (const table of plan.tables) {
      const old = isSameHop ? this.plan.tables.find(({ hopMs }) => hopMs === table.hopMs) : undefined
      if (old !== undefined) panesUnder(this, old, features, table)
      else block[table.headAt + EVICTED_THROUGH] = Math.floor(data[EMITTED_THROUGH] / table.hopMs) * table.hopMs
    }
    return features
  }

  /** The ends of the young panes of the row's hop: rows as of them can go out again. */
  *recomputableEnds(): Generator<number> {
    const [table] = this.plan.tables
    for (let pane = 0; pane < this.count(table); pane++) yield this.endAt(table, pane)
  }

  /** A row as of this end is out in this revision: the next is a later one, as far as it can go out again. */
  noteRevision(asOfMs: number, revision: number): void {
    const [table] = this.plan.tables
    const pane = this.firstBehind(table, asOfMs - 1)
    if (pane >= this.count(table) || this.endAt(table, pane) !== asOfMs) return
    while (this.lastRevision(table, pane) < revision) this.addRow(table, pane)
  }

  private markDirty(hopEndMs: number, sinks: FeatureSinks): void {
    const { data } = this
    const recomputableMs = this.firstRecomputableMs()
    const throughMs = Math.min(hopEndMs + this.plan.reachMs, this.emittedThroughMs)
    if (hopEndMs < recomputableMs) sinks.repair(hopEndMs - this.plan.hopMs, Math.min(recomputableMs - this.plan.hopMs, throughMs))
    if (throughMs < recomputableMs) return
    data[DIRTY_FROM] = Math.min(data[DIRTY_FROM], Math.max(hopEndMs, recomputableMs))
    data[DIRTY_THROUGH] = Math.max(data[DIRTY_THROUGH], throughMs)
  }

  /** The first row whose windows lie wholly in kept panes. */
  private firstRecomputableMs(): number {
    let firstMs = Number.NEGATIVE_INFINITY
    for (const table of this.plan.tables) firstMs = Math.max(firstMs, this.evictedThroughMs(table) + table.windowMs)
    return firstMs
  }

  /** Through when the table's panes need not be kept any longer, with what is out. */
  private keepBehindMs(table: TablePlan): number {
    const { hopMs, windowMs, correctionsMs } = table
    return Math.max(this.evictedThroughMs(table), Math.floor(this.emittedThroughMs / hopMs) * hopMs - windowMs - correctionsMs)
  }

  /** Drops the panes that no row needs, and makes those old whose own rows are out for good. */
  private evict(sinks: FeatureSinks): void {
    let recomputableMs = Number.NEGATIVE_INFINITY
    for (const table of this.plan.tables) recomputableMs = Math.max(recomputableMs, this.keepBehindMs(table) + table.windowMs)
    if (this.data[DIRTY_FROM] < recomputableMs) this.correct(this.correctedAtMs, sinks)
    const throughMs = Math.min(recomputableMs - 1, this.emittedThroughMs)
    for (const table of this.plan.tables) {
      evict(this, table, this.keepBehindMs(table))
      age(this, table, Math.floor(throughMs / table.hopMs) * table.hopMs)
    }
  }

  /** Lets out the rows as of (fromMs, throughMs]. */
  private emitFrom(fromMs: number, throughMs: number, sinks: FeatureSinks): void {
    const [table] = this.plan.tables
    const count = this.count(table)
    for (let pane = this.firstBehind(table, fromMs); pane < count && this.endAt(table, pane) <= throughMs; pane++)
      this.emit(pane, false, sinks)
  }

  private emit(pane: number, provisional: boolean, sinks: FeatureSinks): void {
    const { plan } = this
    const [table] = plan.tables
    const asOfMs = this.endAt(table, pane)
    const revision = this.addRow(table, pane)
    if (sinks.skips(asOfMs, revision)) return
    const values = readerOf(plan).read(this, asOfMs, pane)
    const expected = plan.tables[plan.windows[plan.longest].table].windowMs / plan.intervalMs
    sinks.row(asOfMs, revision, provisional, this.readingsAt(table, pane), values.readingsInLongest / expected, values)
  }
}

const readers = new WeakMap<Plan, WindowReader>()
let lastReader: { readonly plan: Plan; readonly reader: WindowReader } | null = null

/** The plan's reader: scratch space, made once. */
function readerOf(plan: Plan): WindowReader {
  if (lastReader?.plan === plan) return lastReader.reader
  const reader = readers.get(plan) ?? new WindowReader(plan)
  readers.set(plan, reader)
  lastReader = { plan, reader }
  return reader
}
