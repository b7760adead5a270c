import { Encoder } from '@msgpack/msgpack'
import {
  type Column,
  columnOf,
  decodeBatch,
  encodeBatch,
  type Metric,
  NULL,
  PRESENT,
  type Profile,
  profileSchema,
  quantize,
  type Value,
  WRONG_TYPE
} from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const encoder = new Encoder()

function profileWith(metric: object): Profile {
  return profileSchema.parse({ name: 'one', interval: '1s', metrics: [{ name: 'm', ...metric }] })
}

/** The column that `wire` gives for `count` readings of a metric; undefined where the batch is rejected. */
function decoded(metric: object, count: number, wire: unknown): Column | undefined {
  const header = encoder.encode([1, 'one', 1, 42, 0, count, count, 1, 0, count])
  const body = encoder.encode([0, [wire]])
  return decodeBatch(Uint8Array.from([...header, ...body]), () => profileWith(metric))?.columns[0]
}

/** The bytes of the one column of a batch, as hex. */
function encodedHex(metric: object, values: readonly Value[]): string {
  const profile = profileWith(metric)
  const batch = (columns: Column[]) => ({
    profile,
    epoch: 42,
    oldestHeldSeq: 1,
    highestSampledSeq: values.length,
    buffered: 0,
    seqs: values.map((_, i) => i + 1),
    eventTimesMs: values.map(() => 0),
    columns
  })
  const payload = encodeBatch(batch([columnOf(profile.metrics[0], values.length, i => values[i])]))
  const empty = encodeBatch(batch([columnOf(profile.metrics[0], values.length, () => null)])) // its column is the last byte
  return Buffer.from(payload.subarray(empty.length - 1)).toString('hex')
}

const state = (...codes: number[]) => Uint8Array.from(codes)
const floats = (...values: number[]) => new Uint8Array(Float64Array.from(values).buffer)
const HUNDREDTHS = { resolution: 0.01 }

describe('numbers with a resolution', () => {
  test('travel as one integer where all are equal', () => {
    expect(encodedHex(HUNDREDTHS, [20.5, 20.5, 20.504])).toBe('cd0802') // 2050
  })

  test('travel as differences from the last that was not null', () => {
    expect(encodedHex(HUNDREDTHS, [20.5, null, 20.51, 20.4])).toBe(`94${'cd0802'}${'c0'}${'01'}${'f5'}`) // 2050, nil, +1, -11
    expect(decoded(HUNDREDTHS, 4, [2050, null, 1, -11])).toEqual({
      kind: 'numeric',
      values: Float64Array.of(20.5, 0, 20.51, 20.4),
      state: state(0, NULL, 0, 0)
    })
  })

  test('are the quotient of an integer and a power of ten, never a product with a fraction', () => {
    fc.assert(
      fc.property(fc.integer({ min: -(2 ** 50), max: 2 ** 50 }), fc.integer({ min: 0, max: 9 }), (integer, decimals) => {
        const metric = { resolution: Number(`1e-${decimals}`) }
        expect(decoded(metric, 1, integer)?.values[0]).toBe(Number(`${integer}e-${decimals}`))
      })
    )
  })

  test('rounded once are not changed by being rounded again', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), fc.integer({ min: 0, max: 9 }), (value, decimals) => {
        const [metric] = profileWith({ resolution: Number(`1e-${decimals}`) }).metrics
        const once = quantize(value, metric)
        expect(quantize(once, metric)).toBe(once)
        if (Math.abs(value) < 1e5) expect(Math.abs(once - value)).toBeLessThanOrEqual(0.5000001 * 10 ** -decimals)
      }),
      { numRuns: 2000 }
    )
  })

  test('have no negative zero', () => {
    const [metric] = profileWith(HUNDREDTHS).metrics
    expect(quantize(-0.001, metric)).toBe(0)
    expect(encodedHex(HUNDREDTHS, [-0, -0.001])).toBe('00')
    const negativeZero = Uint8Array.from([
      ...encoder.encode([1, 'one', 1, 42, 0, 1, 1, 1, 0, 1]),
      0x92,
      0x00,
      0x91,
      0xcb,
      0x80,
      0,
      0,
      0,
      0,
      0,
      0,
      0
    ])
    expect(decodeBatch(negativeZero, () => profileWith(HUNDREDTHS))?.columns[0].values[0]).toBe(0)
  })

  test('one of which is not finite, or too large to scale, travel as float64, the others rounded as ever', () => {
    for (const odd of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2e13]) {
      const hex = encodedHex(HUNDREDTHS, [20.504, odd])
      expect(hex).toBe(`c410${Buffer.from(floats(20.5, odd)).toString('hex')}`)
    }
    expect(quantize(2e13, profileWith(HUNDREDTHS).metrics[0])).toBe(2e13)
  })

  test('may come as float64, which is not rounded again', () => {
    expect(decoded(HUNDREDTHS, 2, floats(20.504, 1))?.values).toEqual(Float64Array.of(20.504, 1))
  })

  test('after a difference that is no integer, all are of the wrong type, for what they differ from is unknown', () => {
    for (const bad of [0.5, 'x', true, 2 ** 60, Number.NaN]) {
      expect(decoded(HUNDREDTHS, 4, [2050, bad, 1, null])).toEqual({
        kind: 'numeric',
        values: Float64Array.of(20.5, 0, 0, 0),
        state: state(PRESENT, WRONG_TYPE, WRONG_TYPE, WRONG_TYPE)
      })
    }
  })

  test('whose sum leaves 2^53 - 1 are of the wrong type', () => {
    expect(decoded({ type: 'int' }, 3, [Number.MAX_SAFE_INTEGER, 1, 0])?.state).toEqual(state(PRESENT, WRONG_TYPE, WRONG_TYPE))
    expect(decoded({ type: 'int' }, 2, [Number.MAX_SAFE_INTEGER, 0])?.values).toEqual(Float64Array.of(2 ** 53 - 1, 2 ** 53 - 1))
  })

  test('of opposite sign at the edge of what is scaled survive', () => {
    const values = [2 ** 50, -(2 ** 50), 2 ** 50]
    expect(encodedHex({ type: 'int' }, values)).toBe('93cf0004000000000000d3fff8000000000000cf0008000000000000')
    expect(decoded({ type: 'int' }, 3, [2 ** 50, -(2 ** 51), 2 ** 51])?.values).toEqual(Float64Array.from(values))
  })
})

describe('floats without a resolution', () => {
  test('travel as one number where all are equal, as an integer where it is one: 1.0 and 1 are the same', () => {
    expect(encodedHex({}, [0.1, 0.1])).toBe('cb3fb999999999999a')
    expect(encodedHex({}, [1.0, 1.0])).toBe('01')
    expect(decoded({}, 2, 1)?.values).toEqual(Float64Array.of(1, 1))
  })

  test('keep the sign of zero, and are not all equal where it differs', () => {
    expect(encodedHex({}, [-0, -0])).toBe(`c410${'0000000000000080'.repeat(2)}`)
    expect(encodedHex({}, [0, -0])).toBe(`c410${'0'.repeat(16)}0000000000000080`)
    expect(decoded({}, 1, floats(-0))?.values[0]).toBe(-0)
  })

  test('travel as bits of presence and the present ones where some are null', () => {
    const hex = encodedHex({}, [0.5, null, null, null, null, null, null, null, null, 0.25])
    expect(hex).toBe(`92c4020102c410${'000000000000e03f'}${'000000000000d03f'}`)
    expect(decoded({}, 3, [Uint8Array.of(0b101), floats(0.5, 0.25)])).toEqual({
      kind: 'numeric',
      values: Float64Array.of(0.5, 0, 0.25),
      state: state(0, NULL, 0)
    })
  })

  test('may come as an array of numbers and nil, which is easier to write', () => {
    expect(decoded({}, 3, [1, null, 0.5])).toEqual({ kind: 'numeric', values: Float64Array.of(1, 0, 0.5), state: state(0, NULL, 0) })
    expect(decoded({}, 3, [1, 'x', true])?.state).toEqual(state(PRESENT, WRONG_TYPE, WRONG_TYPE))
  })

  test('may be NaN or infinite on the wire: to refuse that is for who judges values', () => {
    expect(decoded({}, 1, Number.NaN)?.values[0]).toBeNaN()
    expect(decoded({}, 2, floats(Number.POSITIVE_INFINITY, 1))?.values[0]).toBe(Number.POSITIVE_INFINITY)
  })

  test('that are integers a double does not hold damage the batch', () => {
    const uint64 = Uint8Array.from([
      ...encoder.encode([1, 'one', 1, 42, 0, 1, 1, 1, 0, 1]),
      0x92,
      0x00,
      0x91,
      0xcf,
      0x00,
      0x20,
      0,
      0,
      0,
      0,
      0,
      0
    ])
    expect(decodeBatch(uint64, () => profileWith({}))?.reject).toBe('columns-damaged')
  })
})

describe('other types', () => {
  test('a bool is a bool: neither 1 nor bytes are one', () => {
    expect(encodedHex({ type: 'bool' }, [true, true])).toBe('c3')
    expect(encodedHex({ type: 'bool' }, [true, null, false])).toBe('93c3c0c2')
    expect(decoded({ type: 'bool' }, 2, false)).toEqual({ kind: 'numeric', values: Float64Array.of(0, 0), state: null })
    expect(decoded({ type: 'bool' }, 3, [true, null, 1])).toEqual({
      kind: 'numeric',
      values: Float64Array.of(1, 0, 0),
      state: state(PRESENT, NULL, WRONG_TYPE)
    })
    for (const wire of [1, 'true', floats(1, 3.7)]) expect(decoded({ type: 'bool' }, 2, wire)?.state).toEqual(state(WRONG_TYPE, WRONG_TYPE))
  })

  test('a string is a string, empty or in any language', () => {
    expect(encodedHex({ type: 'string' }, ['', ''])).toBe('a0')
    expect(decoded({ type: 'string' }, 3, ['é', null, '机'])).toEqual({
      kind: 'string',
      values: ['é', '', '机'],
      state: state(PRESENT, NULL, PRESENT)
    })
    expect(decoded({ type: 'string' }, 2, ['x', 1])).toEqual({ kind: 'string', values: ['x', ''], state: state(PRESENT, WRONG_TYPE) })
    for (const wire of [1, true, floats(1, 2)]) expect(decoded({ type: 'string' }, 2, wire)?.state).toEqual(state(WRONG_TYPE, WRONG_TYPE))
  })

  test('a string of more than 4096 bytes, or one that is not UTF-8, damages the batch', () => {
    expect(decoded({ type: 'string' }, 1, 'x'.repeat(4096))?.values[0]).toHaveLength(4096)
    expect(decoded({ type: 'string' }, 1, 'x'.repeat(4097))).toBeUndefined()
    expect(decoded({ type: 'string' }, 1, '\ud800')).toBeUndefined() // the library writes it as three bytes that are not UTF-8
  })

  test('a value of another type is marked, not guessed, in every kind of numeric column', () => {
    for (const metric of [{}, HUNDREDTHS, { type: 'int' }]) {
      for (const wire of ['5', true]) expect(decoded(metric, 2, wire)?.state).toEqual(state(WRONG_TYPE, WRONG_TYPE))
    }
    expect(decoded({ type: 'int' }, 2, 3.5)?.state).toEqual(state(WRONG_TYPE, WRONG_TYPE))
    expect(decoded({ type: 'int' }, 2, 2 ** 53)?.state).toEqual(state(WRONG_TYPE, WRONG_TYPE))
  })

  test('nil is a null of any type', () => {
    for (const metric of [{}, HUNDREDTHS, { type: 'int' }, { type: 'bool' }, { type: 'string' }]) {
      expect(encodedHex(metric, [null, null])).toBe('c0')
      expect(decoded(metric, 2, null)?.state).toEqual(state(NULL, NULL))
    }
  })

  test('rows become columns: undefined is null, and a value of another type is marked', () => {
    const metric = (change: object): Metric => profileWith(change).metrics[0]
    const row = [1, '1', true, null, undefined]
    const codes = (change: object) => columnOf(metric(change), 5, i => row[i]).state
    expect(codes({})).toEqual(state(PRESENT, WRONG_TYPE, WRONG_TYPE, NULL, NULL))
    expect(codes({ type: 'bool' })).toEqual(state(WRONG_TYPE, WRONG_TYPE, PRESENT, NULL, NULL))
    expect(codes({ type: 'string' })).toEqual(state(WRONG_TYPE, PRESENT, WRONG_TYPE, NULL, NULL))
  })
})
