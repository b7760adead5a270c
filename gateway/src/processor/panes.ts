/**
 * The panes of one hop of one device: disjoint slices (end - hop, end] of event time that windows share, sorted by end, sparse
 * (a slice without readings takes no place). Panes are merged, never subtracted from.
 */
import { type Accumulator, PANE_END, PANE_READINGS, PANE_REVISION, type TablePlan } from './feature-plan.js'

const GROWTH = 16

/** Time, epoch, seq, value, twice. */
const LAST_TWO_DOUBLES = 8

export interface TableSnapshot {
  readonly data: Float64Array
  readonly evictedThroughMs: number
}

/** Where a reading stands in the order of a device's readings: event time, then epoch, then seq (opaque IDs: by offset). */
export interface Order {
  readonly timeMs: number
  readonly epoch: number
  readonly seq: number
}

export class PaneTable {
  readonly plan: TablePlan
  count = 0
  /** Panes with an end at or before it were dropped; a reading of theirs can no longer be merged. Unix ms. */
  evictedThroughMs: number
  private data: Float64Array

  constructor(plan: TablePlan, snapshot?: TableSnapshot) {
    this.plan = plan
    this.data = snapshot?.data ?? new Float64Array(0)
    this.count = this.data.length / plan.stride
    this.evictedThroughMs = snapshot?.evictedThroughMs ?? Number.NEGATIVE_INFINITY
  }

  endOf(timeMs: number): number {
    return Math.ceil(timeMs / this.plan.hopMs) * this.plan.hopMs
  }

  endAt(pane: number): number {
    return this.data[pane * this.plan.stride + PANE_END]
  }

  readingsAt(pane: number): number {
    return this.data[pane * this.plan.stride + PANE_READINGS]
  }

  revisionAt(pane: number): number {
    return this.data[pane * this.plan.stride + PANE_REVISION]
  }

  setRevision(pane: number, revision: number): void {
    this.data[pane * this.plan.stride + PANE_REVISION] = revision
  }

  valueAt(pane: number, offset: number): number {
    return this.data[pane * this.plan.stride + offset]
  }

  /** The index of the first pane that ends behind `endMs`. */
  firstBehind(endMs: number): number {
    if (this.count === 0 || this.endAt(this.count - 1) <= endMs) return this.count
    let low = 0
    let high = this.count - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.endAt(middle) <= endMs) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Merges one reading into the pane that ends at `endMs`. `values` holds a number a metric; NaN is null. */
  add(endMs: number, order: Order, values: Float64Array): void {
    const base = this.paneEndingAt(endMs) * this.plan.stride
    const { data } = this
    data[base + PANE_READINGS]++
    for (const accumulator of this.plan.accumulators) {
      const value = values[accumulator.metric]
      if (!Number.isNaN(value)) accumulate(data, base, accumulator, order, value)
    }
  }

  /** Drops the panes that end at or before `endMs`. */
  evict(endMs: number): void {
    if (endMs <= this.evictedThroughMs) return
    this.evictedThroughMs = endMs
    const dropped = this.firstBehind(endMs)
    if (dropped === 0) return
    this.data.copyWithin(0, dropped * this.plan.stride, this.count * this.plan.stride)
    this.count -= dropped
  }

  toSnapshot(): TableSnapshot {
    return { data: this.data.slice(0, this.count * this.plan.stride), evictedThroughMs: this.evictedThroughMs }
  }

  /** These panes as a table of another plan of the same hop. `metricHere` gives a metric's place under this plan, or -1. */
  under(plan: TablePlan, metricHere: (metric: number) => number): TableSnapshot {
    const data = new Float64Array(this.count * plan.stride)
    const kept = plan.accumulators.map(accumulator => {
      const here = this.plan.accumulators.find(({ metric }) => metric === metricHere(accumulator.metric))
      return here !== undefined && keepsAll(here, accumulator) ? { here, accumulator } : null
    })
    const head = plan.isRowHop && this.plan.isRowHop ? PANE_REVISION + 1 : PANE_READINGS + 1
    for (let pane = 0; pane < this.count; pane++) {
      const [from, to] = [pane * this.plan.stride, pane * plan.stride]
      clearPane(data, to, plan)
      for (let offset = 0; offset < head; offset++) data[to + offset] = this.data[from + offset]
      for (const pair of kept) if (pair !== null) copyAccumulator(this.data, from, pair.here, data, to, pair.accumulator)
    }
    return { data, evictedThroughMs: this.evictedThroughMs }
  }

  private paneEndingAt(endMs: number): number {
    const at = this.count > 0 && this.endAt(this.count - 1) === endMs ? this.count - 1 : this.firstBehind(endMs - 1)
    if (at < this.count && this.endAt(at) === endMs) return at
    const { stride } = this.plan
    if ((this.count + 1) * stride > this.data.length) {
      const grown = new Float64Array((this.count + GROWTH) * stride)
      grown.set(this.data.subarray(0, this.count * stride))
      this.data = grown
    }
    this.data.copyWithin((at + 1) * stride, at * stride, this.count * stride)
    this.count++
    clearPane(this.data, at * stride, this.plan)
    this.data[at * stride + PANE_END] = endMs
    return at
  }
}

/** Makes a pane at `base` that holds no reading. */
function clearPane(data: Float64Array, base: number, plan: TablePlan): void {
  data.fill(0, base, base + plan.stride)
  if (plan.isRowHop) data[base + PANE_REVISION] = -1
  for (const { min, max, lastTwo } of plan.accumulators) {
    if (min >= 0) data[base + min] = Number.POSITIVE_INFINITY
    if (max >= 0) data[base + max] = Number.NEGATIVE_INFINITY
    if (lastTwo >= 0) data.fill(Number.NEGATIVE_INFINITY, base + lastTwo, base + lastTwo + LAST_TWO_DOUBLES)
  }
}

const PARTS = ['n', 'mean', 'm2', 'min', 'max', 'sum', 'lastTwo'] as const

function keepsAll(here: Accumulator, wanted: Accumulator): boolean {
  return PARTS.every(part => wanted[part] < 0 || here[part] >= 0)
}

function copyAccumulator(
  from: Float64Array,
  fromBase: number,
  here: Accumulator,
  to: Float64Array,
  toBase: number,
  wanted: Accumulator
): void {
  for (const part of PARTS) {
    if (wanted[part] < 0) continue
    const doubles = part === 'lastTwo' ? LAST_TWO_DOUBLES : 1
    for (let i = 0; i < doubles; i++) to[toBase + wanted[part] + i] = from[fromBase + here[part] + i]
  }
}

function accumulate(data: Float64Array, base: number, accumulator: Accumulator, order: Order, value: number): void {
  const { n, mean, m2, min, max, sum, lastTwo } = accumulator
  const count = ++data[base + n]
  if (mean >= 0) {
    const deviation = value - data[base + mean]
    data[base + mean] += deviation / count
    if (m2 >= 0) data[base + m2] += deviation * (value - data[base + mean])
  }
  if (min >= 0 && value < data[base + min]) data[base + min] = value
  if (max >= 0 && value > data[base + max]) data[base + max] = value
  if (sum >= 0) data[base + sum] += value
  if (lastTwo >= 0) keepLastTwo(data, base + lastTwo, order, value)
}

/** Keeps the two latest readings at `at`: first the last, then the one before it. */
export function keepLastTwo(data: Float64Array, at: number, order: Order, value: number): void {
  const place = isBehind(order, data, at) ? at : isBehind(order, data, at + 4) ? at + 4 : -1
  if (place < 0) return
  if (place === at) data.copyWithin(at + 4, at, at + 4)
  data[place] = order.timeMs
  data[place + 1] = order.epoch
  data[place + 2] = order.seq
  data[place + 3] = value
}

function isBehind(order: Order, data: Float64Array, at: number): boolean {
  if (order.timeMs !== data[at]) return order.timeMs > data[at]
  if (order.epoch !== data[at + 1]) return order.epoch > data[at + 1]
  return order.seq > data[at + 2]
}
