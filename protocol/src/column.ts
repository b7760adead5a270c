import type { Metric, Profile } from './profile.js'

/** A value of one metric as a source or a row holds it. */
export type Value = number | boolean | string | null

/** What one element of a column is; the codes of `Column.state`. */
export const PRESENT = 0
export const NULL = 1
export const WRONG_TYPE = 2

/**
 * One metric of all readings of a batch. Numbers and booleans (0, 1) are `numeric`; where `state` is not `PRESENT`, the
 * value is 0 or ''. A `state` of null says that every value is present.
 */
export type Column = NumericColumn | StringColumn

export interface NumericColumn {
  readonly kind: 'numeric'
  readonly values: Float64Array
  readonly state: Uint8Array | null
}

export interface StringColumn {
  readonly kind: 'string'
  readonly values: string[]
  readonly state: Uint8Array | null
}

/** The columns of rows that each hold the profile's metrics in order. A value of another type becomes `WRONG_TYPE`. */
export function columnsOf(profile: Profile, rows: readonly (readonly Value[])[]): Column[] {
  return profile.metrics.map((metric, m) => columnOf(metric, rows.length, i => rows[i][m]))
}

/** One column of `count` values, each judged against the metric's type. */
export function columnOf(metric: Metric, count: number, valueAt: (i: number) => unknown): Column {
  let state: Uint8Array | null = null
  const mark = (i: number, code: number) => {
    state ??= new Uint8Array(count)
    state[i] = code
  }
  if (metric.type === 'string') {
    const values = new Array<string>(count).fill('')
    for (let i = 0; i < count; i++) {
      const value = valueAt(i)
      if (typeof value === 'string') values[i] = value
      else mark(i, value === null || value === undefined ? NULL : WRONG_TYPE)
    }
    return { kind: 'string', values, state }
  }
  const wanted = metric.type === 'bool' ? 'boolean' : 'number'
  const values = new Float64Array(count)
  for (let i = 0; i < count; i++) {
    const value = valueAt(i)
    if (typeof value === wanted) values[i] = Number(value)
    else mark(i, value === null || value === undefined ? NULL : WRONG_TYPE)
  }
  return { kind: 'numeric', values, state }
}

/** The value at `i` as a row holds it; null also for what has the wrong type. */
export function valueAt(column: Column, metric: Metric, i: number): Value {
  if (column.state !== null && column.state[i] !== PRESENT) return null
  const value = column.values[i]
  return metric.type === 'bool' ? value !== 0 : value
}
