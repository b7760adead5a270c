/** Reads the rows of flushes back as objects. */
import type { FileColumn, FileRows, Flush, Layer } from '../../gateway/src/processor/flush.js'

export type Cell = number | string | boolean | Uint8Array | null
export type Row = Record<string, Cell>

/** The rows of a layer in the order in which they were written; times are Unix ms. */
export function rowsOf(flushes: readonly Flush[], layer: Layer, profile?: string): Row[] {
  return flushes.flatMap(flush =>
    flush.files
      .filter(file => file.layer === layer && (profile === undefined || file.profile === profile))
      .flatMap(file => rowsOfFile(flush, file))
  )
}

export function rowsOfFile({ strings }: Flush, { columns, rows }: FileRows): Row[] {
  return Array.from({ length: rows }, (_, row) => Object.fromEntries(columns.map(column => [column.name, cellOf(column, row, strings)])))
}

function cellOf(column: FileColumn, row: number, strings: readonly string[]): Cell {
  if (column.type === 'bytes') return column.values[row]
  if (column.type === 'string') return column.values[row] < 0 ? null : strings[column.values[row]]
  const value = column.values[row]
  if (Number.isNaN(value)) return null
  return column.type === 'boolean' ? value === 1 : value
}
