/**
 * Old panes (panes.ts): young ones age into them, late readings are merged into them, and they are dropped in the end. Their
 * counts share doubles, 16 bits each; a pane with a greater count stays young, and those behind it do too.
 */
import {
  type Accumulator,
  COUNTS_PER_DOUBLE,
  EVICTED_THROUGH,
  OLD_AT,
  OLD_COUNT,
  OLD_COUNT_END,
  OLD_FIRST,
  OLD_SLOTS,
  PANE_END,
  PANE_READINGS,
  type TablePlan,
  YOUNG_SLOTS
} from './feature-plan.js'
import { keepLastTwo, moveDoubles, type Order, type Run, setDoubles } from './pane.js'
import { clearPane, mergeLastTwo, oldSlotsFor, type Panes, readingsIn } from './panes.js'

/** Young slots that may stay empty before they are given back: a backlog that has gone out leaves thousands. */
const SPARE_SLOTS_MAX = 32

const PLACES = [1, OLD_COUNT_END, OLD_COUNT_END ** 2]

/** The count in the given place of an old pane; place 0 is its readings. */
export function countAt(data: Float64Array, base: number, place: number): number {
  const packed = data[base + Math.floor(place / COUNTS_PER_DOUBLE)]
  switch (place % COUNTS_PER_DOUBLE) {
    case 0:
      return packed & 0xffff // bitwise operators look at the low 32 bits of an integer
    case 1:
      return packed >>> 16
    default:
      return Math.floor(packed / 2 ** 32)
  }
}

export function addToCount(data: Float64Array, base: number, place: number, count: number): void {
  data[base + Math.floor(place / COUNTS_PER_DOUBLE)] += count * PLACES[place % COUNTS_PER_DOUBLE]
}

/** Makes the young panes that end at or before `throughMs` old. */
export function age(panes: Panes, table: TablePlan, throughMs: number): void {
  const { headAt, hopMs } = table
  const aged = countToAge(panes, table, throughMs)
  if (aged === 0) return
  const isFirst = panes.data[headAt + OLD_COUNT] === 0
  const firstMs = isFirst ? panes.endAt(table, 0) : panes.data[headAt + OLD_FIRST]
  const count = (panes.endAt(table, aged - 1) - firstMs) / hopMs + 1
  makeRoom(panes, table, count)
  panes.data[headAt + OLD_FIRST] = firstMs
  for (let slot = panes.data[headAt + OLD_COUNT]; slot < count; slot++) clearOld(panes, table, slot)
  panes.data[headAt + OLD_COUNT] = count
  for (let pane = 0; pane < aged; pane++) ageOne(panes, table, pane, (panes.endAt(table, pane) - firstMs) / hopMs)
  panes.dropYoung(table, aged)
  const left = panes.count(table)
  if (panes.data[headAt + YOUNG_SLOTS] > 2 * left + SPARE_SLOTS_MAX) panes.resize(table, panes.data[headAt + OLD_SLOTS], left)
}

function countToAge(panes: Panes, table: TablePlan, throughMs: number): number {
  const behind = panes.firstBehind(table, throughMs)
  for (let pane = 0; pane < behind; pane++) if (panes.readingsAt(table, pane) >= OLD_COUNT_END) return pane
  return behind
}

function ageOne(panes: Panes, table: TablePlan, pane: number, slot: number): void {
  const { data } = panes
  const from = panes.baseOf(table, pane)
  const to = oldBase(panes, table, slot)
  addToCount(data, to, 0, readingsIn(data, from))
  for (let a = 0; a < table.accumulators.length; a++) {
    const { countPlace, n, oldPairs, lastTwo, oldLastTwoAt } = table.accumulators[a]
    addToCount(data, to, countPlace, data[from + n])
    for (let i = 0; i < oldPairs.length; i += 2) data[to + oldPairs[i + 1]] = data[from + oldPairs[i]]
    if (lastTwo >= 0) mergeLastTwo(data, from + lastTwo, data, oldLastTwoAt)
  }
}

/** Merges a reading into the table's pane, old or young, unless that was dropped. `values` holds a number a metric; NaN is null. */
export function addReading(panes: Panes, table: TablePlan, order: Order, values: Float64Array): void {
  const endMs = panes.endOf(table, order.timeMs)
  if (endMs <= panes.evictedThroughMs(table)) return
  panes.forgetWindows(table, endMs)
  if (endMs <= panes.oldThroughMs(table)) addToOld(panes, table, endMs, order, values)
  else panes.merge(table, endMs, order, values)
}

/** Merges readings [from, behind) of the run, in order. */
export function addRun(panes: Panes, table: TablePlan, run: Run, from: number, behind: number): void {
  for (let i = from; i < behind; ) {
    const endMs = panes.endOf(table, run.eventTimesMs[i])
    const first = i++
    while (i < behind && run.eventTimesMs[i] <= endMs && run.eventTimesMs[i] > endMs - table.hopMs) i++
    if (endMs <= panes.evictedThroughMs(table)) continue
    panes.forgetWindows(table, endMs)
    if (endMs > panes.oldThroughMs(table)) panes.mergeRun(table, endMs, run, first, i)
    else for (let late = first; late < i; late++) addReading(panes, table, orderIn(run, late), valuesIn(run, late))
  }
}

function orderIn({ eventTimesMs, epoch, seqs }: Run, i: number): Order {
  return { timeMs: eventTimesMs[i], epoch, seq: seqs[i] }
}

function valuesIn({ values, count }: Run, i: number): Float64Array {
  return Float64Array.from({ length: values.length / count }, (_, m) => values[m * count + i])
}

/** Merges a late reading into the old pane that ends at `endMs`, at or before the last of them. */
function addToOld(panes: Panes, table: TablePlan, endMs: number, order: Order, values: Float64Array): void {
  const { headAt, hopMs } = table
  const early = (panes.data[headAt + OLD_FIRST] - endMs) / hopMs
  if (early > 0) prepend(panes, table, early)
  const slot = Math.max(0, -early)
  if (countAt(panes.data, oldBase(panes, table, slot), 0) + 1 >= OLD_COUNT_END) {
    revive(panes, table, slot)
    panes.merge(table, endMs, order, values)
    return
  }
  const { data } = panes
  const base = oldBase(panes, table, slot)
  addToCount(data, base, 0, 1)
  for (const accumulator of table.accumulators) {
    const value = values[accumulator.metric]
    if (!Number.isNaN(value)) accumulateOld(data, base, accumulator, order, value)
  }
}

/** As `accumulate` does, of what old panes keep. */
function accumulateOld(data: Float64Array, base: number, accumulator: Accumulator, order: Order, value: number): void {
  addToCount(data, base, accumulator.countPlace, 1)
  const { mean, m2, min, max, sum } = accumulator.old
  if (mean >= 0) {
    const deviation = value - data[base + mean]
    data[base + mean] += deviation / countAt(data, base, accumulator.countPlace)
    if (m2 >= 0) data[base + m2] += deviation * (value - data[base + mean])
  }
  if (min >= 0 && value < data[base + min]) data[base + min] = value
  if (max >= 0 && value > data[base + max]) data[base + max] = value
  if (sum >= 0) data[base + sum] += value
  if (accumulator.lastTwo >= 0) keepLastTwo(data, accumulator.oldLastTwoAt, order, value)
}

/** Drops the panes, old and young, that end at or before `endMs`, a multiple of the hop. */
export function evict(panes: Panes, table: TablePlan, endMs: number): void {
  const { headAt, hopMs, oldStride } = table
  const { data } = panes
  if (endMs <= data[headAt + EVICTED_THROUGH]) return
  data[headAt + EVICTED_THROUGH] = endMs
  const count = data[headAt + OLD_COUNT]
  const dropped = count === 0 ? 0 : Math.min(count, Math.max(0, (endMs - data[headAt + OLD_FIRST]) / hopMs + 1))
  if (dropped > 0) {
    const at = data[headAt + OLD_AT]
    moveDoubles(data, at, at + dropped * oldStride, at + count * oldStride)
    data[headAt + OLD_COUNT] = count - dropped
    data[headAt + OLD_FIRST] += dropped * hopMs
  }
  panes.dropYoung(table, panes.firstBehind(table, endMs))
}

/** Makes old panes from `slot` on young again. What only young panes hold is lost, but no row of theirs will ask for it. */
function revive(panes: Panes, table: TablePlan, slot: number): void {
  const { headAt, hopMs } = table
  for (let each = panes.data[headAt + OLD_COUNT] - 1; each >= slot; each--) {
    panes.data[headAt + OLD_COUNT] = each
    if (countAt(panes.data, oldBase(panes, table, each), 0) === 0) continue
    const to = panes.insertYoung(table, 0)
    const { data } = panes
    const from = oldBase(panes, table, each)
    clearPane(data, to, table)
    data[to + PANE_END] = data[headAt + OLD_FIRST] + each * hopMs
    data[to + PANE_READINGS] = countAt(data, from, 0)
    for (const { countPlace, n, oldPairs } of table.accumulators) {
      data[to + n] = countAt(data, from, countPlace)
      for (let i = 0; i < oldPairs.length; i += 2) data[to + oldPairs[i]] = data[from + oldPairs[i + 1]]
    }
  }
}

/** Makes `count` empty panes before the first. */
function prepend(panes: Panes, table: TablePlan, count: number): void {
  const { headAt, hopMs, oldStride } = table
  const before = panes.data[headAt + OLD_COUNT]
  makeRoom(panes, table, before + count)
  const { data } = panes
  const at = data[headAt + OLD_AT]
  moveDoubles(data, at + count * oldStride, at, at + before * oldStride)
  data[headAt + OLD_COUNT] = before + count
  data[headAt + OLD_FIRST] -= count * hopMs
  for (let slot = 0; slot < count; slot++) clearOld(panes, table, slot)
}

function makeRoom(panes: Panes, table: TablePlan, count: number): void {
  const slots = panes.data[table.headAt + OLD_SLOTS]
  if (count <= slots) return
  panes.resize(table, oldSlotsFor(table, count, slots), panes.data[table.headAt + YOUNG_SLOTS])
}

export function clearOld(panes: Panes, table: TablePlan, slot: number): void {
  const { data } = panes
  const base = oldBase(panes, table, slot)
  setDoubles(data, 0, base, base + table.oldStride)
  for (let a = 0; a < table.accumulators.length; a++) {
    const { old } = table.accumulators[a]
    if (old.min >= 0) data[base + old.min] = Number.POSITIVE_INFINITY
    if (old.max >= 0) data[base + old.max] = Number.NEGATIVE_INFINITY
  }
}

export function oldBase({ data }: Panes, { headAt, oldStride }: TablePlan, slot: number): number {
  return data[headAt + OLD_AT] + slot * oldStride
}
