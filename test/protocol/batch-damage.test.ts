import { Encoder } from '@msgpack/msgpack'
import { decodeBatch } from '@tidemark/protocol'
import { describe, expect, test } from 'vitest'
import { bytes, COLUMNS, expectSound, HEADER, headerWith, lookUpMixed, MIXED, payloadOf } from './batch-kit.js'

const encoder = new Encoder()

describe('a header that contradicts itself is none', () => {
  const past = 2 ** 53
  const cases: [string, unknown][] = [
    ['another version', headerWith(0, 2)],
    ['a version that is a string', headerWith(0, '1')],
    ['a profile that is no string', headerWith(1, 7)],
    ['a name of 65 characters', headerWith(1, 'x'.repeat(65))],
    ['a profile version of 0', headerWith(2, 0)],
    ['an epoch of 0', headerWith(3, 0)],
    ['an epoch past 2^53 - 1', headerWith(3, past)],
    ['an epoch of one half', headerWith(3, 0.5)],
    ['an epoch that is not a number', headerWith(3, Number.NaN)],
    ['an oldest held below 1', headerWith(4, 7)],
    ['a negative oldest held', headerWith(4, -1)],
    ['a highest sampled below the last seq', headerWith(5, 2)],
    ['a highest sampled past 2^53 - 1', headerWith(5, past - 2)],
    ['a negative buffer', headerWith(6, -1)],
    ['a first seq of 0', headerWith(7, 0)],
    ['a base time past what a Date holds', headerWith(8, 4e15 + 1)],
    ['a base time with a fraction', headerWith(8, 1.5)],
    ['a count of 1001', headerWith(9, 1001)],
    ['a negative count', headerWith(9, -1)],
    ['too few elements', HEADER.slice(0, 9)],
    ['too many elements', [...HEADER, [1, 1], 0]],
    ['seq steps that are no array', [...HEADER, 1]],
    ['too few seq steps', [...HEADER, [1]]],
    ['a seq step of 0', [...HEADER, [1, 0]]],
    ['a seq step backwards', [...HEADER, [2, -1]]],
    ['seq steps above the highest sampled', [...HEADER, [1, 9]]],
    ['no array at all', 'tidemark'],
    ['nil', null]
  ]
  for (const [what, header] of cases) {
    test(what, () => {
      expect(decodeBatch(payloadOf(header, [1000, COLUMNS]), lookUpMixed)).toBeNull()
    })
  }

  test('the header that these change is a good one', () => {
    expect(decodeBatch(payloadOf(HEADER, [1000, COLUMNS]), lookUpMixed)?.reject).toBeNull()
    expect(decodeBatch(payloadOf([...HEADER, [1, 2]], [1000, COLUMNS]), lookUpMixed)?.header.seqs).toEqual(Float64Array.of(7, 8, 10))
  })

  test('an integer that a double does not hold is refused, not rounded', () => {
    const [behind, before] = [encoder.encode(HEADER.slice(4)).subarray(1), encoder.encode(HEADER.slice(0, 3)).subarray(1)]
    const withEpoch = (epoch: number[]) => decodeBatch(bytes(0x9a, before, epoch, behind, encoder.encode([1000, COLUMNS])), lookUpMixed)
    expect(withEpoch([0xcf, 0x00, 0x1f, ...new Array<number>(6).fill(0xff)])?.header.epoch).toBe(Number.MAX_SAFE_INTEGER)
    expect(withEpoch([0xcf, 0x00, 0x20, 0, 0, 0, 0, 0, 0])).toBeNull()
    expect(withEpoch([0xcf, 0x00, 0x20, 0, 0, 0, 0, 0, 1])).toBeNull()
  })

  test('integers may come in any of the forms of MessagePack, a float64 among them; -0 is 0', () => {
    const float64 = (value: number) => [0xcb, ...new Uint8Array(Float64Array.of(value).buffer).reverse()]
    const header = bytes(
      0x9a,
      float64(1),
      encoder.encode('mixed'),
      float64(1),
      float64(42),
      float64(2),
      float64(10),
      float64(-0),
      float64(7),
      float64(-0),
      float64(3)
    )
    const batch = decodeBatch(bytes(header, encoder.encode([1000, COLUMNS])), lookUpMixed)
    expect(batch?.header).toMatchObject({ epoch: 42, oldestHeldSeq: 5, highestSampledSeq: 16, buffered: 0 })
    expect(batch?.eventTimesMs).toEqual(Float64Array.of(0, 1000, 2000))
  })

  test('a name that is not UTF-8 is no name', () => {
    const name = encoder.encode('mixed')
    for (const [at, byte] of [
      [1, 0xff],
      [5, 0xe2],
      [1, 0xc0]
    ]) {
      const bad = name.slice()
      bad[at] = byte
      const header = bytes(0x9a, 1, bad, encoder.encode(HEADER.slice(2)).subarray(1))
      expect(decodeBatch(bytes(header, encoder.encode([1000, COLUMNS])), lookUpMixed)).toBeNull()
    }
  })
})

describe('a body that is damaged leaves the header, and what of it can be read', () => {
  const tombstones = [[1, 4, 0, 'expired']]
  const cases: [string, unknown][] = [
    ['no array', 'body'],
    ['one element', [1000]],
    ['seven elements', [1000, COLUMNS, tombstones, 1, 16, null, null]],
    ['time steps that are too few', [[1000], COLUMNS]],
    ['a time step that is null', [[1000, null], COLUMNS]],
    ['a time step that is a bool', [[1000, true], COLUMNS]],
    ['a time step with a fraction', [[1000, 0.5], COLUMNS]],
    ['a time step that is not a number', [Number.NaN, COLUMNS]],
    ['a time past what a Date holds', [[1000, 4e15], COLUMNS]],
    ['columns that are no array', [1000, null]],
    ['too few columns', [1000, COLUMNS.slice(1)]],
    ['too many columns', [1000, [...COLUMNS, null]]],
    ['a column of another length', [1000, [[2050, 1], ...COLUMNS.slice(1)]]],
    ['bytes of another length', [1000, [null, new Uint8Array(23), null, null, null]]],
    ['presence bits of another length', [1000, [null, [new Uint8Array(2), new Uint8Array(24)], null, null, null]]],
    ['presence bits that promise more', [1000, [null, [Uint8Array.of(7), new Uint8Array(16)], null, null, null]]],
    ['presence bits that promise less', [1000, [null, [Uint8Array.of(1), new Uint8Array(16)], null, null, null]]],
    ['presence bits alone', [1000, [null, [Uint8Array.of(7)], null, null, null]]],
    ['tombstones that are no array', [1000, COLUMNS, 1]],
    ['a tombstone of three', [1000, COLUMNS, [[1, 4, 0]]]],
    ['a tombstone backwards', [1000, COLUMNS, [[4, 1, 0, 'expired']]]],
    ['a tombstone from 0', [1000, COLUMNS, [[0, 4, 0, 'expired']]]],
    ['a tombstone above the highest sampled', [1000, COLUMNS, [[1, 17, 0, 'expired']]]],
    ['a tombstone that keeps every reading', [1000, COLUMNS, [[1, 4, 1, 'expired']]]],
    ['a reason in capitals', [1000, COLUMNS, [[1, 4, 0, 'EXPIRED']]]],
    ['65 tombstones', [1000, COLUMNS, new Array(65).fill(tombstones[0])]],
    ['an unknown clock', [1000, COLUMNS, null, 2]],
    ['an end that is not the highest sampled', [1000, COLUMNS, null, null, 15]],
    ['extra fields that are no array', [1000, COLUMNS, null, null, null, 'a']],
    ['an extra field of another length', [1000, COLUMNS, null, null, null, [['a', [1, 2]]]]],
    [
      'an extra field twice',
      [
        1000,
        COLUMNS,
        null,
        null,
        null,
        [
          ['a', [1, 2, 3]],
          ['a', [1, 2, 3]]
        ]
      ]
    ],
    ['an extra value that is an array', [1000, COLUMNS, null, null, null, [['a', [1, [], 3]]]]],
    ['an extra value that is not finite', [1000, COLUMNS, null, null, null, [['a', [1, Number.NaN, 3]]]]]
  ]
  for (const [what, body] of cases) {
    test(what, () => {
      const batch = decodeBatch(payloadOf(HEADER, body), lookUpMixed)
      expectSound(batch, MIXED)
      expect(batch).toMatchObject({ reject: 'columns-damaged', columns: [], header: { epoch: 42, seqs: Float64Array.of(7, 8, 9) } })
    })
  }

  test('damaged columns leave times, tombstones and the end of the stream', () => {
    const batch = decodeBatch(payloadOf(HEADER, [1000, [], tombstones, 1, 16]), lookUpMixed)
    expect(batch).toMatchObject({ reject: 'columns-damaged', clock: 'estimated', endOfStreamSeq: 16 })
    expect(batch?.eventTimesMs).toEqual(Float64Array.of(1.7e12, 1_700_000_001_000, 1_700_000_002_000))
    expect(batch?.tombstones).toEqual([{ firstSeq: 1, lastSeq: 4, keepEvery: 0, reason: 'expired' }])
  })

  test('damaged times leave the tombstones', () => {
    expect(decodeBatch(payloadOf(HEADER, ['now', COLUMNS, tombstones]), lookUpMixed)).toMatchObject({
      eventTimesMs: null,
      tombstones: [{ lastSeq: 4 }]
    })
  })
})
