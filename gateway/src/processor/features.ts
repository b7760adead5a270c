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
import type { Plan } from './feature-plan.js'
import { type Order, PaneTable, type TableSnapshot } from './panes.js'
import { readWindows, type WindowValues } from './windows.js'

/** A feature row on its way out. */
export interface FeatureRow {
  readonly asOfMs: number
  readonly revision: number
  readonly provisional: boolean
  /** Readings in the hop that ends at `asOfMs`. */
  readonly eventCount: number
  /** Readings in the longest window over readings expected in it. */
  readonly coverage: number
  readonly values: WindowValues
}

export interface FeatureSinks {
  row(row: FeatureRow): void
  /** Rows as of (fromMs, throughMs] would change, but their panes are gone. */
  repair(fromMs: number, throughMs: number): void
}

export interface FeaturesSnapshot {
  emittedThroughMs: number
  dirtyFromMs: number
  dirtyThroughMs: number
  correctedAtMs: number
  tables: TableSnapshot[]
}

/** Most open panes a table may hold; beyond it the older half goes out, and what comes for it later is a correction. */
const PANES_MAX = 8192

export class Features {
  readonly plan: Plan
  /** Rows as of this and before are out, save those of hops without readings. Unix ms. */
  emittedThroughMs: number
  /** When corrections last went out, ingest time. */
  correctedAtMs: number
  private dirtyFromMs: number
  private dirtyThroughMs: number
  private readonly tables: PaneTable[]

  constructor(plan: Plan, snapshot?: FeaturesSnapshot) {
    this.plan = plan
    this.emittedThroughMs = snapshot?.emittedThroughMs ?? Number.NEGATIVE_INFINITY
    this.dirtyFromMs = snapshot?.dirtyFromMs ?? Number.POSITIVE_INFINITY
    this.dirtyThroughMs = snapshot?.dirtyThroughMs ?? Number.NEGATIVE_INFINITY
    this.correctedAtMs = snapshot?.correctedAtMs ?? Number.NEGATIVE_INFINITY
    this.tables = plan.tables.map((table, t) => new PaneTable(table, snapshot?.tables[t]))
  }

  get isDirty(): boolean {
    return this.dirtyFromMs < Number.POSITIVE_INFINITY
  }

  /** Takes a valid reading in. Rows that it changes wait for `correct`. */
  add(order: Order, values: Float64Array, sinks: FeatureSinks): void {
    const hopEndMs = this.tables[0].endOf(order.timeMs)
    for (const table of this.tables) {
      const endMs = table.endOf(order.timeMs)
      if (endMs > table.evictedThroughMs) table.add(endMs, order, values)
    }
    if (hopEndMs <= this.emittedThroughMs) this.markDirty(hopEndMs, sinks)
    else if (this.tables[0].count > PANES_MAX) this.advance(this.tables[0].endAt(this.tables[0].count >> 1), sinks)
  }

  /** Lets rows out whose end the watermark has passed: as of < `watermarkMs`. */
  advance(watermarkMs: number, sinks: FeatureSinks): void {
    const throughMs = Math.ceil(watermarkMs / this.plan.hopMs) * this.plan.hopMs - this.plan.hopMs
    if (throughMs <= this.emittedThroughMs) return
    const [table] = this.tables
    for (let pane = table.firstBehind(this.emittedThroughMs); pane < table.count && table.endAt(pane) <= throughMs; pane++) {
      this.emit(pane, false, sinks)
    }
    this.emittedThroughMs = throughMs
    this.evict(sinks)
  }

  /** The device says that it has ended: nothing more is expected in any hop. */
  close(sinks: FeatureSinks): void {
    const [table] = this.tables
    if (table.count > 0) this.advance(table.endAt(table.count - 1) + 1, sinks)
  }

  /** The device is silent: shows the open hops as they stand. They go out again when the watermark passes them. */
  showOpenHops(sinks: FeatureSinks): void {
    const [table] = this.tables
    for (let pane = table.firstBehind(this.emittedThroughMs); pane < table.count; pane++) this.emit(pane, true, sinks)
  }

  /** Lets the rows out again that late readings have changed. */
  correct(ingestMs: number, sinks: FeatureSinks): void {
    if (!this.isDirty) return
    const [table] = this.tables
    const throughMs = Math.min(this.dirtyThroughMs, this.emittedThroughMs)
    for (let pane = table.firstBehind(this.dirtyFromMs - 1); pane < table.count && table.endAt(pane) <= throughMs; pane++) {
      this.emit(pane, false, sinks)
    }
    this.dirtyFromMs = Number.POSITIVE_INFINITY
    this.dirtyThroughMs = Number.NEGATIVE_INFINITY
    this.correctedAtMs = ingestMs
  }

  /**
   * The same panes under another plan of the profile: revisions go on, and so does what both plans keep of a metric; the rest
   * begins. Corrections must have gone out. Where the row's hop is another, open hops are closed and no pane goes on.
   */
  under(plan: Plan, sinks: FeatureSinks): Features {
    const isSameHop = plan.hopMs === this.plan.hopMs
    if (!isSameHop) this.close(sinks)
    const { emittedThroughMs } = this
    const tables = plan.tables.map(table => {
      const old = isSameHop ? this.tables.find(({ plan: { hopMs } }) => hopMs === table.hopMs) : undefined
      if (old !== undefined) return old.under(table, metric => placeOf(plan.profile.metrics[metric].name, this.plan))
      return { data: new Float64Array(0), evictedThroughMs: Math.floor(emittedThroughMs / table.hopMs) * table.hopMs }
    })
    const { dirtyFromMs, dirtyThroughMs, correctedAtMs } = this
    return new Features(plan, { emittedThroughMs, dirtyFromMs, dirtyThroughMs, correctedAtMs, tables })
  }

  /** The ends of the kept panes of the row's hop: rows as of them can go out again. */
  *recomputableEnds(): Generator<number> {
    const [table] = this.tables
    for (let pane = 0; pane < table.count; pane++) yield table.endAt(pane)
  }

  /** A row as of this end is out in this revision: the next is a later one, as far as it can go out again. */
  noteRevision(asOfMs: number, revision: number): void {
    const [table] = this.tables
    const pane = table.firstBehind(asOfMs - 1)
    if (pane < table.count && table.endAt(pane) === asOfMs && table.revisionAt(pane) < revision) table.setRevision(pane, revision)
  }

  toSnapshot(): FeaturesSnapshot {
    const { emittedThroughMs, dirtyFromMs, dirtyThroughMs, correctedAtMs } = this
    return { emittedThroughMs, dirtyFromMs, dirtyThroughMs, correctedAtMs, tables: this.tables.map(table => table.toSnapshot()) }
  }

  private markDirty(hopEndMs: number, sinks: FeatureSinks): void {
    const recomputableMs = this.firstRecomputableMs()
    const throughMs = Math.min(hopEndMs + this.plan.reachMs, this.emittedThroughMs)
    if (hopEndMs < recomputableMs) sinks.repair(hopEndMs - this.plan.hopMs, Math.min(recomputableMs - this.plan.hopMs, throughMs))
    if (throughMs < recomputableMs) return
    this.dirtyFromMs = Math.min(this.dirtyFromMs, Math.max(hopEndMs, recomputableMs))
    this.dirtyThroughMs = Math.max(this.dirtyThroughMs, throughMs)
  }

  /** The first row whose windows lie wholly in kept panes, as they are or as they would be with other evictions. */
  private firstRecomputableMs(evictedThroughMs = (table: PaneTable): number => table.evictedThroughMs): number {
    return Math.max(...this.tables.map(table => evictedThroughMs(table) + table.plan.windowMs))
  }

  private evict(sinks: FeatureSinks): void {
    const keepBehindMs = (table: PaneTable): number => {
      const { hopMs, windowMs, correctionsMs } = table.plan
      return Math.max(table.evictedThroughMs, Math.floor(this.emittedThroughMs / hopMs) * hopMs - windowMs - correctionsMs)
    }
    if (this.dirtyFromMs < this.firstRecomputableMs(keepBehindMs)) this.correct(this.correctedAtMs, sinks)
    for (const table of this.tables) table.evict(keepBehindMs(table))
  }

  private emit(pane: number, provisional: boolean, sinks: FeatureSinks): void {
    const [table] = this.tables
    const asOfMs = table.endAt(pane)
    const revision = table.revisionAt(pane) + 1
    table.setRevision(pane, revision)
    const values = readWindows(this.plan, this.tables, asOfMs, pane)
    const expected = this.plan.longest.windowMs / this.plan.intervalMs
    sinks.row({ asOfMs, revision, provisional, eventCount: table.readingsAt(pane), coverage: values.readingsInLongest / expected, values })
  }
}

/** The place of the metric in the plan's profile; -1 where it has none. */
function placeOf(metric: string, plan: Plan): number {
  return plan.profile.metrics.findIndex(({ name }) => name === metric)
}
