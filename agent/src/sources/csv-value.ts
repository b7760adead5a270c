import type { Metric, Value } from '@tidemark/protocol'

/** Reads the values of a recording. */

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/
const NOT_FINITE: ReadonlyMap<string, number> = new Map([
  ['nan', Number.NaN],
  ['inf', Number.POSITIVE_INFINITY],
  ['infinity', Number.POSITIVE_INFINITY]
])
const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['t', true],
  ['yes', true],
  ['y', true],
  ['on', true],
  ['1', true],
  ['1.0', true],
  ['false', false],
  ['f', false],
  ['no', false],
  ['n', false],
  ['off', false],
  ['0', false],
  ['0.0', false]
])
const EMPTY: ReadonlySet<string> = new Set(['', 'null', 'NULL', 'NA', 'N/A', 'n/a'])

/**
 * The value of a field: null where it is empty, undefined where it is something that is no value of the metric's type.
 * NaN and the infinities are values of a float: the gateway judges them, and keeps them.
 */
export function readValue(text: string, metric: Metric, decimalMark: '.' | ','): Value | undefined {
  if (metric.type === 'string') return text === '' ? null : text
  const trimmed = text.trim()
  if (EMPTY.has(trimmed)) return null
  if (metric.type === 'bool') return BOOLEANS.get(trimmed.toLowerCase())
  const plain = decimalMark === ',' ? trimmed.replace(',', '.') : trimmed
  if (NUMBER.test(plain)) return Number(plain)
  const sign = plain.startsWith('-') ? -1 : 1
  const notFinite = NOT_FINITE.get(plain.replace(/^[+-]/, '').toLowerCase())
  return notFinite === undefined ? undefined : sign * notFinite
}
