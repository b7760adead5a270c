import {
  BATCH_VERSION,
  columnsOf,
  decodeBatch,
  encodeBatch,
  profileSchema,
  READINGS_PER_BATCH_MAX,
  ROTATING_MACHINE,
  valueAt,
  WATER_LOOP
} from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { arbitraryBatch } from './arbitrary-batch.js'
import { expectSound, lookUpMixed, MIXED, MIXED_ROWS, mixedInput } from './batch-kit.js'

describe('what is encoded is decoded', () => {
  test('any valid batch comes back: every value to the bit or to its resolution, every seq, time and part', () => {
    fc.assert(
      fc.property(arbitraryBatch, ({ input, expected }) => {
        const batch = decodeBatch(encodeBatch(input), () => input.profile)
        expectSound(batch, input.profile)
        expect(batch).toMatchObject({
          header: {
            profile: input.profile.name,
            profileVersion: input.profile.version,
            epoch: input.epoch,
            oldestHeldSeq: input.oldestHeldSeq,
            highestSampledSeq: input.highestSampledSeq,
            buffered: input.buffered,
            seqs: Float64Array.from(input.seqs)
          },
          reject: null,
          eventTimesMs: Float64Array.from(input.eventTimesMs),
          tombstones: input.tombstones,
          clock: input.clock,
          endOfStreamSeq: input.endOfStreamSeq ?? null,
          extra: input.extra
        })
        const decoded = batch!.columns.map((column, m) => Array.from(input.seqs, (_, i) => valueAt(column, input.profile.metrics[m], i)))
        expect(decoded).toEqual(input.seqs.length > 0 ? expected : []) // toEqual tells -0 from 0, and NaN equals NaN
      }),
      { numRuns: 500 }
    )
  })

  test('encoding what was decoded gives the same bytes', () => {
    fc.assert(
      fc.property(arbitraryBatch, ({ input }) => {
        const payload = encodeBatch(input)
        const batch = decodeBatch(payload, () => input.profile)!
        const again = encodeBatch({
          ...input,
          ...batch.header,
          profile: input.profile,
          eventTimesMs: batch.eventTimesMs!,
          columns: batch.columns,
          extra: batch.extra
        })
        expect(again).toEqual(payload)
      }),
      { numRuns: 200 }
    )
  })

  test('a batch without readings carries what the device holds, its tombstones and the end of its stream', () => {
    const input = mixedInput({ seqs: [], eventTimesMs: [], columns: [], extra: [], oldestHeldSeq: 21, buffered: 0 })
    const batch = decodeBatch(encodeBatch(input), lookUpMixed)
    expect(batch).toMatchObject({ reject: null, columns: [], endOfStreamSeq: 20, tombstones: input.tombstones })
    expect(batch?.header).toMatchObject({ oldestHeldSeq: 21, highestSampledSeq: 20, buffered: 0, seqs: new Float64Array(0) })
  })

  test('an epoch that ends before its first reading says so with 0', () => {
    const nothing = {
      seqs: [],
      eventTimesMs: [],
      columns: [],
      extra: [],
      tombstones: [],
      oldestHeldSeq: 1,
      highestSampledSeq: 0,
      endOfStreamSeq: 0
    }
    expect(decodeBatch(encodeBatch(mixedInput(nothing)), lookUpMixed)).toMatchObject({ reject: null, endOfStreamSeq: 0 })
  })

  test('the last seqs and the largest batch fit', () => {
    const last = Number.MAX_SAFE_INTEGER
    const end = mixedInput({ seqs: [last - 2, last - 1, last], highestSampledSeq: last, endOfStreamSeq: last })
    expect(decodeBatch(encodeBatch(end), lookUpMixed)?.header.seqs).toEqual(Float64Array.of(last - 2, last - 1, last))
    const seqs = Array.from({ length: READINGS_PER_BATCH_MAX }, (_, i) => i + 1)
    const rows = seqs.map(i => MIXED_ROWS[i % 3])
    const full = mixedInput({
      seqs,
      eventTimesMs: seqs,
      oldestHeldSeq: 1,
      highestSampledSeq: 1000,
      endOfStreamSeq: 1000,
      columns: columnsOf(MIXED, rows),
      extra: []
    })
    expect(decodeBatch(encodeBatch(full), lookUpMixed)).toMatchObject({ reject: null, header: { seqs: { length: 1000 } } })
  })

  test('a payload inside a larger buffer decodes like one that stands alone', () => {
    const payload = encodeBatch(mixedInput())
    const wider = new Uint8Array(payload.length + 7)
    wider.set(payload, 3)
    expect(decodeBatch(wider.subarray(3, 3 + payload.length), lookUpMixed)).toEqual(decodeBatch(payload, lookUpMixed))
  })

  test('what was decoded stays when the payload is overwritten', () => {
    const rows = [0.25, 0.5].map(value => WATER_LOOP.metrics.map(() => value))
    const payload = encodeBatch({
      ...mixedInput({ seqs: [7, 8], eventTimesMs: [0, 1], extra: [] }),
      profile: WATER_LOOP,
      columns: columnsOf(WATER_LOOP, rows)
    })
    const batch = decodeBatch(payload, () => WATER_LOOP)!
    payload.fill(0)
    expect(batch.columns[0].values).toEqual(Float64Array.of(0.25, 0.5))
  })
})

describe('size', () => {
  const row = [61.37, 2.41, 3.02, 1480, 12.4, 23.1, 58.2, 6021, false, 'hall 3, line 2']
  const rotating = (count: number) => ({
    profile: ROTATING_MACHINE,
    epoch: 2 ** 52 + 12_345,
    oldestHeldSeq: 81_200,
    highestSampledSeq: 81_200 + count - 1,
    buffered: count,
    seqs: Array.from({ length: count }, (_, i) => 81_200 + i),
    eventTimesMs: Array.from({ length: count }, (_, i) => 1_793_000_000_000 + i * 5000),
    columns: columnsOf(
      ROTATING_MACHINE,
      Array.from({ length: count }, (_, i) =>
        row.map((value, m) => (typeof value === 'number' && m < 7 ? value + ((i * 7) % 5) * 0.1 : value))
      )
    )
  })

  test('a single reading of ten metrics takes at most 90 bytes', () => {
    expect(encodeBatch(rotating(1)).length).toBeLessThanOrEqual(90)
  })

  test('in a batch of 60, a reading of ten metrics takes at most 12 bytes', () => {
    expect(encodeBatch(rotating(60)).length / 60).toBeLessThanOrEqual(12)
  })
})

describe('the encoder refuses what no decoder would take', () => {
  const last = Number.MAX_SAFE_INTEGER
  const cases: [string, Parameters<typeof mixedInput>[0], RegExp][] = [
    ['an epoch of 0', { epoch: 0 }, /0 is no epoch/],
    ['an epoch that is no integer', { epoch: 1.5 }, /1.5 is no epoch/],
    ['seqs that do not rise', { seqs: [7, 7, 8] }, /must rise, not go from 7 to 7/],
    ['a seq above the highest sampled', { highestSampledSeq: 9 }, /seq 10 was never sampled/],
    ['a seq below the oldest held', { oldestHeldSeq: 8 }, /below the oldest held/],
    ['an oldest held of 0', { oldestHeldSeq: 0 }, /a seq is an integer/],
    [
      'a highest sampled past 2^53 - 2 without readings',
      { seqs: [], eventTimesMs: [], highestSampledSeq: last, endOfStreamSeq: last },
      /a seq is an integer/
    ],
    ['a negative buffer', { buffered: -1 }, /negative/],
    ['too few event times', { eventTimesMs: [1, 2] }, /3 readings have 2 event times/],
    ['an event time of half a ms', { eventTimesMs: [1, 2.5, 3] }, /2.5 is no event time/],
    ['an event time that is not finite', { eventTimesMs: [1, Number.NaN, 3] }, /NaN is no event time/],
    ['a missing column', { columns: columnsOf(MIXED, MIXED_ROWS).slice(1) }, /needs 5 columns of 3 values/],
    ['columns of another length', { columns: columnsOf(MIXED, MIXED_ROWS.slice(1)) }, /needs 5 columns of 3 values/],
    [
      'a tombstone above the highest sampled',
      { tombstones: [{ firstSeq: 1, lastSeq: 21, keepEvery: 0, reason: 'expired' }] },
      /above the highest sampled/
    ],
    [
      'a tombstone that runs backwards',
      { tombstones: [{ firstSeq: 4, lastSeq: 3, keepEvery: 0, reason: 'expired' }] },
      /cannot span 4 to 3/
    ],
    [
      'a tombstone that keeps every reading',
      { tombstones: [{ firstSeq: 1, lastSeq: 3, keepEvery: 1, reason: 'expired' }] },
      /keep every 1th/
    ],
    ['a tombstone without a reason', { tombstones: [{ firstSeq: 1, lastSeq: 3, keepEvery: 0, reason: '' }] }, /no reason/],
    [
      '65 tombstones',
      { tombstones: new Array(65).fill({ firstSeq: 1, lastSeq: 3, keepEvery: 0, reason: 'expired' }) },
      /at most 64 tombstones/
    ],
    ['an end that is not the highest sampled', { endOfStreamSeq: 19 }, /cannot end at seq 19/],
    ['an extra field without a name', { extra: [{ name: '', values: [1, 2, 3] }] }, /cannot be named/],
    ['two extra fields of one name', { extra: [1, 2].map(() => ({ name: 'a', values: [1, 2, 3] })) }, /there twice/],
    ['an extra field of another length', { extra: [{ name: 'a', values: [1] }] }, /1 values for 3 readings/],
    ['an extra value that is not finite', { extra: [{ name: 'a', values: [1, Number.NaN, 3] }] }, /neither null, a finite number/],
    ['a string of more than 4096 bytes', { extra: [{ name: 'a', values: ['ä'.repeat(2049), null, null] }] }, /at most 4096 bytes/],
    [
      'more than 128 KiB',
      { extra: Array.from({ length: 32 }, (_, k) => ({ name: `a${k}`, values: ['x'.repeat(4096), 'y', 'z'] })) },
      /at most 131072 bytes/
    ]
  ]
  for (const [what, change, message] of cases) {
    test(what, () => {
      expect(() => encodeBatch(mixedInput(change))).toThrow(message)
      expect(() => encodeBatch(mixedInput(change))).toThrow(RangeError)
    })
  }

  test('more than 1000 readings', () => {
    const seqs = Array.from({ length: 1001 }, (_, i) => i + 7)
    expect(() => encodeBatch(mixedInput({ seqs, eventTimesMs: seqs, highestSampledSeq: 2000 }))).toThrow(/at most 1000 readings/)
  })

  test('a value of another type than its metric, by a TypeError that names it', () => {
    const rows = [['warm', 0.1, 1480, true, 'hall 1'], ...MIXED_ROWS.slice(1)]
    expect(() => encodeBatch(mixedInput({ columns: columnsOf(MIXED, rows) }))).toThrow(
      new TypeError('metric temperature holds a value that is no float')
    )
    const [, ...rest] = columnsOf(MIXED, MIXED_ROWS)
    expect(() => encodeBatch(mixedInput({ columns: [rest[3], ...rest] }))).toThrow(TypeError)
  })

  test('but a lone surrogate, which UTF-8 cannot express, becomes U+FFFD', () => {
    const rows = MIXED_ROWS.map(([a, b, c, d]) => [a, b, c, d, 'x\ud800'])
    const batch = decodeBatch(encodeBatch(mixedInput({ columns: columnsOf(MIXED, rows) })), lookUpMixed)
    expect(batch?.columns[4].values[0]).toBe('x\ufffd')
  })
})

test('an unknown profile, or an unknown version of a known one, keeps seqs, times and tombstones', () => {
  const renamed = profileSchema.parse({ ...MIXED, name: 'nobody' })
  const newer = profileSchema.parse({ ...MIXED, version: 2 })
  for (const [profile, reason] of [[renamed, 'unknown-profile'] as const, [newer, 'unknown-profile-version'] as const]) {
    const batch = decodeBatch(encodeBatch(mixedInput({ profile })), lookUpMixed)
    expect(batch).toMatchObject({
      reject: reason,
      columns: [],
      eventTimesMs: Float64Array.of(1.7e12, 1_700_000_001_000, 1_700_000_000_500),
      endOfStreamSeq: 20
    })
    expect(batch?.tombstones).toHaveLength(1)
  }
})

test('the version that is written is the one that the specification describes', () => {
  expect(encodeBatch(mixedInput())[1]).toBe(BATCH_VERSION)
  expect(BATCH_VERSION).toBe(1)
})
