/**
 * Answers what is served of readings and features, at one boundary between entries: the rows that no file holds, and the files that
 * hold all others, listed at the same moment. So no row is in both and none in neither, whatever is flushed or compacted meanwhile.
 */
import type { CatalogFile } from '../archive/catalog.js'
import { FileList, type HourRange } from '../archive/file-list.js'
import { HOUR_MS } from '../archive/paths.js'
import { FEATURE, READING } from '../processor/layouts.js'
import type { Processor } from '../processor/processor.js'
import { type Cell, placesOf, type RowTable, rowAt, waitingTables } from '../processor/row-table.js'
import type { ColumnSpec } from '../processor/rows.js'
import { compareKeys, keyAt, type ReadingKey } from '../serving/reading-key.js'
import { isNewer, isRow, LatestFeatures, type LatestRow } from './latest-features.js'
import { UncommittedRows } from './uncommitted-rows.js'

export type ServingQuestion =
  /** The first readings of a device in [fromMs, toMs) behind a key, in the order of their keys. */
  | {
      readonly ask: 'reading-rows'
      readonly deviceId: string
      readonly fromMs: number
      readonly toMs: number
      readonly after: ReadingKey | null
      readonly rowsMax: number
    }
  /** All feature rows of the devices in the hours; of all profiles where none is named. */
  | {
      readonly ask: 'feature-rows'
      readonly deviceIds: readonly string[]
      readonly profile: string | null
      readonly hours: readonly HourRange[]
    }
  /** The latest feature row of each profile that the device has features of. */
  | { readonly ask: 'latest-features'; readonly deviceId: string }

/** Rows that no file holds. */
export interface MemoryTable {
  readonly profile: string
  readonly columns: readonly ColumnSpec[]
  readonly rows: readonly (readonly Cell[])[]
}

/** As of an entry. */
export interface AsOfEntry {
  readonly entry: number
  /** Its ingest time, Unix ms. */
  readonly ingestMs: number
}

export interface ServedRows extends AsOfEntry {
  /** Which of the devices are known. */
  readonly known: readonly string[]
  /** Profiles that there are rows of, whosever. */
  readonly profiles: readonly string[]
  readonly files: readonly CatalogFile[]
  /** null: too many to be handed over. */
  readonly memory: readonly MemoryTable[] | null
}

/** The latest row of a profile; where this process has not seen it, `row` is null and it is in the archive, if anywhere. */
export interface LatestOfProfile {
  readonly profile: string
  readonly row: LatestRow | null
  /** Where in the archive it is likely to be: event times, Unix ms. */
  readonly likely: { readonly fromMs: number; readonly toMs: number }
}

export interface ServedLatest extends AsOfEntry {
  readonly profiles: readonly LatestOfProfile[]
}

/** Feature rows handed over at most. */
const FEATURE_ROWS_MAX = 200_000

/** How far ahead of their ingest times readings may be measured, and their rows be as of, ms. */
const AHEAD_MS = 600_000

export class ServedState {
  readonly latest = new LatestFeatures()
  private readonly list: FileList

  /** `catalog`: the path of one that exists. */
  constructor(
    private readonly processor: Processor,
    catalog: string,
    readonly uncommitted = new UncommittedRows(processor.show(({ outputs }) => outputs.memory))
  ) {
    this.list = new FileList(catalog)
  }

  close(): void {
    this.list.close()
  }

  readingRows({ deviceId, fromMs, toMs, after, rowsMax }: ServingQuestion & { ask: 'reading-rows' }): ServedRows {
    const hours = { fromMs: Math.floor(fromMs / HOUR_MS) * HOUR_MS, throughMs: toMs - 1 }
    const { committedEntry, ...listed } = this.list.read('processed', null, [hours])
    const tables = this.tables('processed', committedEntry, null, [hours]).sort((a, b) => a.hourMs - b.hourMs)
    const device = new Set([deviceId])
    const found: { key: ReadingKey; table: RowTable; place: number }[] = []
    let hourMs = Number.NEGATIVE_INFINITY
    for (const table of tables) {
      if (table.hourMs > hourMs && found.length >= rowsMax) break
      hourMs = table.hourMs
      for (const place of placesOf(table, device, READING.device)) {
        const key = keyAt(table, place)
        if (key[0] >= fromMs && key[0] < toMs && (after === null || compareKeys(key, after) > 0)) found.push({ key, table, place })
      }
    }
    found.sort((a, b) => compareKeys(a.key, b.key))
    const memory = found.slice(0, rowsMax).map(({ table, place }) => memoryOf(table, [place]))
    return { ...this.at(), known: this.known([deviceId]), ...withProfiles(listed, tables), memory }
  }

  featureRows({ deviceIds, profile, hours }: ServingQuestion & { ask: 'feature-rows' }): ServedRows {
    const { committedEntry, ...listed } = this.list.read('curated', profile, hours)
    const tables = this.tables('curated', committedEntry, profile, hours)
    const devices = new Set(deviceIds)
    const memory: MemoryTable[] = []
    let rows = 0
    for (const table of tables) {
      const places = placesOf(table, devices, FEATURE.device)
      rows += places.length
      if (rows > FEATURE_ROWS_MAX) break
      if (places.length > 0) memory.push(memoryOf(table, places))
    }
    const all = withProfiles(listed, this.tables('curated', committedEntry, null, null))
    return { ...this.at(), known: this.known(deviceIds), ...all, memory: rows > FEATURE_ROWS_MAX ? null : memory }
  }

  /** null: the device is not known. */
  latestFeatures(deviceId: string): ServedLatest | null {
    const device = this.processor.show(state => state.devices.get(deviceId))
    if (device === undefined) return null
    const seenMs = Number.isFinite(device.seenMs) ? device.seenMs : device.registration.registeredMs
    const watermarkMs = Number.isFinite(device.watermarkMs) ? device.watermarkMs : seenMs
    const near = { fromMs: Math.min(watermarkMs, seenMs), toMs: Math.max(watermarkMs, seenMs) + AHEAD_MS }
    const waiting = this.processor.show(state => waitingTables(state.outputs)).filter(({ layer }) => layer === 'curated')
    const profiles = device.features.map(features => {
      const profile = features.plan.profile.name
      const last = features.lastRow()
      const row = this.newest(deviceId, profile, waiting)
      const isLast = row !== null && last !== null && isRow(row, last)
      return { profile, row: isLast ? row : null, likely: last === null ? near : { fromMs: last.asOfMs, toMs: last.asOfMs } }
    })
    return { ...this.at(), profiles: profiles.sort((a, b) => (a.profile < b.profile ? -1 : 1)) }
  }

  /** Of the rows that wait and those that this process has let out. */
  private newest(deviceId: string, profile: string, waiting: readonly RowTable[]): LatestRow | null {
    let newest = this.latest.find(deviceId, profile)
    for (const table of waiting.filter(each => each.profile === profile)) {
      for (const place of placesOf(table, new Set([deviceId]), FEATURE.device)) {
        const row = { columns: table.columns, cells: rowAt(table, place) }
        if (newest === null || isNewer(row, newest)) newest = row
      }
    }
    return newest
  }

  private at(): AsOfEntry {
    return this.processor.show(({ entry, ingestMs }) => ({ entry, ingestMs }))
  }

  private known(deviceIds: readonly string[]): string[] {
    return this.processor.show(({ devices }) => deviceIds.filter(deviceId => devices.has(deviceId)))
  }

  /** What no file holds; `hours` null: whatever its hour. */
  private tables(
    layer: 'processed' | 'curated',
    committedEntry: number,
    profile: string | null,
    hours: readonly HourRange[] | null
  ): RowTable[] {
    const all = [...this.processor.show(state => waitingTables(state.outputs)), ...this.uncommitted.behind(committedEntry)]
    return all.filter(table => {
      if (table.layer !== layer || (profile !== null && table.profile !== profile)) return false
      return hours === null || hours.some(({ fromMs, throughMs }) => table.hourMs >= fromMs && table.hourMs <= throughMs)
    })
  }
}

function withProfiles(
  { profiles, files }: { readonly profiles: readonly string[]; readonly files: readonly CatalogFile[] },
  tables: readonly RowTable[]
): Pick<ServedRows, 'profiles' | 'files'> {
  return { files, profiles: [...new Set([...profiles, ...tables.map(({ profile }) => profile!)])].sort() }
}

function memoryOf(table: RowTable, places: readonly number[]): MemoryTable {
  return { profile: table.profile!, columns: table.columns, rows: places.map(place => rowAt(table, place)) }
}
