/**
 * A profile's features compiled: which panes are kept, what each pane accumulates of each metric, and how a row is read out of
 * them. Panes of one hop share a table; a pane is a row of doubles, each accumulator at a fixed offset.
 */
import { type Aggregate, durationMs, type FlagSpec, type Profile, profileDigest } from '@tidemark/protocol'

/** Offsets in a pane that every table has: the pane's end (Unix ms; the pane is (end - hop, end]) and its readings. */
export const PANE_END = 0
export const PANE_READINGS = 1
/** Only in the table of the row's hop: the revision of the row as of this pane's end; -1 while none went out. */
export const PANE_REVISION = 2

/** What a pane knows of one metric; an offset of -1 is not kept. `lastTwo` takes 8 doubles: time, epoch, seq, value, twice. */
export interface Accumulator {
  readonly metric: number
  readonly n: number
  mean: number
  m2: number
  min: number
  max: number
  sum: number
  lastTwo: number
}

export interface TablePlan {
  readonly hopMs: number
  readonly isRowHop: boolean
  stride: number
  /** The longest window over this table, ms. */
  windowMs: number
  /** How much longer than the longest window panes are kept, so that late readings can correct rows, ms. */
  correctionsMs: number
  readonly accumulators: Accumulator[]
}

export interface FeaturePlan {
  readonly name: string
  readonly table: number
  readonly accumulator: number
  readonly aggregate: Aggregate
  readonly windowMs: number
  readonly perMs: number
}

export interface FlagPlan {
  readonly spec: FlagSpec
  /** In the row hop's table: what of the metric's own hop the flag looks at. */
  readonly accumulator: number
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
  readonly features: readonly FeaturePlan[]
  readonly flags: readonly FlagPlan[]
  /** The table and size of the longest window, which `coverage` speaks of. */
  readonly longest: { readonly table: number; readonly windowMs: number }
  readonly intervalMs: number
  /** How far behind the end of its hop a reading may count: no row as of later than that is affected, ms. */
  readonly reachMs: number
}

/** Late readings are merged at least this many hops back, however short `corrections` is. */
const CORRECTION_HOPS_MIN = 6

export function planFeatures(profile: Profile): Plan {
  const hopMs = durationMs(profile.hop)
  const tables: TablePlan[] = []
  tableOf(tables, hopMs, true)
  const metricIndex = new Map(profile.metrics.map((metric, m) => [metric.name, m]))
  const features = profile.features.map((spec): FeaturePlan => {
    const windowMs = durationMs(spec.window)
    const table = tableOf(tables, durationMs(spec.hop ?? profile.hop), false)
    const plan = tables[table]
    plan.windowMs = Math.max(plan.windowMs, windowMs)
    const accumulator = accumulatorOf(plan, metricIndex.get(spec.metric)!)
    reserve(plan, plan.accumulators[accumulator], spec.aggregate)
    return { name: spec.name, table, accumulator, aggregate: spec.aggregate, windowMs, perMs: durationMs(spec.per) }
  })
  const flags = profile.flags.map((spec): FlagPlan => {
    const accumulator = accumulatorOf(tables[0], metricIndex.get(spec.metric)!)
    reserve(tables[0], tables[0].accumulators[accumulator], 'range')
    const operands = spec.flag === 'deviates' ? [spec.mean, spec.std] : [spec.of]
    return { spec, accumulator, operands: operands.map(name => features.findIndex(feature => feature.name === name)) }
  })
  for (const table of tables) {
    const wanted = Math.max(durationMs(profile.corrections), CORRECTION_HOPS_MIN * table.hopMs)
    table.correctionsMs = Math.ceil(wanted / table.hopMs) * table.hopMs
  }
  const longest = tables.reduce((best, table, t) => (table.windowMs > best.windowMs ? { table: t, windowMs: table.windowMs } : best), {
    table: 0,
    windowMs: hopMs
  })
  const reachMs = Math.max(...tables.map(table => table.windowMs + table.hopMs - 2 * hopMs))
  return {
    profile,
    digest: profileDigest(profile),
    hopMs,
    tables,
    features,
    flags,
    longest,
    intervalMs: durationMs(profile.interval),
    reachMs
  }
}

function tableOf(tables: TablePlan[], hopMs: number, isRowHop: boolean): number {
  const at = tables.findIndex(table => table.hopMs === hopMs)
  if (at >= 0) return at
  return (
    tables.push({
      hopMs,
      isRowHop,
      stride: isRowHop ? PANE_REVISION + 1 : PANE_READINGS + 1,
      windowMs: hopMs,
      correctionsMs: 0,
      accumulators: []
    }) - 1
  )
}

function accumulatorOf(table: TablePlan, metric: number): number {
  const at = table.accumulators.findIndex(accumulator => accumulator.metric === metric)
  if (at >= 0) return at
  return table.accumulators.push({ metric, n: table.stride++, mean: -1, m2: -1, min: -1, max: -1, sum: -1, lastTwo: -1 }) - 1
}

const NEEDS: Record<Aggregate, readonly ('mean' | 'm2' | 'min' | 'max' | 'sum' | 'lastTwo')[]> = {
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
    table.stride += need === 'lastTwo' ? 8 : 1
  }
}
