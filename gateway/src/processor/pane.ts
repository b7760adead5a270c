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

const HALF = LAST_TWO_DOUBLES / 2

/** Keeps the two latest readings at `at`: first the last, then the one before it. */
export function keepLastTwo(data: Float64Array, at: number, order: Order, value: number): void {
  const place = isBehind(order, data, at) ? at : isBehind(order, data, at + HALF) ? at + HALF : -1
  if (place < 0) return
  if (place === at) for (let i = 0; i < HALF; i++) data[at + HALF + i] = data[at + i]
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
