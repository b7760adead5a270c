/**
 * One metric's values on the wire. Forms, for n readings:
 *
 *   nil                        every value is null
 *   a number, bool or string   every value is this one
 *   an array of n              numbers with a resolution: integers, the first absolute, then differences from the last that
 *                              was not null; others: the values; nil is null
 *   bin of 8 n bytes           float64, little-endian
 *   [bin, bin]                 a bit a reading (bit i % 8 of byte i / 8: present), then float64 of the present ones
 *
 * Decoding is total: a form that does not fit gives null, an element that does not fit is `WRONG_TYPE`.
 */
import { type Column, NULL, type NumericColumn, type StringColumn, WRONG_TYPE } from './column.js'
import { SCALED_MAX } from './limits.js'
import { decimalsOf, type Metric, quantize } from './profile.js'
import { textForWire } from './text.js'

type Wire = null | number | boolean | string | Uint8Array | WireElement[]
type WireElement = null | number | boolean | string | Uint8Array

/** Throws a TypeError where the column is not of the metric's type, a RangeError where a string is too long. */
export function encodeColumn(metric: Metric, column: Column): Wire {
  const { state } = column
  const count = column.values.length
  if (state?.includes(WRONG_TYPE) || (column.kind === 'string') !== (metric.type === 'string')) {
    throw new TypeError(`metric ${metric.name} holds a value that is no ${metric.type}`)
  }
  const isNull = (i: number) => state !== null && state[i] === NULL
  let nulls = 0
  for (let i = 0; i < count; i++) if (isNull(i)) nulls++
  if (nulls === count) return null
  if (column.kind === 'string') return encodeStrings(column, isNull, nulls)
  if (metric.type !== 'bool') return encodeNumbers(metric, column, isNull, nulls)
  const { values } = column
  if (nulls === 0 && values.every(value => value === values[0])) return values[0] !== 0
  return Array.from(values, (value, i) => (isNull(i) ? null : value !== 0))
}

function encodeStrings({ values }: StringColumn, isNull: (i: number) => boolean, nulls: number): Wire {
  if (nulls === 0 && values.every(value => value === values[0])) return textForWire(values[0])
  return values.map((value, i) => (isNull(i) ? null : textForWire(value)))
}

function encodeNumbers(metric: Metric, { values }: NumericColumn, isNull: (i: number) => boolean, nulls: number): Wire {
  const decimals = decimalsOf(metric)
  const scaled = decimals === null ? null : scaledIntegers(values, isNull, 10 ** decimals)
  if (scaled !== null) return nulls === 0 && scaled.every(value => value === scaled[0]) ? scaled[0] : differences(scaled)
  const floats = decimals === null ? values : values.map(value => quantize(value, metric))
  // -0 would lose its sign as one number
  if (nulls === 0 && decimals === null && floats.every(value => Object.is(value, floats[0])) && !Object.is(floats[0], -0)) return floats[0]
  return nulls === 0 ? float64Bytes(floats) : [presenceBits(values.length, isNull), float64Bytes(floats.filter((_, i) => !isNull(i)))]
}

/** null where the form fits neither the metric nor the count. */
export function decodeColumn(metric: Metric, count: number, wire: unknown): Column | null {
  if (metric.type === 'string') return decodeStrings(count, wire)
  const values = new Float64Array(count)
  if (wire === null) return { kind: 'numeric', values, state: new Uint8Array(count).fill(NULL) }
  if (metric.type === 'bool') return decodeBooleans(values, wire)
  if (wire instanceof Uint8Array) return decodeFloats(values, wire)
  const decimals = decimalsOf(metric)
  const scale = decimals === null ? 0 : 10 ** decimals
  if (Array.isArray(wire)) {
    if (wire[0] instanceof Uint8Array) return decodeSparseFloats(values, wire)
    if (wire.length !== count) return null
    return scale > 0 ? decodeDifferences(values, wire, scale) : decodePlainNumbers(values, wire)
  }
  if (typeof wire !== 'number' || (scale > 0 && !Number.isSafeInteger(wire))) return allWrong(values)
  return { kind: 'numeric', values: values.fill(scale > 0 ? wire / scale + 0 : wire), state: null } // + 0: -0 is 0
}

function allWrong(values: Float64Array): NumericColumn {
  return { kind: 'numeric', values, state: new Uint8Array(values.length).fill(WRONG_TYPE) }
}

function scaledIntegers(values: Float64Array, isNull: (i: number) => boolean, scale: number): (number | null)[] | null {
  const scaled = new Array<number | null>(values.length)
  for (let i = 0; i < values.length; i++) {
    const integer = Math.round(values[i] * scale)
    if (!isNull(i) && !(Math.abs(integer) <= SCALED_MAX)) return null
    scaled[i] = isNull(i) ? null : integer
  }
  return scaled
}

function differences(scaled: readonly (number | null)[]): (number | null)[] {
  let last = 0
  return scaled.map(value => {
    if (value === null) return null
    const difference = value - last
    last = value
    return difference
  })
}

function decodeDifferences(values: Float64Array, wire: readonly unknown[], scale: number): NumericColumn {
  let state: Uint8Array | null = null
  let sum = 0
  for (let i = 0; i < wire.length; i++) {
    const element = wire[i]
    if (typeof element === 'number' && Number.isSafeInteger(element) && Number.isSafeInteger(sum + element)) {
      sum += element
      values[i] = sum / scale
      continue
    }
    state ??= new Uint8Array(values.length)
    if (element === null) state[i] = NULL
    else {
      state.fill(WRONG_TYPE, i) // what differs from an unknown value is unknown too
      break
    }
  }
  return { kind: 'numeric', values, state }
}

function decodePlainNumbers(values: Float64Array, wire: readonly unknown[]): NumericColumn {
  let state: Uint8Array | null = null
  for (let i = 0; i < wire.length; i++) {
    const element = wire[i]
    if (typeof element === 'number') values[i] = element
    else {
      state ??= new Uint8Array(values.length)
      state[i] = element === null ? NULL : WRONG_TYPE
    }
  }
  return { kind: 'numeric', values, state }
}

function decodeBooleans(values: Float64Array, wire: unknown): NumericColumn | null {
  if (typeof wire === 'boolean') return { kind: 'numeric', values: values.fill(wire ? 1 : 0), state: null }
  if (!Array.isArray(wire)) return allWrong(values)
  if (wire.length !== values.length) return null
  let state: Uint8Array | null = null
  for (let i = 0; i < wire.length; i++) {
    const element: unknown = wire[i]
    if (typeof element === 'boolean') values[i] = element ? 1 : 0
    else {
      state ??= new Uint8Array(values.length)
      state[i] = element === null ? NULL : WRONG_TYPE
    }
  }
  return { kind: 'numeric', values, state }
}

function decodeStrings(count: number, wire: unknown): StringColumn | null {
  const values = new Array<string>(count).fill('')
  if (typeof wire === 'string') return { kind: 'string', values: values.fill(wire), state: null }
  if (!Array.isArray(wire)) return { kind: 'string', values, state: new Uint8Array(count).fill(wire === null ? NULL : WRONG_TYPE) }
  if (wire.length !== count) return null
  let state: Uint8Array | null = null
  for (let i = 0; i < count; i++) {
    const element: unknown = wire[i]
    if (typeof element === 'string') values[i] = element
    else {
      state ??= new Uint8Array(count)
      state[i] = element === null ? NULL : WRONG_TYPE
    }
  }
  return { kind: 'string', values, state }
}

function decodeFloats(values: Float64Array, wire: Uint8Array): NumericColumn | null {
  if (wire.length !== 8 * values.length) return null
  const view = new DataView(wire.buffer, wire.byteOffset, wire.byteLength)
  for (let i = 0; i < values.length; i++) values[i] = view.getFloat64(i * 8, true)
  return { kind: 'numeric', values, state: null }
}

function decodeSparseFloats(values: Float64Array, wire: readonly unknown[]): NumericColumn | null {
  const [bits, floats] = wire
  if (wire.length !== 2 || !(bits instanceof Uint8Array) || !(floats instanceof Uint8Array)) return null
  if (bits.length !== Math.ceil(values.length / 8)) return null
  const view = new DataView(floats.buffer, floats.byteOffset, floats.byteLength)
  const state = new Uint8Array(values.length)
  let at = 0
  for (let i = 0; i < values.length; i++) {
    if (((bits[i >> 3] >> (i & 7)) & 1) === 0) state[i] = NULL
    else if (at + 8 > floats.length) return null
    else {
      values[i] = view.getFloat64(at, true)
      at += 8
    }
  }
  return at === floats.length ? { kind: 'numeric', values, state } : null
}

function presenceBits(count: number, isNull: (i: number) => boolean): Uint8Array {
  const bits = new Uint8Array(Math.ceil(count / 8))
  for (let i = 0; i < count; i++) if (!isNull(i)) bits[i >> 3] |= 1 << (i & 7)
  return bits
}

function float64Bytes(values: Float64Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 8))
  for (let i = 0; i < values.length; i++) view.setFloat64(i * 8, values[i], true)
  return new Uint8Array(view.buffer)
}
