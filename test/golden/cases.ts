/**
 * The batches that the golden vectors pin: those that the encoder writes, by its input, and those that it never would, by their
 * bytes. `UPDATE_GOLDEN=1 npx vitest run test/golden` writes the vectors from here; nothing else may change them.
 */
import { Encoder } from '@msgpack/msgpack'
import {
  type BatchInput,
  columnsOf,
  encodeBatch,
  type Profile,
  profileSchema,
  quantize,
  ROTATING_MACHINE,
  type Value,
  WATER_LOOP
} from '@tidemark/protocol'

export interface GoldenCase {
  /** The name of its two files. */
  readonly name: string
  readonly about: string
  /** The one profile that the decoder knows. */
  readonly profile: Profile
  readonly payload: Uint8Array
}

const encoder = new Encoder()

const FORMS: Profile = profileSchema.parse({
  name: 'forms',
  interval: '1s',
  metrics: [
    { name: 'scaled', resolution: 0.01 },
    { name: 'float' },
    { name: 'int', type: 'int' },
    { name: 'bool', type: 'bool' },
    { name: 'string', type: 'string' }
  ]
})

const START_MS = Date.UTC(2026, 10, 24, 13)

function input(profile: Profile, rows: readonly (readonly Value[])[], change: Partial<BatchInput> = {}): BatchInput {
  return {
    profile,
    epoch: 5_404_319_552_844_595,
    oldestHeldSeq: 81_200,
    highestSampledSeq: 81_200 + Math.max(0, rows.length - 1),
    buffered: rows.length,
    seqs: rows.map((_, i) => 81_200 + i),
    eventTimesMs: rows.map((_, i) => START_MS + i * 5000),
    columns: rows.length > 0 ? columnsOf(profile, rows) : [],
    ...change
  }
}

function written(name: string, about: string, batch: BatchInput): GoldenCase {
  return { name, about, profile: batch.profile, payload: encodeBatch(batch) }
}

/** A payload put together by hand: MessagePack values, or bytes as they are. */
function byHand(name: string, about: string, ...parts: unknown[]): GoldenCase {
  const pieces = parts.map(part => (part instanceof Uint8Array ? part : encoder.encode(part)))
  return { name, about, profile: FORMS, payload: Uint8Array.from(pieces.flatMap(piece => [...piece])) }
}

/** Row `i` of a machine that warms up: no noise, so that anybody can compute it. */
function machineRow(i: number): Value[] {
  const values = [
    61.37 + i * 0.03,
    2.41 + (i % 7) * 0.05,
    3.02 - (i % 3) * 0.01,
    1480 + (i % 5),
    12.4 + (i % 4) * 0.1,
    23.1,
    58.2 + i * 0.02,
    6021
  ]
  return [...values.map((value, m) => quantize(value, ROTATING_MACHINE.metrics[m])), false, 'hall 3, line 2']
}

const machineRows = (count: number) => Array.from({ length: count }, (_, i) => machineRow(i))

const three = (...columns: Value[][]) => [0, 1, 2].map(i => columns.map(column => column[i]))
const HEADER = [1, 'forms', 1, 42, 2, 10, 9, 7, START_MS, 3]
const COLUMNS = [[2050, 1, -2], null, 1480, true, 'hall 1']

export const GOLDEN_CASES: readonly GoldenCase[] = [
  written(
    'single-reading',
    'One reading of the rotating machine. The worked example of the specification.',
    input(ROTATING_MACHINE, machineRows(1))
  ),
  written('sixty-readings', 'Sixty readings of the rotating machine, 5 s apart.', input(ROTATING_MACHINE, machineRows(60))),
  written(
    'water-loop',
    'Floats without a resolution: to the bit. The last metric is null throughout, the one before in the second reading.',
    input(
      WATER_LOOP,
      [0, 1, 2].map(i => [0.0265 + i / 3, 0.04, 1.33, -0.0547 + i, 79.3, 25.9, i === 1 ? null : 233.06, null])
    )
  ),
  written(
    'all-equal',
    'Every column as one value.',
    input(FORMS, three([20.5, 20.5, 20.5], [0.1, 0.1, 0.1], [-7, -7, -7], [false, false, false], ['', '', '']))
  ),
  written('all-null', 'Every column nil.', input(FORMS, three(...new Array(5).fill([null, null, null])))),
  written(
    'all-different',
    'Differences, float64 bytes, arrays of bools and strings.',
    input(FORMS, three([20.5, 20.51, 20.4], [0.1, -0, 1e300], [1480, -300, 70_000], [true, false, true], ['hall 1', 'é', '机械']))
  ),
  written(
    'some-null',
    'Differences that leave nulls out, bits of presence, nil in arrays.',
    input(FORMS, three([20.5, null, 20.4], [null, 0.1, 0.2], [null, null, 5], [true, null, false], [null, 'a', null]))
  ),
  written(
    'not-finite',
    'Numbers with a resolution travel as float64 where one of them is not finite or too large to scale.',
    input(
      FORMS,
      three(
        [20.5, Number.NaN, 1],
        [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0],
        [2 ** 53 - 1, 1 - 2 ** 53, 0],
        [true, true, true],
        ['a', 'a', 'a']
      )
    )
  ),
  written(
    'gaps-and-steps-back',
    'Seqs with gaps, and an event time that steps back by 55 minutes.',
    input(FORMS, three([1, 2, 3], [1, 1, 1], [1, 1, 1], [true, true, true], ['', '', '']), {
      seqs: [81_203, 81_204, 90_000],
      highestSampledSeq: 100_000,
      buffered: 12,
      eventTimesMs: [START_MS, START_MS - 3_300_000, START_MS - 3_300_000]
    })
  ),
  written(
    'edges',
    'The largest epoch and seq, an event time before 1970.',
    input(FORMS, three([0, -0.01, 0.01], [0, 0, 0], [2 ** 50, -(2 ** 50), 0], [true, true, true], ['', '', '']), {
      epoch: 2 ** 53 - 1,
      oldestHeldSeq: 1,
      highestSampledSeq: 2 ** 53 - 1,
      seqs: [2 ** 53 - 3, 2 ** 53 - 2, 2 ** 53 - 1],
      eventTimesMs: [-2, -1, 0]
    })
  ),
  written(
    'tombstones',
    'A reading with two tombstones: 1 to 40,000 thinned to every 4th, 40,001 to 81,000 dropped.',
    input(ROTATING_MACHINE, machineRows(1), {
      tombstones: [
        { firstSeq: 1, lastSeq: 40_000, keepEvery: 4, reason: 'thinned' },
        { firstSeq: 40_001, lastSeq: 81_000, keepEvery: 0, reason: 'dropped-oldest' }
      ]
    })
  ),
  written(
    'estimated-clock',
    'A reading whose event time comes from a clock that may be wrong.',
    input(ROTATING_MACHINE, machineRows(1), { clock: 'estimated' })
  ),
  written(
    'extra',
    'Fields that the profile does not name.',
    input(FORMS, three([1, 1, 1], [1, 1, 1], [1, 1, 1], [true, true, true], ['', '', '']), {
      extra: [
        { name: 'firmware', values: ['1.2', null, '1.3'] },
        { name: 'load', values: [0.5, 7, true] }
      ]
    })
  ),
  written(
    'end-of-stream',
    'No readings: nothing is held any more, and the epoch ends.',
    input(ROTATING_MACHINE, [], { oldestHeldSeq: 81_260, highestSampledSeq: 81_259, endOfStreamSeq: 81_259 })
  ),
  written(
    'end-before-the-first',
    'An epoch that ends without a reading.',
    input(ROTATING_MACHINE, [], { oldestHeldSeq: 1, highestSampledSeq: 0, endOfStreamSeq: 0 })
  ),
  byHand(
    'easy-forms',
    'What an encoder may write to save itself trouble: floats as an array, steps that are all equal as arrays, nil for what is absent.',
    [...HEADER, [1, 1]],
    [
      [1000, 1000],
      [
        [2050, 0, 0],
        [0.5, null, 1],
        [1480, 0, 0],
        [true, true, true],
        ['a', 'a', 'a']
      ],
      null,
      0,
      null,
      null
    ]
  ),
  byHand('wrong-types', 'Values of another type than their metric: marked, not guessed. After one, differences are unknown.', HEADER, [
    1000,
    [[2050, 'x', 1], [0.5, true, 1], 1.5, [true, 1, null], ['a', 1, null]]
  ]),
  byHand('unknown-version', 'A version of the layout that is not 1 is not looked into.', [2, ...HEADER.slice(1)], [1000, COLUMNS]),
  byHand(
    'unknown-profile',
    'A profile that nobody knows: seqs, event times and tombstones are read, columns are not.',
    [1, 'unheard-of', ...HEADER.slice(2)],
    [1000, [1, 2, 3], [[1, 4, 0, 'expired']]]
  ),
  byHand(
    'unknown-profile-version',
    'A version of a profile that is not known yet.',
    [1, 'forms', 2, ...HEADER.slice(3)],
    [1000, [1, 2, 3]]
  ),
  byHand(
    'damaged-cut-off',
    'Cut off in the columns: the header accounts the readings.',
    HEADER,
    encoder.encode([1000, COLUMNS, [[1, 4, 0, 'expired']]]).subarray(0, 20)
  ),
  byHand('damaged-count', 'A column of two values for three readings: event times and tombstones are read.', HEADER, [
    1000,
    [[2050, 1], ...COLUMNS.slice(1)],
    [[1, 4, 0, 'expired']]
  ]),
  byHand('damaged-times', 'Too few time steps: tombstones are read.', HEADER, [[1000], COLUMNS, [[1, 4, 0, 'expired']]]),
  byHand('damaged-tombstone', 'A tombstone above the highest sampled seq.', HEADER, [1000, COLUMNS, [[1, 17, 0, 'expired']]]),
  byHand('damaged-trailing-byte', 'A byte behind the body.', HEADER, [1000, COLUMNS], Uint8Array.of(0xc0)),
  byHand('damaged-map', 'A map where the columns should be: batches hold none.', HEADER, [1000, { scaled: 1 }]),
  byHand(
    'damaged-length-bomb',
    'An array of 2^32 - 1 where the columns should be.',
    HEADER,
    Uint8Array.of(0x92, 0, 0xdd, 0xff, 0xff, 0xff, 0xff)
  ),
  byHand(
    'header-contradiction',
    'The last seq is above the highest sampled: no header.',
    [1, 'forms', 1, 42, 2, 1, 9, 7, START_MS, 3],
    [1000, COLUMNS]
  ),
  byHand(
    'header-too-large-integer',
    'An epoch of 2^53: no header.',
    Uint8Array.of(0x9a, 1),
    'forms',
    1,
    Uint8Array.of(0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0),
    ...HEADER.slice(4),
    [1000, COLUMNS]
  ),
  byHand('no-batch', 'JSON on the batch topic.', new TextEncoder().encode('{"temperature":20.5}'))
]
