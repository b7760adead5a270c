/** Streams of a device as the world spoils them: gaps, repeated times, steps back, swapped, doubled and lost batches, nulls. */
import type { Metric, Profile, Value } from '@tidemark/protocol'
import fc from 'fast-check'
import { at, type ReadingSpec, type Timeline } from './timeline.js'

export interface Delivery {
  readonly readings: readonly ReadingSpec[]
  readonly oldestHeldSeq: number
  /** Ticks that pass before, ms. */
  readonly ticksMs: number
}

export interface StreamOptions {
  /** How far event time may step back from the latest, ms. */
  readonly stepBackMsMax: number
  /** Whether the device may declare what it has not sent as gone, and send it later all the same. */
  readonly loses: boolean
}

const DAY_START_MS = at('00:00')

interface Sample {
  readonly stepMs: number
  readonly backMs: number
  readonly values: Readonly<Record<string, Value>>
}

const step = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 40 }).map(seconds => seconds * 1000) },
  { weight: 2, arbitrary: fc.constant(0) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 180_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 60 }).map(minutes => minutes * 60_000) },
  { weight: 1, arbitrary: fc.integer({ min: 60, max: 200 }).map(minutes => minutes * 60_000) }
)

function value(metric: Metric): fc.Arbitrary<Value> {
  const some = numberOf(metric)
  return metric.required ? some : fc.oneof({ weight: 5, arbitrary: some }, { weight: 1, arbitrary: fc.constant(null) })
}

function numberOf({ type, min = 0, max = 1000 }: Metric): fc.Arbitrary<Value> {
  if (type === 'bool') return fc.boolean()
  if (type === 'string') return fc.constantFrom('hall 1', 'hall 2')
  const [low, high] = [Math.max(min, 0), Math.min(max, 1000)]
  if (type === 'int') return fc.integer({ min: low, max: high })
  const odd = fc.double({ min: low + (high - low) / 1000, max: high, noNaN: true })
  // what is about the same most of the time, so that a flag is sometimes up
  return fc.oneof({ weight: 4, arbitrary: fc.constantFrom(low + 5.25, low + 5.5, low + 5.125) }, { weight: 1, arbitrary: odd })
}

function samples(profile: Profile, { stepBackMsMax }: StreamOptions): fc.Arbitrary<Sample[]> {
  const back = fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: stepBackMsMax }) })
  const values = fc.record(Object.fromEntries(profile.metrics.map(metric => [metric.name, value(metric)])))
  return fc.array(fc.record({ stepMs: step, backMs: back, values }), { minLength: 1, maxLength: 120, size: 'max' })
}

function readingsOf(all: readonly Sample[]): ReadingSpec[] {
  let latestMs = DAY_START_MS
  return all.map(({ stepMs, backMs, values }, i) => {
    latestMs = Math.min(latestMs + stepMs, at('47:00'))
    return { seq: i + 1, eventTimeMs: latestMs - backMs, values }
  })
}

const part = fc.record({
  length: fc.integer({ min: 1, max: 12 }),
  fate: fc.oneof(
    { weight: 6, arbitrary: fc.constant('in order' as const) },
    fc.constantFrom('swapped', 'doubled', 'delayed', 'lost' as const)
  ),
  ticksMs: fc.constantFrom(0, 0, 1000, 5000, 70_000)
})

/** Batches in the order of their arrival; each reading comes at last. */
export function deliveries(profile: Profile, options: StreamOptions): fc.Arbitrary<Delivery[]> {
  return fc.record({ all: samples(profile, options), parts: fc.array(part, { minLength: 130, maxLength: 130 }) }).map(({ all, parts }) => {
    const readings = readingsOf(all)
    const sent: Delivery[] = []
    const delayed: Delivery[] = []
    for (let first = 0, i = 0; first < readings.length; i++) {
      const { length, fate, ticksMs } = parts[i]
      const batch = readings.slice(first, first + length)
      first += length
      const isLost = fate === 'lost' && options.loses
      // what is still to come holds the oldest seq, unless the device gives it up
      const delivery = { readings: batch, oldestHeldSeq: 1, ticksMs }
      if (fate === 'swapped' && sent.length > 0) sent.splice(sent.length - 1, 0, delivery)
      else if (fate === 'delayed' || isLost) delayed.push(delivery)
      else sent.push(delivery)
      if (fate === 'doubled') sent.push(delivery)
      if (isLost && first < readings.length) sent.push({ readings: [], oldestHeldSeq: readings[first].seq, ticksMs: 0 })
      if (i % 4 === 3) sent.push(...delayed.splice(0))
    }
    return [...sent, ...delayed]
  })
}

/** Plays the deliveries, ends the stream and drains. The ingest time begins behind all event times. */
export function play(t: Timeline, profile: Profile, all: readonly Delivery[], device = 'pump-7'): void {
  const highestSampledSeq = Math.max(...all.flatMap(({ readings }) => readings.map(({ seq }) => seq)))
  for (const { readings, oldestHeldSeq, ticksMs } of all) {
    t.tick(ticksMs)
    const first = readings[0]?.seq ?? highestSampledSeq + 1
    t.batch({ device, profile, readings, highestSampledSeq, oldestHeldSeq: Math.min(oldestHeldSeq, first) })
  }
  t.batch({ device, profile, highestSampledSeq, oldestHeldSeq: highestSampledSeq + 1, endOfStreamSeq: highestSampledSeq })
  t.drain()
}
