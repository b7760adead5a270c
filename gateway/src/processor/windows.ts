/** Reads features and flags out of panes: merges the panes of each window once, then finishes each aggregate. */
import {
  type Accumulator,
  type FeaturePlan,
  type FlagPlan,
  LAST_TWO_DOUBLES,
  MERGED_DOUBLES,
  OLD_COUNT,
  OLD_FIRST,
  type Plan,
  type TablePlan,
  type WindowPlan
} from './feature-plan.js'
import { countAt, oldBase } from './old-panes.js'
import { keepLastTwo, setDoubles } from './pane.js'
import { mergeLastTwo, type Panes, readingsIn } from './panes.js'

/** A row's features and flags (0, 1), NaN for null, in the plan's order; and how many readings its longest window holds. */
export interface WindowValues {
  readonly features: Float64Array
  readonly flags: Float64Array
  readingsInLongest: number
}

/** Offsets in a merged accumulator. */
const N = 0
const MEAN = 1
const M2 = 2
const MIN = 3
const MAX = 4
const SUM = 5

/** Which panes a window holds: old ones by slot and young ones by index, both [from, behind). */
interface Span {
  startMs: number
  oldFrom: number
  oldBehind: number
  youngFrom: number
  youngBehind: number
}

/** Reads rows under one plan. What it returns is overwritten by the next row. */
export class WindowReader {
  private readonly plan: Plan
  private readonly values: WindowValues
  private readonly spans: Span[]
  /** By window: its readings, then its merged accumulators. */
  private readonly merged: Float64Array[]
  private readonly lastTwo = new Float64Array(LAST_TWO_DOUBLES)

  constructor(plan: Plan) {
    this.plan = plan
    this.values = { features: new Float64Array(plan.features.length), flags: new Float64Array(plan.flags.length), readingsInLongest: 0 }
    this.spans = plan.windows.map(() => ({ startMs: 0, oldFrom: 0, oldBehind: 0, youngFrom: 0, youngBehind: 0 }))
    this.merged = plan.windows.map(window => new Float64Array(1 + window.accumulators.length * MERGED_DOUBLES))
  }

  /** What holds as of `asOfMs`. `pane` is the young one in table 0 of the hop that ends there. */
  read(panes: Panes, asOfMs: number, pane: number): WindowValues {
    const { plan, values } = this
    for (let w = 0; w < plan.windows.length; w++) this.mergeWindow(panes, w, asOfMs)
    for (let f = 0; f < plan.features.length; f++) values.features[f] = this.finish(panes, plan.features[f])
    for (let f = 0; f < plan.flags.length; f++) values.flags[f] = judgeFlag(plan.flags[f], values.features, panes, plan.tables[0], pane)
    values.readingsInLongest = this.merged[plan.longest][0]
    return values
  }

  private mergeWindow(panes: Panes, w: number, asOfMs: number): void {
    const window = this.plan.windows[w]
    const table = this.plan.tables[window.table]
    const endMs = Math.floor(asOfMs / table.hopMs) * table.hopMs
    const into = this.merged[w]
    span(panes, table, endMs - window.windowMs, endMs, this.spans[w])
    const { cacheAt } = window
    if (cacheAt >= 0 && panes.data[cacheAt] === endMs) {
      for (let i = 0; i < into.length; i++) into[i] = panes.data[cacheAt + 1 + i]
      return
    }
    if (w === this.plan.longest || cacheAt >= 0) into[0] = readingsInSpan(panes, table, this.spans[w])
    mergeAll(panes, window, table, this.spans[w], into)
    if (cacheAt < 0) return
    panes.data[cacheAt] = endMs
    for (let i = 0; i < into.length; i++) panes.data[cacheAt + 1 + i] = into[i]
  }

  private finish(panes: Panes, { window, place, aggregate, perMs }: FeaturePlan): number {
    const merged = this.merged[window]
    const at = 1 + place * MERGED_DOUBLES
    const n = merged[at + N]
    if (aggregate === 'count') return n
    if (n === 0) return Number.NaN
    switch (aggregate) {
      case 'mean':
        return merged[at + MEAN]
      case 'std':
        return n < 2 ? Number.NaN : Math.sqrt(merged[at + M2] / (n - 1))
      case 'min':
        return merged[at + MIN]
      case 'max':
        return merged[at + MAX]
      case 'range':
        return merged[at + MAX] - merged[at + MIN]
      case 'sum':
        return merged[at + SUM]
      case 'last':
        return this.lastTwoOf(panes, window, place)[3]
      case 'rate': {
        const lastTwo = this.lastTwoOf(panes, window, place)
        const elapsedMs = lastTwo[0] - lastTwo[4]
        return n < 2 || elapsedMs === 0 ? Number.NaN : ((lastTwo[3] - lastTwo[7]) / elapsedMs) * perMs
      }
      default:
        return aggregate satisfies never
    }
  }

  /** The last two readings in the window: young panes from the last back, until there are two; and those of old panes. */
  private lastTwoOf(panes: Panes, w: number, place: number): Float64Array {
    const { lastTwo } = this
    const window = this.plan.windows[w]
    const table = this.plan.tables[window.table]
    const { lastTwo: offset, oldLastTwoAt } = window.accumulators[place]
    const { startMs, youngFrom, youngBehind } = this.spans[w]
    setDoubles(lastTwo, Number.NEGATIVE_INFINITY, 0, LAST_TWO_DOUBLES)
    const isFull = () => lastTwo[LAST_TWO_DOUBLES / 2] > Number.NEGATIVE_INFINITY
    for (let pane = youngBehind - 1; pane >= youngFrom && !isFull(); pane--)
      mergeLastTwo(panes.data, panes.baseOf(table, pane) + offset, lastTwo, 0)
    for (let at = oldLastTwoAt + LAST_TWO_DOUBLES / 2; at >= oldLastTwoAt; at -= LAST_TWO_DOUBLES / 2) {
      const { data } = panes
      if (data[at] > startMs) keepLastTwo(lastTwo, 0, { timeMs: data[at], epoch: data[at + 1], seq: data[at + 2] }, data[at + 3])
    }
    return lastTwo
  }
}

/** Finds the panes with ends in (startMs, endMs], both multiples of the hop. */
function span(panes: Panes, table: TablePlan, startMs: number, endMs: number, into: Span): void {
  const { data } = panes
  const count = data[table.headAt + OLD_COUNT]
  const firstMs = data[table.headAt + OLD_FIRST]
  into.startMs = startMs
  into.oldFrom = Math.min(count, Math.max(0, (startMs - firstMs) / table.hopMs + 1))
  into.oldBehind = Math.min(count, Math.max(0, (endMs - firstMs) / table.hopMs + 1))
  into.youngFrom = panes.firstBehind(table, startMs)
  into.youngBehind = panes.firstBehind(table, endMs)
}

function readingsInSpan(panes: Panes, table: TablePlan, { oldFrom, oldBehind, youngFrom, youngBehind }: Span): number {
  const { data } = panes
  let readings = 0
  for (let slot = oldFrom, base = oldBase(panes, table, slot); slot < oldBehind; slot++, base += table.oldStride)
    readings += countAt(data, base, 0)
  for (let pane = youngFrom; pane < youngBehind; pane++) readings += readingsIn(data, panes.baseOf(table, pane))
  return readings
}

function mergeAll(panes: Panes, { accumulators }: WindowPlan, table: TablePlan, span: Span, into: Float64Array): void {
  const { data } = panes
  for (let a = 0; a < accumulators.length; a++) {
    const accumulator = accumulators[a]
    const at = 1 + a * MERGED_DOUBLES
    setDoubles(into, 0, at, at + MERGED_DOUBLES)
    into[at + MIN] = Number.POSITIVE_INFINITY
    into[at + MAX] = Number.NEGATIVE_INFINITY
    let base = oldBase(panes, table, span.oldFrom)
    for (let slot = span.oldFrom; slot < span.oldBehind; slot++, base += table.oldStride)
      mergePane(data, base, countAt(data, base, accumulator.countPlace), accumulator.old, into, at)
    base = panes.baseOf(table, span.youngFrom)
    for (let pane = span.youngFrom; pane < span.youngBehind; pane++, base += table.stride)
      mergePane(data, base, data[base + accumulator.n], accumulator, into, at)
  }
}

type Offsets = Readonly<Record<'mean' | 'm2' | 'min' | 'max' | 'sum', number>>

function mergePane(
  data: Float64Array,
  base: number,
  count: number,
  { mean, m2, min, max, sum }: Offsets,
  into: Float64Array,
  at: number
): void {
  if (count === 0) return
  if (mean >= 0) {
    // Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances (1979)
    const difference = data[base + mean] - into[at + MEAN]
    const together = into[at + N] + count
    into[at + MEAN] += (difference * count) / together
    if (m2 >= 0) into[at + M2] += data[base + m2] + (difference * difference * into[at + N] * count) / together
  }
  into[at + N] += count
  if (min >= 0) into[at + MIN] = Math.min(into[at + MIN], data[base + min])
  if (max >= 0) into[at + MAX] = Math.max(into[at + MAX], data[base + max])
  if (sum >= 0) into[at + SUM] += data[base + sum]
}

/** 1, 0, or NaN where an operand is undefined. */
function judgeFlag(
  { spec, accumulator, operands }: FlagPlan,
  features: Float64Array,
  panes: Panes,
  table: TablePlan,
  pane: number
): number {
  const { n, min, max }: Accumulator = accumulator
  const base = panes.baseOf(table, pane)
  const { data } = panes
  if (data[base + n] === 0) return Number.NaN
  for (const operand of operands) if (Number.isNaN(features[operand])) return Number.NaN
  const highest = data[base + max]
  if (spec.flag === 'exceeds') return highest > spec.factor * features[operands[0]] ? 1 : 0
  const mean = features[operands[0]]
  const std = features[operands[1]]
  const deviation = Math.max(highest - mean, mean - data[base + min])
  return deviation > spec.factor * std && deviation > 1e-9 * Math.max(1, Math.abs(mean)) ? 1 : 0
}
