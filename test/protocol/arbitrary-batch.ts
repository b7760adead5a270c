/** Draws profiles and batches that are valid, for the properties of the codec. Values are as a source may give them: unrounded. */
import { type BatchInput, type Column, columnsOf, type Metric, type Profile, profileSchema, quantize, type Value } from '@tidemark/protocol'
import fc from 'fast-check'

/** Smaller than READINGS_PER_BATCH_MAX, so that a property runs often. */
const COUNT_MAX = 40

const arbitraryMetric = fc.oneof(
  fc.constant({ type: 'float' }),
  fc.record({ type: fc.constant('float'), resolution: fc.integer({ min: 0, max: 9 }).map(k => Number(`1e-${k}`)) }),
  fc.constant({ type: 'int' }),
  fc.constant({ type: 'bool' }),
  fc.constant({ type: 'string' })
)

export const arbitraryProfile: fc.Arbitrary<Profile> = fc
  .array(arbitraryMetric, { minLength: 1, maxLength: 6 })
  .map(metrics =>
    profileSchema.parse({ name: 'drawn', interval: '1s', metrics: metrics.map((metric, m) => ({ name: `m${m}`, ...metric })) })
  )

function arbitraryPresent(metric: Metric): fc.Arbitrary<Value> {
  switch (metric.type) {
    case 'bool':
      return fc.boolean()
    case 'string':
      return fc.string({ unit: 'binary', maxLength: 60 })
    case 'int':
      return fc.oneof(
        fc.integer({ min: -100, max: 100 }),
        fc.maxSafeInteger(),
        fc.constantFrom(-0, 2 ** 53 - 1, 1 - 2 ** 53, 2 ** 50, 2 ** 50 + 1)
      )
    case 'float':
      return fc.oneof(
        fc.double({ min: -500, max: 500, noNaN: true }),
        fc.double(),
        fc.constantFrom(-0, 0, 1, Number.NaN, Number.POSITIVE_INFINITY)
      )
  }
}

/** The values of one metric: mixed, all equal, or all null. */
function arbitraryValues(metric: Metric, count: number): fc.Arbitrary<Value[]> {
  const present = arbitraryPresent(metric)
  const exactly = { minLength: count, maxLength: count }
  return fc.oneof(
    fc.array(fc.option(present, { freq: 4 }), exactly),
    fc.array(present, exactly),
    present.map(value => new Array<Value>(count).fill(value)),
    fc.constant(new Array<Value>(count).fill(null))
  )
}

const arbitraryScalar = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(value => value + 0)
)

/** Running sums of `steps`, beginning at `first`: one more than there are steps. */
function runningSums(first: number, steps: readonly number[]): number[] {
  const sums = [first]
  for (const step of steps) sums.push(sums[sums.length - 1] + step)
  return sums
}

const arbitrarySeqs = (count: number) =>
  fc
    .tuple(
      fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 1, max: 2 ** 52 })),
      fc.oneof(
        fc.constant(new Array<number>(count).fill(1)),
        fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 2 ** 32 })), { minLength: count, maxLength: count })
      )
    )
    .map(([first, steps]) => (count === 0 ? [] : runningSums(first, steps.slice(1))))

const arbitraryTimes = (count: number) =>
  fc
    .tuple(
      fc.oneof(fc.integer({ min: 946_684_800_000, max: 4e12 }), fc.constantFrom(0, -1, -3.9e15, 3.9e15)),
      fc.oneof(
        fc.integer({ min: -5000, max: 5000 }).map(step => new Array<number>(count).fill(step)),
        fc.array(fc.integer({ min: -3_300_000, max: 60_000 }), { minLength: count, maxLength: count })
      )
    )
    .map(([first, steps]) => (count === 0 ? [] : runningSums(first, steps.slice(1))))

export interface DrawnBatch {
  readonly input: BatchInput
  /** What a decoder must give back: `expected[m][i]`. */
  readonly expected: readonly (readonly Value[])[]
}

export const arbitraryBatch: fc.Arbitrary<DrawnBatch> = fc
  .tuple(arbitraryProfile, fc.integer({ min: 0, max: COUNT_MAX }))
  .chain(([profile, count]) =>
    fc.record({
      profile: fc.constant(profile),
      seqs: arbitrarySeqs(count),
      eventTimesMs: arbitraryTimes(count),
      values: fc.tuple(...profile.metrics.map(metric => arbitraryValues(metric, count))),
      epoch: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      held: fc.nat(),
      above: fc.oneof(fc.constant(0), fc.nat()),
      buffered: fc.nat(),
      tombstones: fc.array(
        fc.record({
          span: fc.nat({ max: 1000 }),
          keepEvery: fc.constantFrom(0, 2, 3, 4, 100),
          reason: fc.stringMatching(/^[a-z-]{1,32}$/)
        }),
        { maxLength: 3 }
      ),
      clock: fc.constantFrom('synced' as const, 'estimated' as const),
      ends: fc.boolean(),
      extra: fc.uniqueArray(
        fc.tuple(
          fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }),
          fc.array(arbitraryScalar, { minLength: count, maxLength: count })
        ),
        {
          maxLength: 2,
          selector: ([name]) => name
        }
      )
    })
  )
  .map(drawn => ({
    input: inputOf(drawn),
    expected: drawn.values.map((values, m) => values.map(value => onArrival(value, drawn.profile.metrics[m])))
  }))

interface Drawn {
  profile: Profile
  seqs: number[]
  eventTimesMs: number[]
  values: Value[][]
  epoch: number
  held: number
  above: number
  buffered: number
  tombstones: { span: number; keepEvery: number; reason: string }[]
  clock: 'synced' | 'estimated'
  ends: boolean
  extra: [string, Value[]][]
}

function inputOf(drawn: Drawn): BatchInput {
  const { profile, seqs, eventTimesMs, epoch, buffered, clock } = drawn
  const highestSampledSeq = (seqs.length > 0 ? seqs[seqs.length - 1] : 0) + drawn.above
  const firstSeq = seqs.length > 0 ? seqs[0] : highestSampledSeq + 1
  return {
    profile,
    epoch,
    oldestHeldSeq: Math.max(1, firstSeq - drawn.held),
    highestSampledSeq,
    buffered,
    seqs,
    eventTimesMs,
    columns: seqs.length > 0 ? columnsOfValues(profile, drawn.values, seqs.length) : [],
    tombstones:
      highestSampledSeq === 0
        ? []
        : drawn.tombstones.map(({ span, ...rest }) => ({
            firstSeq: Math.max(1, highestSampledSeq - span),
            lastSeq: highestSampledSeq,
            ...rest
          })),
    clock,
    ...(drawn.ends ? { endOfStreamSeq: highestSampledSeq } : {}),
    extra: drawn.extra.map(([name, values]) => ({ name, values }))
  }
}

function columnsOfValues(profile: Profile, values: Value[][], count: number): Column[] {
  const rows = Array.from({ length: count }, (_, i) => values.map(column => column[i]))
  return columnsOf(profile, rows)
}

function onArrival(value: Value, metric: Metric): Value {
  return typeof value === 'number' ? quantize(value, metric) : value
}
