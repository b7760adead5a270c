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
import { decimalsOf, type Metric } from './profile.js'

type Wire = null | number | boolean | string | Uint8Array | WireElement[]
type WireElement = null | number | boolean | string | Uint8Array

/** Largest magnitude of a scaled value: differences of two such are still exact. */
const SCALED_MAX = 2 ** 52

export function encodeColumn(metric: Metric, column: Column): Wire {
  const { state } = column
  const count = column.values.length
  if (state?.includes(WRONG_TYPE)) throw new TypeError(`metric ${metric.name} holds a value that is no ${metric.type}`)
  const isNull = (i: number) => state !== null && state[i] === NULL
  let nulls = 0
  for (let i = 0; i < count; i++) if (isNull(i)) nulls++
  if (nulls === count) return null
  if (column.kind === 'string') {
    if (nulls === 0 && column.values.every(value => value === column.values[0])) return column.values[0]
    return column.values.map((value, i) => (isNull(i) ? null : value))
  }
  const { values } = column
  if (metric.type === 'bool') {
    if (nulls === 0 && values.every(value => value === values[0])) return values[0] !== 0
    return Array.from(values, (value, i) => (isNull(i) ? null : value !== 0))
  }
  const decimals = decimalsOf(metric)
  const scaled = decimals === null ? null : scaledIntegers(values, isNull, 10 ** decimals)
  if (scaled !== null) return nulls === 0 && scaled.every(value => value === scaled[0]) ? scaled[0] : differences(scaled)
  if (nulls === 0 && decimals === null && values.every(value => Object.is(value, values[0])) && !Object.is(values[0], -0)) return values[0]
  return nulls === 0 ? float64Bytes(values) : [presenceBits(count, isNull), float64Bytes(values.filter((_, i) => !isNull(i)))]
}

/** null where the form fits neither the metric nor the count. */
export function decodeColumn(metric: Metric, count: number, wire: unknown): Column | null {
  if (metric.type === 'string') return decodeStrings(count, wire)
  const floats = decodeFloats(count, wire)
  if (floats !== undefined) return floats
  const decimals = decimalsOf(metric)
  const scale = decimals === null ? 0 : 10 ** decimals
  const values = new Float64Array(count)
  if (Array.isArray(wire)) {
    if (wire.length !== count) return null
    if (metric.type === 'bool') return decodeBooleans(values, wire)
    return scale > 0 ? decodeDifferences(values, wire, scale) : decodePlainNumbers(values, wire)
  }
  if (wire === null) return { kind: 'numeric', values, state: new Uint8Array(count).fill(NULL) }
  if (metric.type === 'bool' ? typeof wire === 'boolean' : typeof wire === 'number' && (scale === 0 || Number.isSafeInteger(wire))) {
    return { kind: 'numeric', values: values.fill(scale > 0 ? Number(wire) / scale : Number(wire)), state: null }
  }
  return { kind: 'numeric', values, state: new Uint8Array(count).fill(WRONG_TYPE) }
}

function scaledIntegers(values: Float64Array, isNull: (i: number) => boolean, scale: number): (number | null)[] | null {
  const scaled = new Array<number | null>(values.length)
  for (let i = 0; i < values.length; i++) {
    const integer = Math.round(values[i] * scale)
    if (!isNull(i) && !(Math.abs(integer) <= SCALED_MAX)) return null
    scaled[i] = isNull(i) ? null : integer + 0 // + 0: a zero that was negative has no sign on the wire
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

function decodeBooleans(values: Float64Array, wire: readonly unknown[]): NumericColumn {
  let state: Uint8Array | null = null
  for (let i = 0; i < wire.length; i++) {
    const element = wire[i]
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

/** The two forms made of bytes; undefined where `wire` is neither, null where its lengths are wrong. */
function decodeFloats(count: number, wire: unknown): NumericColumn | null | undefined {
  if (wire instanceof Uint8Array) {
    return wire.length === 8 * count ? { kind: 'numeric', values: float64Values(wire), state: null } : null
  }
  if (!Array.isArray(wire) || !(wire[0] instanceof Uint8Array)) return undefined
  const [bits, bytes] = wire
  if (wire.length !== 2 || !(bytes instanceof Uint8Array) || bits.length !== Math.ceil(count / 8) || bytes.length % 8 !== 0) return null
  const present = float64Values(bytes)
  const values = new Float64Array(count)
  const state = new Uint8Array(count)
  let next = 0
  for (let i = 0; i < count; i++) {
    if ((bits[i >> 3] >> (i & 7)) & 1) values[i] = present[next++]
    else state[i] = NULL
  }
  return next === present.length ? { kind: 'numeric', values, state } : null
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

function float64Values(bytes: Uint8Array): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const values = new Float64Array(bytes.length / 8)
  for (let i = 0; i < values.length; i++) values[i] = view.getFloat64(i * 8, true)
  return values
}

