/**
 * A profile's features compiled: which panes are kept, what each pane accumulates of each metric, and how a row is read out of
 * them. Panes of one hop share a table; a pane is a row of doubles, each accumulator at a fixed offset. All that a device has
 * of a plan lies in one block of doubles (panes.ts); the offsets of its head are here too.
 */
import { type Aggregate, durationMs, type FlagSpec, type Profile, profileDigest } from '@tidemark/protocol'

/**
 * Offsets in a young pane: the pane's end (Unix ms; the pane is (end - hop, end]) and its readings, to which `ROW` is added for each
 * row that went out as of its end (in the table of the row's hop).
 */
export const PANE_END = 0
export const PANE_READINGS = 1
const PANE_HEAD = 2

/** More than a pane has readings. */
export const ROW = 2 ** 32

/** Time, epoch, seq, value, twice: the last reading and the one before it. */
export const LAST_TWO_DOUBLES = 8

/** Offsets in a block: what features.ts keeps. */
export const EMITTED_THROUGH = 0
export const DIRTY_FROM = 1
export const DIRTY_THROUGH = 2
export const CORRECTED_AT = 3
const BLOCK_HEAD = 4

/** Offsets from a table's `headAt` in a block; panes.ts says what they mean. */
export const EVICTED_THROUGH = 0
export const OLD_AT = 1
export const OLD_SLOTS = 2
export const OLD_COUNT = 3
export const OLD_FIRST = 4
export const YOUNG_AT = 5
export const YOUNG_SLOTS = 6
export const YOUNG_COUNT = 7
const TABLE_HEAD = 8

/** What is accumulated of a metric besides `n`, a double each. */
export const PARTS = ['mean', 'm2', 'min', 'max', 'sum'] as const
export type Part = (typeof PARTS)[number]

/** Counts of an old pane that share a double, each below `OLD_COUNT_END`. */
export const COUNTS_PER_DOUBLE = 3
export const OLD_COUNT_END = 2 ** 16

/** What a pane knows of one metric; an offset of -1 is not kept. */
export interface Accumulator {
  readonly metric: number
  /** Which of an old pane's counts its `n` is; the first is the readings. */
  readonly countPlace: number
  readonly n: number
  mean: number
  m2: number
  min: number
  max: number
  sum: number
  lastTwo: number
  /** Offsets in an old pane: what windows longer than the row's hop need. */
  readonly old: Record<Part, number>
  /** Of each part that old panes keep: its offset in a young pane, then in an old one. */
  readonly oldPairs: number[]
  /** In the block's head: the last two of all old panes. */
  oldLastTwoAt: number
}

export interface TablePlan {
  readonly hopMs: number
  readonly isRowHop: boolean
  stride: number
  oldStride: number
  headAt: number
  /** The longest window over this table, ms. */
  windowMs: number
  /** How much longer than the longest window panes are kept, so that late readings can correct rows, ms. */
  correctionsMs: number
  readonly accumulators: Accumulator[]
  /** Offsets in a block of the windows over this table whose values are kept from row to row. */
  readonly cachesAt: number[]
}

/** One size of window over one table, and the metrics that features read out of it. */
export interface WindowPlan {
  readonly table: number
  readonly windowMs: number
  /** Each merged once for all features. */
  readonly accumulators: Accumulator[]
  /** In a block: the end of the window that was merged last, its readings, and what `Merged` holds of it; -1: not kept. */
  cacheAt: number
}

export interface FeaturePlan {
  readonly name: string
  readonly aggregate: Aggregate
  readonly window: number
  /** Which of the window's accumulators. */
  readonly place: number
  readonly perMs: number
}

export interface FlagPlan {
  readonly spec: FlagSpec
  /** In the row hop's table: what of the metric's own hop the flag looks at. */
  readonly accumulator: Accumulator
  /** Indices of features: [mean, std] or [of]. */
  readonly operands: readonly number[]
}

export interface Plan {
  readonly profile: Profile
  /** Of the profile's text: plans of the same text are the same. */
  readonly digest: string
  readonly hopMs: number
  /** Table 0 has the row's hop. */
  readonly tables: readonly TablePlan[]
  readonly windows: readonly WindowPlan[]
  readonly features: readonly FeaturePlan[]
  readonly flags: readonly FlagPlan[]
  /** The longest window, which `coverage` speaks of. */
  readonly longest: number
  readonly intervalMs: number
  /** How far behind the end of its hop a reading may count: no row as of later than that is affected, ms. */
  readonly reachMs: number
  /** Doubles of a block before its panes. */
  readonly headDoubles: number
}

/** Doubles that a merged accumulator takes: n and each part. */
export const MERGED_DOUBLES = 1 + PARTS.length

/** Late readings are merged at least this many hops back, however short `corrections` is. */
const CORRECTION_HOPS_MIN = 6

export function planFeatures(profile: Profile): Plan {
  const hopMs = durationMs(profile.hop)
  const tables: TablePlan[] = []
  const windows: WindowPlan[] = []
  tableOf(tables, hopMs)
  const metricIndex = new Map(profile.metrics.map((metric, m) => [metric.name, m]))
  const features = profile.features.map((spec): FeaturePlan => {
    const windowMs = durationMs(spec.window)
    const table = tableOf(tables, durationMs(spec.hop ?? profile.hop))
    const plan = tables[table]
    plan.windowMs = Math.max(plan.windowMs, windowMs)
    const accumulator = accumulatorOf(plan, metricIndex.get(spec.metric)!)
    reserve(plan, accumulator, spec.aggregate)
    if (!plan.isRowHop || windowMs > hopMs) reserveOld(plan, accumulator, spec.aggregate)
    const window = windowOf(windows, table, windowMs)
    return { name: spec.name, window, place: placeIn(windows[window], accumulator), aggregate: spec.aggregate, perMs: durationMs(spec.per) }
  })
  const flags = profile.flags.map((spec): FlagPlan => {
    const accumulator = accumulatorOf(tables[0], metricIndex.get(spec.metric)!)
    reserve(tables[0], accumulator, spec.flag === 'deviates' ? 'range' : 'max')
    const operands = spec.flag === 'deviates' ? [spec.mean, spec.std] : [spec.of]
    return { spec, accumulator, operands: operands.map(name => features.findIndex(feature => feature.name === name)) }
  })
  for (const table of tables) {
    const wanted = Math.max(durationMs(profile.corrections), CORRECTION_HOPS_MIN * table.hopMs)
    table.correctionsMs = Math.ceil(wanted / table.hopMs) * table.hopMs
  }
  const longest = tables.reduce((best, table, t) => (table.windowMs > tables[best].windowMs ? t : best), 0)
  const longestWindow = windowOf(windows, longest, tables[longest].windowMs)
  return {
    profile,
    digest: profileDigest(profile),
    hopMs,
    tables,
    windows,
    features,
    flags,
    longest: longestWindow,
    intervalMs: durationMs(profile.interval),
    reachMs: Math.max(...tables.map(table => table.windowMs + table.hopMs - 2 * hopMs)),
    headDoubles: layHead(tables, windows)
  }
}

function tableOf(tables: TablePlan[], hopMs: number): number {
  const at = tables.findIndex(table => table.hopMs === hopMs)
  if (at >= 0) return at
  const isRowHop = tables.length === 0
  return (
    tables.push({
      hopMs,
      isRowHop,
      stride: PANE_HEAD,
      oldStride: 0,
      headAt: 0,
      windowMs: hopMs,
      correctionsMs: 0,
      accumulators: [],
      cachesAt: []
    }) - 1
  )
}

function accumulatorOf(table: TablePlan, metric: number): Accumulator {
  const known = table.accumulators.find(accumulator => accumulator.metric === metric)
  if (known !== undefined) return known
  const accumulator: Accumulator = {
    metric,
    countPlace: table.accumulators.length + 1,
    n: table.stride++,
    mean: -1,
    m2: -1,
    min: -1,
    max: -1,
    sum: -1,
    lastTwo: -1,
    old: { mean: -1, m2: -1, min: -1, max: -1, sum: -1 },
    oldPairs: [],
    oldLastTwoAt: -1
  }
  table.accumulators.push(accumulator)
  return accumulator
}

const NEEDS: Record<Aggregate, readonly (Part | 'lastTwo')[]> = {
  mean: ['mean'],
  std: ['mean', 'm2'],
  min: ['min'],
  max: ['max'],
  range: ['min', 'max'],
  sum: ['sum'],
  count: [],
  last: ['lastTwo'],
  rate: ['lastTwo']
}

function reserve(table: TablePlan, accumulator: Accumulator, aggregate: Aggregate): void {
  for (const need of NEEDS[aggregate]) {
    if (accumulator[need] >= 0) continue
    accumulator[need] = table.stride
    table.stride += need === 'lastTwo' ? LAST_TWO_DOUBLES : 1
  }
}

/** Counts the parts that old panes keep; `layHead` moves them behind the counts. */
function reserveOld(table: TablePlan, { old }: Accumulator, aggregate: Aggregate): void {
  for (const need of NEEDS[aggregate]) if (need !== 'lastTwo' && old[need] < 0) old[need] = table.oldStride++
}

function windowOf(windows: WindowPlan[], table: number, windowMs: number): number {
  const at = windows.findIndex(window => window.table === table && window.windowMs === windowMs)
  return at >= 0 ? at : windows.push({ table, windowMs, accumulators: [], cacheAt: -1 }) - 1
}

function placeIn({ accumulators }: WindowPlan, accumulator: Accumulator): number {
  const at = accumulators.indexOf(accumulator)
  return at >= 0 ? at : accumulators.push(accumulator) - 1
}

/** Gives what a block's head holds its place; returns how long that is. */
function layHead(tables: readonly TablePlan[], windows: readonly WindowPlan[]): number {
  let end = BLOCK_HEAD
  for (const table of tables) {
    table.headAt = end
    end += TABLE_HEAD
    const counts = Math.ceil((1 + table.accumulators.length) / COUNTS_PER_DOUBLE)
    table.oldStride += counts
    for (const accumulator of table.accumulators) {
      for (const part of PARTS) {
        if (accumulator.old[part] < 0) continue
        accumulator.old[part] += counts
        accumulator.oldPairs.push(accumulator[part], accumulator.old[part])
      }
      if (accumulator.lastTwo < 0) continue
      accumulator.oldLastTwoAt = end
      end += LAST_TWO_DOUBLES
    }
  }
  for (const window of windows) {
    if (tables[window.table].isRowHop) continue // it moves with every row
    window.cacheAt = end
    tables[window.table].cachesAt.push(end)
    end += 2 + window.accumulators.length * MERGED_DOUBLES
  }
  return end
}
