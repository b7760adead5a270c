/**
 * Measures the batch codec: bytes a reading beside JSON of the same, and readings a second through encoder and decoder.
 * The readings are drawn from a seeded generator and drift as a machine's do, so that bytes do not change from run to run;
 * rates are the median of several rounds on whatever machine this runs on.
 */
import { performance } from 'node:perf_hooks'
import { pathToFileURL } from 'node:url'
import {
  type BatchInput,
  columnsOf,
  decodeBatch,
  durationMs,
  encodeBatch,
  type Metric,
  type Profile,
  quantize,
  ROTATING_MACHINE,
  type Value,
  WATER_LOOP
} from '@tidemark/protocol'
import { Command } from 'commander'

const BATCH_SIZES = [1, 60, 500]
const ROUNDS = 9
const ROUND_MS = 150
const START_MS = Date.UTC(2026, 10, 24, 13)

interface Measured {
  readonly profile: string
  readonly readings: number
  readonly batchBytes: number
  readonly bytesPerReading: number
  /** The same readings as a JSON array, as `tm/1/<deviceId>/json` takes them. */
  readonly jsonBytesPerReading: number
  readonly encodePerSecond: number
  readonly decodePerSecond: number
}

export async function main(args: readonly string[] = process.argv.slice(2)): Promise<void> {
  const program = new Command('bench-codec')
    .description('Prints bytes per reading and encode and decode rates of the batch codec.')
    .option('--json', 'print one JSON object instead of a table')
    .addHelpText('after', '\nExample:\n  node load/dist/bench-codec.js --json | jq .results[0]')
  await program.parseAsync(args, { from: 'user' })
  const results = [ROTATING_MACHINE, WATER_LOOP].flatMap(profile => BATCH_SIZES.map(readings => measure(profile, readings)))
  if (program.opts().json) console.log(JSON.stringify({ node: process.version, rounds: ROUNDS, results }))
  else print(results)
}

function print(results: readonly Measured[]): void {
  console.log(`Node ${process.version}, median of ${ROUNDS} rounds of ${ROUND_MS} ms\n`)
  const row = (...cells: (string | number)[]) =>
    console.log(cells.map((cell, i) => (i === 0 ? String(cell).padEnd(18) : String(cell).padStart(13))).join(''))
  row('profile', 'readings', 'batch bytes', 'B/reading', 'JSON B/r.', 'encoded/s', 'decoded/s')
  for (const r of results) {
    const rates = [r.encodePerSecond, r.decodePerSecond].map(rate => Math.round(rate).toLocaleString('en'))
    row(r.profile, r.readings, r.batchBytes, r.bytesPerReading.toFixed(1), r.jsonBytesPerReading.toFixed(1), ...rates)
  }
}

function measure(profile: Profile, readings: number): Measured {
  const input = batchOf(profile, readings)
  const payload = encodeBatch(input)
  const profileOf = () => profile
  if (decodeBatch(payload, profileOf)?.reject !== null) throw new Error('the batch to measure does not decode')
  return {
    profile: profile.name,
    readings,
    batchBytes: payload.length,
    bytesPerReading: payload.length / readings,
    jsonBytesPerReading: jsonOf(input).length / readings,
    encodePerSecond: readings * medianRate(() => encodeBatch(input).length),
    decodePerSecond: readings * medianRate(() => decodeBatch(payload, profileOf)?.columns.length ?? 0)
  }
}

/** Calls a second: the median of `ROUNDS` rounds, after one to warm up. */
function medianRate(call: () => number): number {
  const rates: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const start = performance.now()
    let calls = 0
    let elapsedMs = 0
    for (; elapsedMs < ROUND_MS; elapsedMs = performance.now() - start) for (let i = 0; i < 50; i++, calls++) call()
    if (round > 0) rates.push((calls / elapsedMs) * 1000)
  }
  return rates.sort((a, b) => a - b)[ROUNDS >> 1]
}

/** What an agent would send after `readings` intervals; its sources' values rounded to their resolutions, as a buffer holds them. */
function batchOf(profile: Profile, readings: number): BatchInput {
  const random = generator(42)
  const intervalMs = durationMs(profile.interval)
  const levels = profile.metrics.map(metric => (metric.min ?? 0) + ((metric.max ?? 20_000) - (metric.min ?? 0)) * 0.3)
  const rows: Value[][] = []
  for (let i = 0; i < readings; i++) rows.push(profile.metrics.map((metric, m) => nextValue(metric, levels, m, random)))
  return {
    profile,
    epoch: 5_404_319_552_844_595,
    oldestHeldSeq: 81_200,
    highestSampledSeq: 81_200 + readings - 1,
    buffered: readings,
    seqs: Array.from({ length: readings }, (_, i) => 81_200 + i),
    eventTimesMs: Array.from({ length: readings }, (_, i) => START_MS + i * intervalMs),
    columns: columnsOf(profile, rows)
  }
}

/** A level that wanders by up to two thousandths of the metric's range, plus noise of a tenth of that. */
function nextValue(metric: Metric, levels: number[], m: number, random: () => number): Value {
  if (metric.type === 'bool') return false
  if (metric.type === 'string') return 'hall 3, line 2'
  if (metric.max === undefined) return Math.round(levels[m])
  const span = Math.min(metric.max - (metric.min ?? 0), 250)
  levels[m] += (random() - 0.5) * span * 0.004
  return quantize(levels[m] + (random() - 0.5) * span * 0.0002, metric)
}

function jsonOf({ profile, epoch, seqs, eventTimesMs, columns }: BatchInput): string {
  const objects = Array.from(seqs, (seq, i) => {
    const values = profile.metrics.map((metric, m) => [
      metric.name,
      metric.type === 'bool' ? columns[m].values[i] !== 0 : columns[m].values[i]
    ])
    return {
      event_id: `${epoch}-${seq}`,
      event_time: new Date(eventTimesMs[i]).toISOString(),
      profile: profile.name,
      ...Object.fromEntries(values)
    }
  })
  return JSON.stringify(objects.length === 1 ? objects[0] : objects)
}

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main()
