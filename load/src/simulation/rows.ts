/** Reads the columns of a flush's files as rows. */
import type { FileColumn, FileRows, Layer } from '@tidemark/gateway/dist/processor/flush.js'

export type Cell = number | string | boolean | Uint8Array | null
export type Row = Readonly<Record<string, Cell>>

export interface RowsWithStrings {
  readonly rows: FileRows
  readonly strings: readonly string[]
}

/** The rows of a layer, in the order of the files. */
export function rowsOf(files: Iterable<RowsWithStrings>, layer: Layer): Row[] {
  const rows: Row[] = []
  for (const file of files) {
    if (file.rows.layer !== layer) continue
    for (let row = 0; row < file.rows.rows; row++)
      rows.push(Object.fromEntries(file.rows.columns.map(column => [column.name, cellOf(column, row, file.strings)])))
  }
  return rows
}

/** A number column as it is, NaN for null. */
export function numbersOf(file: FileRows, name: string): Float64Array {
  const column = file.columns.find(each => each.name === name)
  if (column === undefined || !(column.values instanceof Float64Array)) throw new Error(`${file.layer} has no numbers called ${name}`)
  return column.values
}

/** The column with only the chosen rows. */
export function columnOf(column: FileColumn, kept: readonly number[]): FileColumn {
  switch (column.type) {
    case 'string':
      return { ...column, values: Int32Array.from(kept, row => column.values[row]) }
    case 'bytes':
      return { ...column, values: kept.map(row => column.values[row]) }
    default:
      return { ...column, values: Float64Array.from(kept, row => column.values[row]) }
  }
}

function cellOf(column: FileColumn, row: number, strings: readonly string[]): Cell {
  if (column.type === 'bytes') return column.values[row]
  if (column.type === 'string') return column.values[row] < 0 ? null : strings[column.values[row]]
  const value = column.values[row]
  if (Number.isNaN(value)) return null
  return column.type === 'boolean' ? value === 1 : value
}
