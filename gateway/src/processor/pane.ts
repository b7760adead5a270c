/** One pane: how a reading is merged into it. A pane is a row of doubles at a base; its plan says what lies where. */
import { type Accumulator, LAST_TWO_DOUBLES } from './feature-plan.js'

/** Where a reading stands in the order of a device's readings: event time, then epoch, then seq (opaque IDs: by offset). */
export interface Order {
  readonly timeMs: number
  readonly epoch: number
  readonly seq: number
}

export function accumulate(data: Float64Array, base: number, accumulator: Accumulator, order: Order, value: number): void {
  const { n, mean, m2, min, max, sum, lastTwo } = accumulator
  const count = ++data[base + n]
  if (mean >= 0) {
    // Welford: Note on a method for calculating corrected sums of squares and products (1962)
    const deviation = value - data[base + mean]
    data[base + mean] += deviation / count
    if (m2 >= 0) data[base + m2] += deviation * (value - data[base + mean])
  }
  if (min >= 0 && value < data[base + min]) data[base + min] = value
  if (max >= 0 && value > data[base + max]) data[base + max] = value
  if (sum >= 0) data[base + sum] += value
  if (lastTwo >= 0) keepLastTwo(data, base + lastTwo, order, value)
}

/** Readings of one epoch, in the order in which they came. */
export interface Run {
  readonly count: number
  readonly epoch: number
  readonly seqs: Float64Array
  readonly eventTimesMs: Float64Array
  /** `count` a metric, metric behind metric; NaN is null. */
  readonly values: Float64Array
}

/** Merges readings [from, behind) into the pane as `accumulate` does one after another, to the bit. */
export function accumulateRun(data: Float64Array, base: number, accumulator: Accumulator, run: Run, from: number, behind: number): void {
  const { mean: meanAt, m2: m2At, min: minAt, max: maxAt, sum: sumAt, lastTwo: lastTwoAt } = accumulator
  const { values } = run
  const first = accumulator.metric * run.count
  let n = data[base + accumulator.n]
  let mean = meanAt >= 0 ? data[base + meanAt] : 0
  let m2 = m2At >= 0 ? data[base + m2At] : 0
  let min = minAt >= 0 ? data[base + minAt] : 0
  let max = maxAt >= 0 ? data[base + maxAt] : 0
  let sum = sumAt >= 0 ? data[base + sumAt] : 0
  for (let i = first + from; i < first + behind; i++) {
    const value = values[i]
    if (Number.isNaN(value)) continue
    n++
    if (meanAt >= 0) {
      const deviation = value - mean
      mean += deviation / n
      m2 += deviation * (value - mean)
    }
    if (value < min) min = value
    if (value > max) max = value
    sum += value
  }
  data[base + accumulator.n] = n
  if (meanAt >= 0) data[base + meanAt] = mean
  if (m2At >= 0) data[base + m2At] = m2
  if (minAt >= 0) data[base + minAt] = min
  if (maxAt >= 0) data[base + maxAt] = max
  if (sumAt >= 0) data[base + sumAt] = sum
  if (lastTwoAt >= 0) keepLastTwoOfRun(data, base + lastTwoAt, run, first, from, behind)
}

function keepLastTwoOfRun(data: Float64Array, at: number, run: Run, first: number, from: number, behind: number): void {
  const { epoch, seqs, eventTimesMs, values } = run
  for (let i = from; i < behind; i++) {
    const value = values[first + i]
    if (!Number.isNaN(value)) keepReading(data, at, eventTimesMs[i], epoch, seqs[i], value)
  }
}

const HALF = LAST_TWO_DOUBLES / 2

/** Keeps the two latest readings at `at`: first the last, then the one before it. */
export function keepLastTwo(data: Float64Array, at: number, { timeMs, epoch, seq }: Order, value: number): void {
  keepReading(data, at, timeMs, epoch, seq, value)
}

function keepReading(data: Float64Array, at: number, timeMs: number, epoch: number, seq: number, value: number): void {
  const isLast = isBehind(timeMs, epoch, seq, data, at)
  if (!isLast && !isBehind(timeMs, epoch, seq, data, at + HALF)) return
  const place = isLast ? at : at + HALF
  if (isLast) for (let i = 0; i < HALF; i++) data[at + HALF + i] = data[at + i]
  data[place] = timeMs
  data[place + 1] = epoch
  data[place + 2] = seq
  data[place + 3] = value
}

function isBehind(timeMs: number, epoch: number, seq: number, data: Float64Array, at: number): boolean {
  if (timeMs !== data[at]) return timeMs > data[at]
  if (epoch !== data[at + 1]) return epoch > data[at + 1]
  return seq > data[at + 2]
}

/** Sets doubles [from, behind). By hand, as is `moveDoubles`: so few are done before a built-in would have begun. */
export function setDoubles(data: Float64Array, value: number, from: number, behind: number): void {
  for (let at = from; at < behind; at++) data[at] = value
}

/** More than these are moved faster by a built-in. */
const MOVED_BY_HAND_MAX = 64

/** Moves doubles [from, behind) to `to`; the two may overlap. */
export function moveDoubles(data: Float64Array, to: number, from: number, behind: number): void {
  if (behind - from > MOVED_BY_HAND_MAX) data.copyWithin(to, from, behind)
  else if (to < from) for (let at = from; at < behind; at++) data[to + at - from] = data[at]
  else for (let at = behind - 1; at >= from; at--) data[to + at - from] = data[at]
}
