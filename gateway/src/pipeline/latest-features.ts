/**
 * Of each device and profile the latest of the feature rows that left the processor since it started: the one with the greatest
 * (as_of, revision). Rows that wait for a flush are not in it; a row that a repair may yet replace is not either. A later row may have
 * left an earlier process: so it is for who asks to know which one is the latest of all.
 */
import type { Flush } from '../processor/flush.js'
import { FEATURE } from '../processor/layouts.js'
import { type Cell, type RowTable, rowAt, tableOfFile } from '../processor/row-table.js'
import type { ColumnSpec } from '../processor/rows.js'

/** A feature row by itself. */
export interface LatestRow {
  readonly columns: readonly ColumnSpec[]
  readonly cells: readonly Cell[]
}

export class LatestFeatures {
  /** By profile, then by device. */
  private readonly rows = new Map<string, Map<string, LatestRow>>()

  take({ files, strings, repairs }: Flush): void {
    for (const file of files) if (file.layer === 'curated') this.takeTable(tableOfFile(file, strings))
    for (const { deviceId, profile, fromMs, throughMs } of repairs) {
      const row = this.find(deviceId, profile)
      if (row !== null && asOfMs(row) > fromMs && asOfMs(row) <= throughMs) this.rows.get(profile)?.delete(deviceId)
    }
  }

  /** null: none is known here. */
  find(deviceId: string, profile: string): LatestRow | null {
    return this.rows.get(profile)?.get(deviceId) ?? null
  }

  private takeTable(table: RowTable): void {
    const byDevice = this.rows.get(table.profile!) ?? new Map<string, LatestRow>()
    this.rows.set(table.profile!, byDevice)
    const devices = table.indices(FEATURE.device)
    const asOf = table.numbers(FEATURE.asOf)
    const revision = table.numbers(FEATURE.revision)
    // a backlog has many rows of a device in one flush: its latest alone is read out
    const latest = new Map<number, number>()
    for (let place = 0; place < table.count; place++) {
      const known = latest.get(devices[place])
      if (known === undefined || asOf[place] > asOf[known] || (asOf[place] === asOf[known] && revision[place] > revision[known]))
        latest.set(devices[place], place)
    }
    for (const [device, place] of latest) {
      const deviceId = table.strings[device]
      const row = { columns: table.columns, cells: rowAt(table, place) }
      const known = byDevice.get(deviceId)
      if (known === undefined || isNewer(row, known)) byDevice.set(deviceId, row)
    }
  }
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
