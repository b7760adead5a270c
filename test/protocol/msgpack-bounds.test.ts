import { Decoder, Encoder } from '@msgpack/msgpack'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { endOfValue } from '../../protocol/src/msgpack-bounds.js'

const encoder = new Encoder()
const BOUNDS = { depthMax: 4, arrayLengthMax: 1000, stringBytesMax: 4096 }
const ends = (bytes: ArrayLike<number>, start = 0) => endOfValue(Uint8Array.from(bytes), start, BOUNDS)

const scalar = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.maxSafeInteger(),
  fc.integer({ min: -200, max: 70_000 }),
  fc.double(),
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.uint8Array({ maxLength: 300 })
)
const value = fc.letrec(tie => ({ any: fc.oneof({ maxDepth: 4 }, scalar, fc.array(tie('any'), { maxLength: 40 })) })).any

describe('the walk over a MessagePack value', () => {
  test('ends where the value ends, wherever it begins', () => {
    fc.assert(
      fc.property(value, fc.uint8Array({ maxLength: 5 }), fc.uint8Array({ maxLength: 5 }), (drawn, before, behind) => {
        const bytes = encoder.encode(drawn)
        expect(ends([...before, ...bytes, ...behind], before.length)).toBe(before.length + bytes.length)
      }),
      { numRuns: 1000 }
    )
  })

  test('finds no end in a value that is cut off', () => {
    fc.assert(
      fc.property(value, drawn => {
        const bytes = encoder.encode(drawn)
        for (let length = 0; length < bytes.length; length++) expect(ends(bytes.subarray(0, length))).toBe(-1)
      }),
      { numRuns: 200 }
    )
  })

  test('lets nothing through that the decoder refuses', () => {
    const decoder = new Decoder()
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), noise => {
        const end = ends(noise)
        if (end >= 0) expect(() => decoder.decode(noise.subarray(0, end))).not.toThrow()
      }),
      { numRuns: 20_000 }
    )
  })

  test('takes arrays four deep and of a thousand, no more', () => {
    expect(ends([0x91, 0x91, 0x91, 0x91, 0xc0])).toBe(5)
    expect(ends([0x91, 0x91, 0x91, 0x91, 0x90])).toBe(5)
    expect(ends([0x91, 0x91, 0x91, 0x91, 0x91, 0xc0])).toBe(-1)
    const nils = new Array<number>(1001).fill(0xc0)
    expect(ends([0xdc, 0x03, 0xe8, ...nils])).toBe(1003)
    expect(ends([0xdd, 0, 0, 0x03, 0xe8, ...nils])).toBe(1005)
    expect(ends([0xdc, 0x03, 0xe9, ...nils])).toBe(-1)
  })

  test('takes strings of 4096 bytes of UTF-8, no more', () => {
    const text = (length: number) => [0xda, length >> 8, length & 0xff, ...new Array<number>(length).fill(0x61)]
    expect(ends(text(4096))).toBe(4099)
    expect(ends(text(4097))).toBe(-1)
    for (const bad of [
      [0xa1, 0xff],
      [0xa1, 0xc3],
      [0xa2, 0xc0, 0x80],
      [0xa3, 0xed, 0xa0, 0x80],
      [0xa4, 0xf5, 0x80, 0x80, 0x80]
    ])
      expect(ends(bad)).toBe(-1)
  })

  test('takes integers to 2^53 - 1 and back to 1 - 2^53, no more', () => {
    const [most, least] = [
      [0, 0x1f, ...new Array<number>(6).fill(0xff)],
      [0xff, 0xe0, 0, 0, 0, 0, 0, 1]
    ]
    for (const good of [
      [0xcf, ...most],
      [0xd3, ...most],
      [0xd3, ...least]
    ])
      expect(ends(good)).toBe(9)
    const [past, beneath] = [
      [0, 0x20, 0, 0, 0, 0, 0, 0],
      [0xff, 0xe0, 0, 0, 0, 0, 0, 0]
    ]
    for (const bad of [
      [0xcf, ...past],
      [0xd3, ...past],
      [0xd3, ...beneath],
      [0xcf, ...new Array<number>(8).fill(0xff)]
    ])
      expect(ends(bad)).toBe(-1)
  })

  test('refuses maps, extension types and the code that is never used', () => {
    for (const head of [0x80, 0x8f, 0xde, 0xdf, 0xc1, 0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8])
      expect(ends([head, ...new Array<number>(40).fill(0)])).toBe(-1)
  })
})
