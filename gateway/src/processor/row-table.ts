/**
 * Rows that no file holds yet, as those who serve them read them: the same whether they wait in the outputs or are in a flush
 * under way. Views of what others own, good until the next entry is applied. Reads only.
 */
import type { FileRows, Layer } from './flush.js'
import type { Outputs } from './outputs.js'
import type { ColumnSpec, Rows } from './rows.js'

/** What a row holds: times are Unix ms. */
export type Cell = number | string | boolean | null

export interface RowTable {
  readonly layer: Layer
  readonly profile: string | null
  /** Start of the hour of the partition, Unix ms. */
  readonly hourMs: number
  readonly count: number
  readonly columns: readonly ColumnSpec[]
  /** The dictionary of string columns; it may hold strings of other tables, too. */
  readonly strings: readonly string[]
  numbers(column: number): Float64Array
  /** Places in `strings`; -1 is null. */
  indices(column: number): Int32Array
}

/** What waits in the outputs. */
export function waitingTables(outputs: Outputs): RowTable[] {
  return Array.from(outputs.waiting, tableOfRows)
}

function tableOfRows(rows: Rows): RowTable {
  const { layout, hourMs, count, strings } = rows
  return {
    layer: layout.layer,
    profile: layout.profile,
    hourMs,
    count,
    columns: layout.columns,
    strings,
    numbers: column => rows.numbersOf(column),
    indices: column => rows.indicesOf(column)
  }
}

/** The rows of a file of a flush whose dictionary is `strings`. */
export function tableOfFile({ layer, profile, hourMs, rows, columns }: FileRows, strings: readonly string[]): RowTable {
  return {
    layer,
    profile,
    hourMs,
    count: rows,
    columns: columns.map(({ name, type }) => ({ name, type })),
    strings,
    numbers(column) {
      const { values } = columns[column]
      if (values instanceof Float64Array) return values
      throw new Error(`column ${columns[column].name} holds no numbers`)
    },
    indices(column) {
      const { values } = columns[column]
      if (values instanceof Int32Array) return values
      throw new Error(`column ${columns[column].name} holds no strings`)
    }
  }
}

/** The places of the devices' rows, ascending. `deviceColumn`: where their IDs are. */
export function placesOf(table: RowTable, deviceIds: ReadonlySet<string>, deviceColumn: number): number[] {
  const { strings, count } = table
  const isMeant = new Uint8Array(strings.length)
  let any = false
  for (let i = 0; i < strings.length; i++) {
    if (!deviceIds.has(strings[i])) continue
    isMeant[i] = 1
    any = true
  }
  const places: number[] = []
  if (!any) return places
  const devices = table.indices(deviceColumn)
  for (let place = 0; place < count; place++) if (isMeant[devices[place]] === 1) places.push(place)
  return places
}

export function cellAt(table: RowTable, column: number, place: number): Cell {
  const { type } = table.columns[column]
  if (type === 'string') {
    const index = table.indices(column)[place]
    return index < 0 ? null : table.strings[index]
  }
  return cellOf(type, table.numbers(column)[place])
}

/** What a number stands for in a column of a type that is not string. */
export function cellOf(type: ColumnSpec['type'], value: number): Cell {
  if (type === 'bytes') throw new Error('bytes are not served')
  if (Number.isNaN(value)) return null
  return type === 'boolean' ? value !== 0 : value
}

export function rowAt(table: RowTable, place: number): Cell[] {
  return table.columns.map((_, column) => cellAt(table, column, place))
}
