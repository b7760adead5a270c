/**
 * The panes of one device under one plan: disjoint slices (end - hop, end] of event time that windows share. Merged, never
 * subtracted from. All lie in one block of doubles, which is also what a snapshot holds of them:
 *
 *   head | young panes of table 0 | of table 1 | … | old panes of table 0 | of table 1 | …
 *
 * What each reading changes lies close together that way, in few pages of memory.
 *
 * A young pane can still become a row, or its row can be corrected: it holds everything (`Accumulator`), and panes without readings
 * take no place. An old one only adds to the windows of later rows: it holds what these need, its counts packed; old panes are
 * dense, so that an index says which is which. Old panes end before young ones. The last two readings of all old panes are kept
 * once, in the head: a window that reaches old panes at all needs no others.
 */
import {
  CORRECTED_AT,
  DIRTY_FROM,
  DIRTY_THROUGH,
  EMITTED_THROUGH,
  EVICTED_THROUGH,
  LAST_TWO_DOUBLES,
  OLD_AT,
  OLD_COUNT,
  OLD_FIRST,
  OLD_SLOTS,
  PANE_END,
  PANE_READINGS,
  type Plan,
  ROW,
  type TablePlan,
  YOUNG_AT,
  YOUNG_COUNT,
  YOUNG_SLOTS
} from './feature-plan.js'
import { accumulate, accumulateRun, keepLastTwo, moveDoubles, type Order, type Run, setDoubles } from './pane.js'

/** Room is made at first for as many young panes as a device in time has, but for so many at most; then for an eighth more at a time. */
const YOUNG_SLOTS_FIRST_MAX = 32

/**
 * Young panes of a device in time that are beside those of its corrections. Of the row's hop: the one whose row went out last, and the
 * open one; of another, also the one before these.
 */
const ROWS_OPEN = 2
const OPEN_PANES = 3

/** Room for so many more old panes is made at a time. */
const OLD_STEP = 8

/** A table that will have no more old panes has room for all of them from the first reading on: no block grows while a short window fills. */
const OLD_SLOTS_FIRST_MAX = 64

export class Panes {
  readonly plan: Plan
  /** The block. Others may read it until the next change; it is replaced when it grows. */
  data: Float64Array

  constructor(plan: Plan, data = emptyBlock(plan)) {
    this.plan = plan
    this.data = data
  }

  endOf({ hopMs }: TablePlan, timeMs: number): number {
    return Math.ceil(timeMs / hopMs) * hopMs
  }

  /** Panes with an end at or before it were dropped; a reading of theirs can no longer be merged. Unix ms. */
  evictedThroughMs(table: TablePlan): number {
    return this.data[table.headAt + EVICTED_THROUGH]
  }

  /** Young panes. Below, `pane` counts them from 0, by end. */
  count(table: TablePlan): number {
    return this.data[table.headAt + YOUNG_COUNT]
  }

  endAt(table: TablePlan, pane: number): number {
    return this.data[this.baseOf(table, pane) + PANE_END]
  }

  readingsAt(table: TablePlan, pane: number): number {
    return readingsIn(this.data, this.baseOf(table, pane))
  }

  /** Counts a row that goes out as of the pane's end; returns its revision, 0 for the first. */
  addRow(table: TablePlan, pane: number): number {
    const at = this.baseOf(table, pane) + PANE_READINGS
    const rows = Math.floor(this.data[at] / ROW)
    this.data[at] += ROW
    return rows
  }

  /** The revision of the row that went out last as of the pane's end; -1: none did. */
  lastRevision(table: TablePlan, pane: number): number {
    return Math.floor(this.data[this.baseOf(table, pane) + PANE_READINGS] / ROW) - 1
  }

  /** Where the pane lies in the block. */
  baseOf(table: TablePlan, pane: number): number {
    return this.data[table.headAt + YOUNG_AT] + pane * table.stride
  }

  /** The first young pane that ends behind `endMs`. */
  firstBehind(table: TablePlan, endMs: number): number {
    const { data } = this
    const { stride } = table
    const count = data[table.headAt + YOUNG_COUNT]
    const at = data[table.headAt + YOUNG_AT] + PANE_END
    if (count === 0 || data[at + (count - 1) * stride] <= endMs) return count
    let low = 0
    let high = count - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (data[at + middle * stride] <= endMs) low = middle + 1
      else high = middle
    }
    return low
  }

  /** The end of the last old pane; -Infinity where there is none. */
  oldThroughMs({ headAt, hopMs }: TablePlan): number {
    const count = this.data[headAt + OLD_COUNT]
    return count === 0 ? Number.NEGATIVE_INFINITY : this.data[headAt + OLD_FIRST] + (count - 1) * hopMs
  }

  /** Merges one reading into the young pane that ends at `endMs`. `values` holds a number a metric; NaN is null. */
  merge(table: TablePlan, endMs: number, order: Order, values: Float64Array): void {
    this.mergeAt(this.paneEndingAt(table, endMs), table, order, values)
  }

  /** Merges one reading into the last young pane, in which it lies. */
  mergeIntoLast(table: TablePlan, order: Order, values: Float64Array): void {
    const base = this.baseOf(table, this.count(table) - 1)
    this.forgetWindows(table, this.data[base + PANE_END])
    this.mergeAt(base, table, order, values)
  }

  private mergeAt(base: number, { accumulators }: TablePlan, order: Order, values: Float64Array): void {
    const { data } = this
    data[base + PANE_READINGS]++
    for (let a = 0; a < accumulators.length; a++) {
      const value = values[accumulators[a].metric]
      if (!Number.isNaN(value)) accumulate(data, base, accumulators[a], order, value)
    }
  }

  /** Merges readings [from, behind) of the run, all in the young pane that ends at `endMs`. */
  mergeRun(table: TablePlan, endMs: number, run: Run, from: number, behind: number): void {
    const base = this.paneEndingAt(table, endMs)
    const { data } = this
    const { accumulators } = table
    data[base + PANE_READINGS] += behind - from
    for (let a = 0; a < accumulators.length; a++) accumulateRun(data, base, accumulators[a], run, from, behind)
  }

  /** Drops the young panes before the index. */
  dropYoung(table: TablePlan, dropped: number): void {
    if (dropped === 0) return
    const { data } = this
    const { headAt, stride } = table
    const at = data[headAt + YOUNG_AT]
    moveDoubles(data, at, at + dropped * stride, at + data[headAt + YOUNG_COUNT] * stride)
    data[headAt + YOUNG_COUNT] -= dropped
  }

  /** Makes room for a young pane at the index, and returns its base; it holds what was there. */
  insertYoung(table: TablePlan, pane: number): number {
    const { headAt, stride } = table
    const count = this.data[headAt + YOUNG_COUNT]
    if (count === this.data[headAt + YOUNG_SLOTS]) this.resize(table, this.data[headAt + OLD_SLOTS], slotsAbove(count, table))
    const { data } = this
    const base = this.baseOf(table, pane)
    moveDoubles(data, base + stride, base, base + (count - pane) * stride)
    data[headAt + YOUNG_COUNT] = count + 1
    return base
  }

  /** Gives the table other room; its panes, and those of other tables, move. */
  resize(table: TablePlan, oldSlots: number, youngSlots: number): void {
    const from = this.data
    const head = from.slice(0, this.plan.headDoubles)
    head[table.headAt + OLD_SLOTS] = oldSlots
    head[table.headAt + YOUNG_SLOTS] = youngSlots
    const data = new Float64Array(layOut(this.plan, head))
    data.set(head)
    for (const { headAt, oldStride, stride } of this.plan.tables) {
      copy(from, from[headAt + OLD_AT], data, head[headAt + OLD_AT], from[headAt + OLD_COUNT] * oldStride)
      copy(from, from[headAt + YOUNG_AT], data, head[headAt + YOUNG_AT], from[headAt + YOUNG_COUNT] * stride)
    }
    this.data = data
  }

  /** Forgets the windows over the table that hold the pane ending at `endMs`. */
  forgetWindows({ cachesAt }: TablePlan, endMs: number): void {
    for (let i = 0; i < cachesAt.length; i++) if (this.data[cachesAt[i]] >= endMs) this.data[cachesAt[i]] = Number.NaN
  }

  private paneEndingAt(table: TablePlan, endMs: number): number {
    const count = this.count(table)
    const at = count > 0 && this.endAt(table, count - 1) === endMs ? count - 1 : this.firstBehind(table, endMs - 1)
    if (at < count && this.endAt(table, at) === endMs) return this.baseOf(table, at)
    const base = this.insertYoung(table, at)
    clearPane(this.data, base, table)
    this.data[base + PANE_END] = endMs
    return base
  }
}

function slotsAbove(count: number, { isRowHop, hopMs, correctionsMs }: TablePlan): number {
  const first = isRowHop ? Math.min(YOUNG_SLOTS_FIRST_MAX, correctionsMs / hopMs + ROWS_OPEN) : OPEN_PANES
  return count < first ? first : count + Math.max(1, (count - first) >> 3)
}

/** Old panes of a device in time. */
function oldPanesInTime({ hopMs, windowMs, isRowHop, correctionsMs }: TablePlan): number {
  return (windowMs + (isRowHop ? 0 : correctionsMs)) / hopMs - 1 // at least one more is young
}

function oldSlotsFirst(table: TablePlan): number {
  const usual = oldPanesInTime(table)
  return usual <= OLD_SLOTS_FIRST_MAX ? usual : OLD_STEP
}

/** Room for at least `count` old panes where there is room for `slots`. */
export function oldSlotsFor(table: TablePlan, count: number, slots: number): number {
  return Math.max(count, Math.min(slots + OLD_STEP, oldPanesInTime(table)))
}

/** Readings in the young pane at `base`. */
export function readingsIn(data: Float64Array, base: number): number {
  return data[base + PANE_READINGS] % ROW
}

function copy(from: Float64Array, at: number, to: Float64Array, toAt: number, doubles: number): void {
  if (doubles > 0) to.set(from.subarray(at, at + doubles), toAt)
}

/** Makes a young pane at `base` that holds no reading. */
export function clearPane(data: Float64Array, base: number, { stride, accumulators }: TablePlan): void {
  setDoubles(data, 0, base, base + stride)
  for (let a = 0; a < accumulators.length; a++) {
    const { min, max, lastTwo } = accumulators[a]
    if (min >= 0) data[base + min] = Number.POSITIVE_INFINITY
    if (max >= 0) data[base + max] = Number.NEGATIVE_INFINITY
    if (lastTwo >= 0) setDoubles(data, Number.NEGATIVE_INFINITY, base + lastTwo, base + lastTwo + LAST_TWO_DOUBLES)
  }
}

/** Writes into a head where the tables' panes lie, by their slots; returns the length of the block. */
function layOut({ tables, headDoubles }: Plan, head: Float64Array): number {
  let end = headDoubles
  for (const { headAt, stride } of tables) {
    head[headAt + YOUNG_AT] = end
    end += head[headAt + YOUNG_SLOTS] * stride
  }
  for (const { headAt, oldStride } of tables) {
    head[headAt + OLD_AT] = end
    end += head[headAt + OLD_SLOTS] * oldStride
  }
  return end
}

/** By plan: the block of a device without a reading, all of its first room in it. */
const emptyBlocks = new WeakMap<Plan, Float64Array>()

function emptyBlock(plan: Plan): Float64Array {
  let block = emptyBlocks.get(plan)
  if (block === undefined) {
    block = newBlock(plan)
    emptyBlocks.set(plan, block)
  }
  return block.slice()
}

function newBlock(plan: Plan): Float64Array {
  const head = new Float64Array(plan.headDoubles)
  head[EMITTED_THROUGH] = Number.NEGATIVE_INFINITY
  head[DIRTY_FROM] = Number.POSITIVE_INFINITY
  head[DIRTY_THROUGH] = Number.NEGATIVE_INFINITY
  head[CORRECTED_AT] = Number.NEGATIVE_INFINITY
  for (const table of plan.tables) {
    const { headAt, accumulators, cachesAt } = table
    head[headAt + EVICTED_THROUGH] = Number.NEGATIVE_INFINITY
    head[headAt + OLD_SLOTS] = oldSlotsFirst(table)
    head[headAt + YOUNG_SLOTS] = slotsAbove(0, table)
    for (const at of cachesAt) head[at] = Number.NaN
    for (const { oldLastTwoAt: at } of accumulators) if (at >= 0) head.fill(Number.NEGATIVE_INFINITY, at, at + LAST_TWO_DOUBLES)
  }
  const block = new Float64Array(layOut(plan, head))
  block.set(head)
  return block
}

/** Merges the two readings kept at `at` into those kept at `into`. */
export function mergeLastTwo(data: Float64Array, at: number, to: Float64Array, into: number): void {
  for (let each = at + LAST_TWO_DOUBLES / 2; each >= at; each -= LAST_TWO_DOUBLES / 2) {
    if (data[each] === Number.NEGATIVE_INFINITY) continue
    keepLastTwo(to, into, { timeMs: data[each], epoch: data[each + 1], seq: data[each + 2] }, data[each + 3])
  }
}
