/** Reads features and flags out of panes: merges the panes of a window, then finishes each aggregate. */
import type { Accumulator, FeaturePlan, FlagPlan, Plan } from './feature-plan.js'
import { keepLastTwo, type PaneTable } from './panes.js'

/** Merged panes of one metric over one window. */
interface Merged {
  n: number
  mean: number
  m2: number
  min: number
  max: number
  sum: number
  readonly lastTwo: Float64Array
}

/** A row's features and flags (0, 1), NaN for null, in the plan's order; and how many readings its longest window holds. */
export interface WindowValues {
  readonly features: Float64Array
  readonly flags: Float64Array
  readonly readingsInLongest: number
}

/** What holds as of `asOfMs`. `pane` is the place in table 0 of the hop that ends there. */
export function readWindows(plan: Plan, tables: readonly PaneTable[], asOfMs: number, pane: number): WindowValues {
  const merged = new Map<string, Merged>()
  const features = Float64Array.from(plan.features, feature => {
    const key = `${feature.table}/${feature.accumulator}/${feature.windowMs}`
    let window = merged.get(key)
    if (window === undefined) {
      window = mergeWindow(tables[feature.table], tables[feature.table].plan.accumulators[feature.accumulator], asOfMs, feature.windowMs)
      merged.set(key, window)
    }
    return finish(feature, window)
  })
  const flags = Float64Array.from(plan.flags, flag => judgeFlag(flag, features, tables[0], pane))
  return { features, flags, readingsInLongest: readingsIn(tables[plan.longest.table], asOfMs, plan.longest.windowMs) }
}

function mergeWindow(table: PaneTable, accumulator: Accumulator, asOfMs: number, windowMs: number): Merged {
  const { n, mean, m2, min, max, sum, lastTwo } = accumulator
  const into: Merged = {
    n: 0,
    mean: 0,
    m2: 0,
    min: Number.POSITIVE_INFINITY,
    max: Number.NEGATIVE_INFINITY,
    sum: 0,
    lastTwo: new Float64Array(8)
  }
  into.lastTwo.fill(Number.NEGATIVE_INFINITY)
  const endMs = Math.floor(asOfMs / table.plan.hopMs) * table.plan.hopMs
  const behind = table.firstBehind(endMs)
  for (let pane = table.firstBehind(endMs - windowMs); pane < behind; pane++) {
    const count = table.valueAt(pane, n)
    if (count === 0) continue
    if (mean >= 0) {
      // Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances (1979)
      const difference = table.valueAt(pane, mean) - into.mean
      const together = into.n + count
      into.mean += (difference * count) / together
      if (m2 >= 0) into.m2 += table.valueAt(pane, m2) + (difference * difference * into.n * count) / together
    }
    into.n += count
    if (min >= 0) into.min = Math.min(into.min, table.valueAt(pane, min))
    if (max >= 0) into.max = Math.max(into.max, table.valueAt(pane, max))
    if (sum >= 0) into.sum += table.valueAt(pane, sum)
    if (lastTwo >= 0) mergeLastTwo(into.lastTwo, table, pane, lastTwo)
  }
  return into
}

function mergeLastTwo(into: Float64Array, table: PaneTable, pane: number, offset: number): void {
  for (const at of [offset + 4, offset]) {
    const timeMs = table.valueAt(pane, at)
    if (timeMs === Number.NEGATIVE_INFINITY) continue
    keepLastTwo(into, 0, { timeMs, epoch: table.valueAt(pane, at + 1), seq: table.valueAt(pane, at + 2) }, table.valueAt(pane, at + 3))
  }
}

function finish(feature: FeaturePlan, { n, mean, m2, min, max, sum, lastTwo }: Merged): number {
  if (feature.aggregate === 'count') return n
  if (n === 0) return Number.NaN
  switch (feature.aggregate) {
    case 'mean':
      return mean
    case 'std':
      return n < 2 ? Number.NaN : Math.sqrt(m2 / (n - 1))
    case 'min':
      return min
    case 'max':
      return max
    case 'range':
      return max - min
    case 'sum':
      return sum
    case 'last':
      return lastTwo[3]
    case 'rate': {
      const elapsedMs = lastTwo[0] - lastTwo[4]
      return n < 2 || elapsedMs === 0 ? Number.NaN : ((lastTwo[3] - lastTwo[7]) / elapsedMs) * feature.perMs
    }
    default:
      return feature.aggregate satisfies never
  }
}

/** 1, 0, or NaN where an operand is undefined. */
function judgeFlag({ spec, accumulator, operands }: FlagPlan, features: Float64Array, table: PaneTable, pane: number): number {
  const { n, min, max } = table.plan.accumulators[accumulator]
  if (table.valueAt(pane, n) === 0 || operands.some(operand => Number.isNaN(features[operand]))) return Number.NaN
  const highest = table.valueAt(pane, max)
  if (spec.flag === 'exceeds') return highest > spec.factor * features[operands[0]] ? 1 : 0
  const [mean, std] = operands.map(operand => features[operand])
  const deviation = Math.max(highest - mean, mean - table.valueAt(pane, min))
  return deviation > spec.factor * std && deviation > 1e-9 * Math.max(1, Math.abs(mean)) ? 1 : 0
}

function readingsIn(table: PaneTable, asOfMs: number, windowMs: number): number {
  const endMs = Math.floor(asOfMs / table.plan.hopMs) * table.plan.hopMs
  const behind = table.firstBehind(endMs)
  let readings = 0
  for (let pane = table.firstBehind(endMs - windowMs); pane < behind; pane++) readings += table.readingsAt(pane)
  return readings
}
