/**
 * Of each device and profile the latest of the feature rows that left the processor since it started: the one with the greatest
 * (as_of, revision). Rows that wait for a flush are not in it; a row that a repair may yet replace is not either. A later row may have
 * left an earlier process: so it is for who asks to know which one is the latest of all.
 * Rows are kept as numbers in one block a table: a fleet's rows come within seconds of each other, too many for an object each.
 */
import type { Flush } from '../processor/flush.js'
import { FEATURE } from '../processor/layouts.js'
import { type Cell, cellOf, type RowTable, tableOfFile } from '../processor/row-table.js'
import type { ColumnSpec } from '../processor/rows.js'

/** A feature row by itself. */
export interface LatestRow {
  readonly columns: readonly ColumnSpec[]
  readonly cells: readonly Cell[]
}

export class LatestFeatures {
  /** By profile, then by the names of the columns: versions of a profile may have other features. */
  private readonly tables = new Map<string, Map<string, LatestTable>>()

  take({ files, strings, repairs }: Flush): void {
    for (const file of files) if (file.layer === 'curated') this.takeTable(tableOfFile(file, strings))
    for (const { deviceId, profile, fromMs, throughMs } of repairs)
      for (const table of this.tables.get(profile)?.values() ?? []) table.forget(deviceId, fromMs, throughMs)
  }

  /** null: none is known here. */
  find(deviceId: string, profile: string): LatestRow | null {
    let latest: LatestRow | null = null
    for (const table of this.tables.get(profile)?.values() ?? []) {
      const row = table.rowOf(deviceId)
      if (row !== null && (latest === null || isNewer(row, latest))) latest = row
    }
    return latest
  }

  private takeTable(rows: RowTable): void {
    const versions = this.tables.get(rows.profile!) ?? new Map<string, LatestTable>()
    this.tables.set(rows.profile!, versions)
    const names = rows.columns.map(({ name }) => name).join()
    const table = versions.get(names) ?? new LatestTable(rows.columns)
    versions.set(names, table)
    table.take(rows)
  }
}

/** A row a device, all of the same columns. */
class LatestTable {
  private readonly places = new Map<string, number>()
  /** Places that are free again. */
  private readonly free: number[] = []
  private readonly width: number
  /** Cells as numbers, row by row; what is in a string column is in `texts`. */
  private cells: Float64Array
  private readonly texts: (string | null)[] = []

  constructor(private readonly columns: readonly ColumnSpec[]) {
    this.width = columns.length
    this.cells = new Float64Array(64 * this.width)
  }

  take(rows: RowTable): void {
    const { columns, width, texts } = this
    const sources = columns.map(({ type }, column) => (type === 'string' ? null : rows.numbers(column)))
    const textSources = columns.map(({ type }, column) => (type === 'string' ? rows.indices(column) : null))
    const devices = rows.indices(FEATURE.device)
    const asOf = rows.numbers(FEATURE.asOf)
    const revision = rows.numbers(FEATURE.revision)
    for (let row = 0; row < rows.count; row++) {
      const deviceId = rows.strings[devices[row]]
      const known = this.places.get(deviceId)
      if (known !== undefined && !this.isBehind(known * width, asOf[row], revision[row])) continue
      const at = (known ?? this.newPlace(deviceId)) * width
      for (let c = 0; c < width; c++) {
        const numbers = sources[c]
        if (numbers !== null) this.cells[at + c] = numbers[row]
        else texts[at + c] = textAt(rows.strings, textSources[c]![row])
      }
    }
  }

  rowOf(deviceId: string): LatestRow | null {
    const place = this.places.get(deviceId)
    if (place === undefined) return null
    const { columns, width, cells, texts } = this
    const at = place * width
    return { columns, cells: columns.map(({ type }, c) => (type === 'string' ? texts[at + c] : cellOf(type, cells[at + c]))) }
  }

  /** Forgets the device's row if it is as of (fromMs, throughMs]. */
  forget(deviceId: string, fromMs: number, throughMs: number): void {
    const place = this.places.get(deviceId)
    if (place === undefined) return
    const asOfMs = this.cells[place * this.width + FEATURE.asOf]
    if (asOfMs <= fromMs || asOfMs > throughMs) return
    this.places.delete(deviceId)
    this.free.push(place)
  }

  private isBehind(at: number, asOfMs: number, revision: number): boolean {
    const knownAsOfMs = this.cells[at + FEATURE.asOf]
    return asOfMs > knownAsOfMs || (asOfMs === knownAsOfMs && revision > this.cells[at + FEATURE.revision])
  }

  private newPlace(deviceId: string): number {
    const place = this.free.pop() ?? this.places.size
    this.places.set(deviceId, place)
    if ((place + 1) * this.width > this.cells.length) {
      const grown = new Float64Array(this.cells.length * 2)
      grown.set(this.cells)
      this.cells = grown
    }
    return place
  }
}

function textAt(strings: readonly string[], index: number): string | null {
  return index < 0 ? null : strings[index]
}

/** Whether it is the row as of that time, at that revision. */
export function isRow({ cells }: LatestRow, { asOfMs, revision }: { readonly asOfMs: number; readonly revision: number }): boolean {
  return cells[FEATURE.asOf] === asOfMs && cells[FEATURE.revision] === revision
}

export function isNewer(row: LatestRow, than: LatestRow): boolean {
  const asOfBehindMs = asOfMs(row) - asOfMs(than)
  return asOfBehindMs > 0 || (asOfBehindMs === 0 && Number(row.cells[FEATURE.revision]) > Number(than.cells[FEATURE.revision]))
}

function asOfMs({ cells }: LatestRow): number {
  return Number(cells[FEATURE.asOf])
}
