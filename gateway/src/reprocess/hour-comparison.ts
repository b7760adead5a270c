/**
 * Compares, hour by hour, the rows that a replay has made with those that the archive has, as multisets, by DuckDB: memory is bounded, what
 * exceeds it is spilled. Where they differ it writes the hour's rows anew, and notes what that changes: readings whose features are to be
 * computed again, and counts.
 *
 * A row that the archive has from before the replay's beginning belongs to neither side; it goes into the new file as it is.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { CatalogFile } from '../archive/catalog.js'
import { columnsDigest } from '../archive/commit.js'
import { quoteName, quoteText } from '../archive/parquet.js'
import { type DataPaths, type Partition, reprocessedPath } from '../archive/paths.js'
import { mergingPath } from '../archive/swap.js'
import { type Column, groupBy, groupByShape } from '../maintenance/plan.js'
import type { Layer } from '../processor/flush.js'
import { SORT_BY } from '../processor/layouts.js'
import type { ReplayedFile } from './replay.js'
import type { ScratchDatabase } from './scratch-database.js'

export interface HourOptions {
  readonly paths: DataPaths
  readonly scratch: ScratchDatabase
  /** What lies behind this entry, and behind this ingest time, was made anew. */
  readonly sinceEntry: number
  readonly sinceMs: number
  readonly throughEntry: number
  readonly shard: number
  /** The number of the run. */
  readonly number: number
}

export interface HourChange {
  readonly partition: Partition
  readonly old: readonly CatalogFile[]
  readonly files: readonly CatalogFile[]
  /** Rows that the replay has made and the archive lacks, and the other way round. */
  readonly added: number
  readonly removed: number
  /** Processed: how the ledger of the hour changes. */
  readonly archived: number
  readonly late: number
}

/** Columns of readings that no feature depends on. */
const NO_FEATURE = ['ingest_time', 'late', 'clock', 'profile_version', 'extra']

/** The files of an hour whose columns fit together, and their rows as SQL. */
interface Group {
  readonly partition: Partition
  readonly old: readonly CatalogFile[]
  readonly columns: readonly Column[]
  /** What the archive has from the time of the replay, what it has from before, what the replay has made. */
  readonly before: string
  readonly kept: string
  readonly after: string
}

/** Of one hour of a layer; `archived` and `replayed` are all its files that may hold rows of the replay's time. null: nothing differs. */
export async function compareHour(
  partition: Partition,
  archived: readonly CatalogFile[],
  replayed: readonly ReplayedFile[],
  options: HourOptions
): Promise<HourChange | null> {
  const { scratch } = options
  const change = { old: [] as CatalogFile[], files: [] as CatalogFile[], added: 0, removed: 0, archived: 0, late: 0 }
  let differs = false
  for (const group of await groupsOf(partition, archived, replayed, options)) {
    if (await scratch.areEqual(group.columns, group.before, group.after)) continue
    differs = true
    const names = group.columns.map(({ name }) => quoteName(name)).join(', ')
    change.added += await scratch.number(
      `SELECT count(*) FROM (SELECT ${names} FROM ${group.after} EXCEPT ALL SELECT ${names} FROM ${group.before})`
    )
    change.removed += await scratch.number(
      `SELECT count(*) FROM (SELECT ${names} FROM ${group.before} EXCEPT ALL SELECT ${names} FROM ${group.after})`
    )
    if (partition.layer === 'processed') {
      const [archivedRows, late] = await noteReadings(group, options)
      change.archived += archivedRows
      change.late += late
    } else if (partition.layer === 'quarantine') await scratch.noteRejected(group.before, group.after)
    else await scratch.noteResolved(group.before, group.after)
    change.old.push(...group.old)
    const file = await writeAnew(group, change.files.length + 1, options)
    if (file !== null) change.files.push(file)
  }
  return differs ? { partition, ...change } : null
}

async function groupsOf(
  partition: Partition,
  archived: readonly CatalogFile[],
  replayed: readonly ReplayedFile[],
  { paths, scratch, sinceEntry, sinceMs }: HourOptions
): Promise<Group[]> {
  const places = new Map<CatalogFile, string>()
  for (const file of archived) places.set(file, join(paths.archive, file.path))
  for (const file of replayed) places.set(asCatalogFile(file), file.path)
  const known = new Set(archived)
  const shapes = new Map<string, readonly Column[]>()
  for (const [file, place] of places) if (!shapes.has(file.columns)) shapes.set(file.columns, await scratch.columnsOf(place))
  const isAnew = conditionOf(partition.layer, sinceEntry, sinceMs)
  return groupByShape([...places.keys()], digest => shapes.get(digest) ?? []).map(files => {
    const columns = unionOf(files.map(file => shapes.get(file.columns) ?? []))
    const rows = (some: readonly CatalogFile[], where: string) => rowsOf(columns, some, places, where)
    const old = files.filter(file => known.has(file))
    const made = files.filter(file => !known.has(file))
    return { partition, old, columns, before: rows(old, isAnew), kept: rows(old, `NOT (${isAnew})`), after: rows(made, isAnew) }
  })
}

/** Which rows of a layer were made behind the beginning of the replay. */
function conditionOf(layer: Layer, sinceEntry: number, sinceMs: number): string {
  if (layer === 'processed') return `ingest_time > make_timestamptz(${sinceMs * 1000})`
  return layer === 'quarantine' ? `entry > ${sinceEntry}` : `requeue_entry > ${sinceEntry}`
}

function asCatalogFile(file: ReplayedFile): CatalogFile {
  return { ...file, bytes: 0, shard: 0, firstEntry: 0, lastEntry: 0 }
}

function unionOf(shapes: readonly (readonly Column[])[]): Column[] {
  const columns = new Map<string, Column>()
  for (const shape of shapes) for (const column of shape) if (!columns.has(column.name)) columns.set(column.name, column)
  // The free text of a reading comes last, whatever a later version has added.
  return [...columns.values()].sort((a, b) => Number(a.name === 'extra') - Number(b.name === 'extra'))
}

const TYPES: ReadonlyMap<Column['type'], string> = new Map([
  ['string', 'VARCHAR'],
  ['bytes', 'BLOB'],
  ['double', 'DOUBLE'],
  ['bigint', 'BIGINT'],
  ['integer', 'INTEGER'],
  ['boolean', 'BOOLEAN'],
  ['timestamp', 'TIMESTAMPTZ']
])

function rowsOf(
  columns: readonly Column[],
  files: readonly CatalogFile[],
  places: ReadonlyMap<CatalogFile, string>,
  where: string
): string {
  const none = `SELECT ${columns.map(({ name, type }) => `NULL::${TYPES.get(type)} AS ${quoteName(name)}`).join(', ')} WHERE false`
  const scans = groupBy(files, file => file.columns).map(shape => {
    return `SELECT * FROM read_parquet([${shape.map(file => quoteText(places.get(file) ?? '')).join(', ')}], hive_partitioning = false)`
  })
  return `(SELECT * FROM (${[none, ...scans].join(' UNION ALL BY NAME ')}) WHERE ${where})`
}

async function noteReadings({ partition, columns, before, after }: Group, { scratch }: HourOptions): Promise<[number, number]> {
  const kept = columns.filter(({ name }) => !NO_FEATURE.includes(name)).map(({ name }) => quoteName(name))
  return await scratch.noteReadings(partition.profile ?? '', partition.hourMs, kept, before, after)
}

/** Null where the hour has no row of these columns any more. Payloads are not sorted: DuckDB's sort would hold them in memory. */
async function writeAnew(
  { partition, old, columns, kept, after }: Group,
  part: number,
  { paths, scratch, sinceEntry, throughEntry, shard, number }: HourOptions
): Promise<CatalogFile | null> {
  const firstEntry = Math.min(sinceEntry + 1, ...old.map(file => file.firstEntry))
  const path = reprocessedPath(partition, { shard, firstEntry, lastEntry: throughEntry, part }, number)
  const staged = mergingPath(paths, { path })
  const names = columns.map(({ name }) => quoteName(name)).join(', ')
  const from = `SELECT ${names} FROM (SELECT * FROM ${kept} UNION ALL BY NAME SELECT * FROM ${after})`
  const isWide = columns.some(({ type }) => type === 'bytes')
  const keys = SORT_BY[partition.layer].filter(name => columns.some(column => column.name === name)).map(quoteName)
  const rows = await scratch.copy(isWide ? from : `${from} ORDER BY ${keys.join(', ')}`, staged, columns)
  if (rows === 0) return null
  const { size: bytes } = statSync(staged)
  return { path, ...partition, rows, bytes, shard, firstEntry, lastEntry: throughEntry, columns: columnsDigest(columns) }
}
