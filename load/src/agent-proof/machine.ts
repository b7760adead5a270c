/**
 * What the simulated machine must have shown, and which of its readings a row of the archive is. Reading n is a function of the seed;
 * the archive knows epoch and seq. Within an epoch n - seq stays the same until a crash or damage moves it, so a row is looked for
 * where its neighbour's n says, and only where that fails among all whose values are the same.
 */
import { advance, coldMachine, type MachineState, measure } from '@tidemark/agent/dist/sources/simulated.js'
import { quantize, ROTATING_MACHINE, type Value } from '@tidemark/protocol'

export interface ArchivedReading {
  readonly epoch: number
  readonly seq: number
  readonly values: readonly Value[]
}

/** How many following rows must fit before an n is believed: values of one reading alone may come twice. */
const ROWS_TO_FIT = 8

/** The values of readings 0 to `count` - 1, each as one text. */
export function expectedReadings(seed: number, intervalMs: number, count: number): string[] {
  const machine = { seed, intervalMs }
  const texts: string[] = []
  for (let state: MachineState = coldMachine(seed); state.n < count; state = advance(state, machine)) {
    const measured = measure(state, machine)
    texts.push(textOf(ROTATING_MACHINE.metrics.map(metric => quantized(measured[metric.name], metric))))
  }
  return texts
}

function quantized(value: Value, metric: (typeof ROTATING_MACHINE.metrics)[number]): Value {
  return typeof value === 'number' ? quantize(value, metric) : value
}

function textOf(values: readonly Value[]): string {
  return values.join('|')
}

export interface Matching {
  /** Rows that are no reading of the machine, or not in the order in which it was read. */
  readonly strangers: readonly ArchivedReading[]
  /** By n: in how many rows it is. */
  readonly times: Uint8Array
}

/** @param rows of one device, each epoch's together and by seq */
export function matchReadings(expected: readonly string[], rows: readonly ArchivedReading[]): Matching {
  const places = new Map<string, number[]>()
  for (const [n, text] of expected.entries()) {
    const known = places.get(text)
    if (known === undefined) places.set(text, [n])
    else known.push(n)
  }
  const strangers: ArchivedReading[] = []
  const times = new Uint8Array(expected.length)
  let [epoch, last, ahead] = [Number.NaN, -1, 0]
  const fits = (i: number, candidate: number) =>
    rows.slice(i, i + ROWS_TO_FIT).every((row, k) => {
      const n = candidate + row.seq - rows[i].seq
      return row.epoch !== rows[i].epoch || n >= expected.length || k === 0 || expected[n] === textOf(row.values)
    })
  for (const [i, row] of rows.entries()) {
    if (row.epoch !== epoch) [epoch, last] = [row.epoch, -1]
    const text = textOf(row.values)
    if (last < 0 || expected[row.seq + ahead] !== text) {
      const found = (places.get(text) ?? []).filter(n => n > last)
      const n = found.find(candidate => fits(i, candidate)) ?? found[0]
      if (n === undefined) {
        strangers.push(row)
        continue
      }
      ahead = n - row.seq
    }
    last = row.seq + ahead
    times[last]++
  }
  return { strangers, times }
}
