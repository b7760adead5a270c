import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { Catalog, type CatalogFile } from './catalog.js'
import { quoteName, quoteText } from './parquet.js'
import { type DataPaths, dataPaths, stagingName } from './paths.js'
import type { ExpiredRows } from './supersede.js'
import { mergingPath } from './swap.js'

/**
 * The archive as SQL views, from the catalog's list of files (never a glob): `readings`, `features`, `feature_revisions`,
 * `quarantine`, `raw`, and per profile `readings_<profile>`, `features_<profile>`, `feature_revisions_<profile>`. Reads only;
 * works beside the gateway.
 */

/** Columns of the views where there is no file yet. */
const READING_COLUMNS = {
  device_id: 'VARCHAR',
  event_time: 'TIMESTAMPTZ',
  ingest_time: 'TIMESTAMPTZ',
  epoch: 'BIGINT',
  seq: 'BIGINT',
  event_id: 'VARCHAR',
  late: 'BOOLEAN',
  clock: 'VARCHAR',
  profile_version: 'INTEGER',
  extra: 'VARCHAR'
}
const FEATURE_COLUMNS = {
  device_id: 'VARCHAR',
  as_of: 'TIMESTAMPTZ',
  known_at: 'TIMESTAMPTZ',
  computed_at: 'TIMESTAMPTZ',
  revision: 'INTEGER',
  provisional: 'BOOLEAN',
  event_count: 'BIGINT',
  coverage: 'DOUBLE',
  processor_version: 'INTEGER'
}
const QUARANTINE_COLUMNS = {
  device_id: 'VARCHAR',
  ingest_time: 'TIMESTAMPTZ',
  entry: 'BIGINT',
  frame_index: 'INTEGER',
  kind: 'VARCHAR',
  reason: 'VARCHAR',
  detail: 'VARCHAR',
  accounted: 'BOOLEAN',
  profile: 'VARCHAR',
  event_time: 'TIMESTAMPTZ',
  epoch: 'BIGINT',
  seq: 'BIGINT',
  event_id: 'VARCHAR',
  payload: 'BLOB'
}
const RAW_COLUMNS = {
  ingest_time: 'TIMESTAMPTZ',
  entry: 'BIGINT',
  frame_index: 'INTEGER',
  kind: 'VARCHAR',
  device_id: 'VARCHAR',
  payload: 'BLOB'
}

/** A query starts so many times at most: only a file that is truly gone is missed that often. */
const ATTEMPTS_MAX = 10

/** What a session reads of the catalog, all from one state of it. */
export interface ArchiveState {
  readonly paths: DataPaths
  readonly files: readonly CatalogFile[]
  readonly epochs: ReturnType<Catalog['epochs']>
  /** Rows that retention has deleted. */
  readonly expired: readonly ExpiredRows[]
  /** The last entry of the log whose flush is committed. */
  readonly committedEntry: number
}

/** The folder holds no archive. */
export class NoArchiveError extends Error {
  readonly code = 'NO_ARCHIVE'
}

/** Throws a `NoArchiveError` where `dataDir` is no data folder of a gateway. */
export function readArchiveState(dataDir: string): ArchiveState {
  const paths = dataPaths(dataDir)
  if (!existsSync(dataDir)) throw new NoArchiveError(`there is no folder ${dataDir}: give the gateway's data folder with --data-dir`)
  if (!existsSync(paths.catalog))
    throw new NoArchiveError(`${dataDir} is no data folder of a gateway (it holds no catalog.sqlite): give the right one with --data-dir`)
  const catalog = Catalog.openReadonly(paths.catalog)
  try {
    return catalog.atOnce(() => ({
      paths,
      files: catalog.files(),
      epochs: catalog.epochs(),
      expired: catalog.expired(),
      committedEntry: catalog.committedEntry(0)
    }))
  } finally {
    catalog.close()
  }
}

/**
 * Calls `use` with a connection that has the views. Queries read the archive's files and, unless `ownFiles`, no other; they
 * write none. Where a file was moved meanwhile by a commit or a compaction it starts again with the catalog as it is then, `use`
 * included, as long as `mayRepeat` says so.
 */
export async function withViews<T>(
  dataDir: string,
  options: { readonly ownFiles: boolean },
  use: (connection: DuckDBConnection, state: ArchiveState) => Promise<T>,
  mayRepeat: () => boolean = () => true
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(dataDir, options, use)
    } catch (error) {
      if (!(error instanceof Error) || !isVanishedFile(error, dataDir)) throw error
      if (!mayRepeat()) throw new Error('the archive was compacted while the answer was being read: ask again', { cause: error })
      if (attempt === ATTEMPTS_MAX) throw error
    }
  }
}

/** Whether a query has failed because a commit or a compaction has moved a file meanwhile: it is to be made again. */
export function isVanishedFile(error: Error, dataDir: string): boolean {
  return error.message.includes(dataPaths(dataDir).root) && /No such file|No files found|Cannot open file/.test(error.message)
}

async function once<T>(
  dataDir: string,
  options: { ownFiles: boolean },
  use: (connection: DuckDBConnection, state: ArchiveState) => Promise<T>
): Promise<T> {
  const state = readArchiveState(dataDir)
  const instance = await DuckDBInstance.create(':memory:', { temp_directory: join(tmpdir(), `tidemark-sql-${process.pid}`) })
  const connection = await instance.connect()
  try {
    await connection.run("SET TimeZone = 'UTC'")
    for (const statement of viewStatements(state)) await connection.run(statement)
    if (!options.ownFiles) await lock(connection, state.paths)
    return await use(connection, state)
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}

/** Lets queries read the archive's files and no others, and write none. */
export async function lock(connection: DuckDBConnection, paths: DataPaths): Promise<void> {
  const folders = [paths.archive, paths.staging, paths.superseded].map(quoteText).join(', ')
  await connection.run(`SET allowed_directories = [${folders}]`)
  await connection.run('SET enable_external_access = false')
  await connection.run('SET lock_configuration = true')
}

function viewStatements(state: ArchiveState): string[] {
  const of = (layer: CatalogFile['layer']) => state.files.filter(file => file.layer === layer)
  const views = new Map<string, string>()
  const scan = (files: readonly CatalogFile[]) => scanOf(state.paths, files)
  const perProfile = (layer: 'processed' | 'curated', prefix: string, empty: Record<string, string>) => {
    const all: string[] = [`SELECT ${emptyColumns(empty)}, NULL::VARCHAR AS profile WHERE false`]
    for (const [profile, files] of groupBy(of(layer), file => file.profile ?? '')) {
      const name = viewName(prefix, profile, views)
      views.set(name, scan(files))
      all.push(`SELECT *, ${quoteText(profile)} AS profile FROM ${quoteName(name)}`)
    }
    views.set(prefix, all.join(' UNION ALL BY NAME '))
  }
  perProfile('processed', 'readings', READING_COLUMNS)
  perProfile('curated', 'feature_revisions', FEATURE_COLUMNS)
  for (const name of [...views.keys()].filter(name => name.startsWith('feature_revisions'))) {
    const keys = name === 'feature_revisions' ? 'device_id, profile, as_of' : 'device_id, as_of'
    const latest = `row_number() OVER (PARTITION BY ${keys} ORDER BY revision DESC, known_at DESC) = 1`
    views.set(name.replace('feature_revisions', 'features'), `SELECT * FROM ${quoteName(name)} QUALIFY ${latest}`)
  }
  // The bytes of a message lie in the first row that it caused, whatever became of that.
  views.set(
    'quarantine',
    unresolved(
      state,
      `SELECT * REPLACE (first_value(payload IGNORE NULLS) OVER (PARTITION BY entry, frame_index
    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS payload) FROM (${rejected(state)})`
    )
  )
  const raw = of('raw')
  views.set('raw', raw.length === 0 ? `SELECT ${emptyColumns(RAW_COLUMNS)} WHERE false` : scan(raw))
  return [...views].map(([name, select]) => `CREATE VIEW ${quoteName(name)} AS ${select}`)
}

/** All rows of the quarantine, the resolved ones too; a message's bytes in its first row only. */
export function rejected(state: ArchiveState): string {
  const files = state.files.filter(file => file.layer === 'quarantine')
  return files.length === 0 ? `SELECT ${emptyColumns(QUARANTINE_COLUMNS)} WHERE false` : scanOf(state.paths, files)
}

/** Of the rows of the quarantine that `select` gives, those that no requeue has resolved. */
export function unresolved(state: ArchiveState, select: string): string {
  const files = state.files.filter(file => file.layer === 'resolved')
  if (files.length === 0) return select
  const same = ['epoch', 'seq', 'event_id'].map(name => `resolved.${name} IS NOT DISTINCT FROM quarantined.${name}`)
  return `SELECT quarantined.* FROM (${select}) AS quarantined ANTI JOIN (${scanOf(state.paths, files)}) AS resolved
    ON resolved.entry = quarantined.entry AND resolved.frame_index = quarantined.frame_index AND ${same.join(' AND ')}`
}

function groupBy(files: readonly CatalogFile[], keyOf: (file: CatalogFile) => string): Map<string, CatalogFile[]> {
  const groups = new Map<string, CatalogFile[]>()
  for (const file of files) {
    const group = groups.get(keyOf(file))
    if (group === undefined) groups.set(keyOf(file), [file])
    else group.push(file)
  }
  return groups
}

/** `readings` and `water-loop` make `readings_water_loop`, or `readings_water-loop` where another profile has that name. */
function viewName(prefix: string, profile: string, taken: ReadonlyMap<string, string>): string {
  const name = `${prefix}_${profile.replaceAll('-', '_')}`
  return taken.has(name) ? `${prefix}_${profile}` : name
}

function emptyColumns(columns: Record<string, string>): string {
  return Object.entries(columns)
    .map(([name, type]) => `NULL::${type} AS ${name}`)
    .join(', ')
}

/**
 * Reads the files, wherever a commit under way has them. Only files with the same columns are read as one list: DuckDB then
 * looks into the first alone to learn them, not into thousands.
 */
export function scanOf(paths: DataPaths, files: readonly CatalogFile[]): string {
  const scans = [...groupBy(files, file => file.columns).values()].map(group => {
    const list = group.map(file => quoteText(placeOf(paths, file))).join(', ')
    return `SELECT * FROM read_parquet([${list}], hive_partitioning = false)`
  })
  return scans.join(' UNION ALL BY NAME ')
}

/**
 * A committed file is in archive/, or, until its rename is done, in staging/. One that is superseded, or about to be, lies in
 * superseded/, where it stays for a while.
 */
function placeOf(paths: DataPaths, file: CatalogFile): string {
  const place = join(paths.archive, file.path)
  const places = [join(paths.superseded, file.path), place, join(paths.staging, stagingName(file.path)), mergingPath(paths, file)]
  return places.find(each => existsSync(each)) ?? place
}
