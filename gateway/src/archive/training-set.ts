import type { DuckDBConnection } from '@duckdb/node-api'
import { closest } from 'fastest-levenshtein'
import { quoteName, quoteText } from './parquet.js'

/**
 * Cuts a training set: for each label the newest feature row that was available at the label's time, never one that became known
 * later (promise 6).
 *
 *   availability = greatest(known_at, as_of) [+ embargo]
 *
 * - A plain ASOF join on availability is wrong: a correction of an old row, or the rows of a backlog that became available together,
 *   would hide a newer as_of that was available before. So per device, ordered by availability, only rows whose (as_of, revision)
 *   is a running maximum are kept, one an availability; labels are ASOF-joined to those.
 * - Every label gives exactly one row, in the order of the labels' file; its features are null where nothing was available.
 * - Reads the views of views.ts, so the catalog's files; changes nothing but its own temporary tables.
 */

/** What the person can put right: the message says how. */
export class TrainingSetError extends Error {
  readonly code = 'TRAINING_SET'
}

/** Columns of a feature row that are no features, but may be asked for as such. */
const CONTEXT_COLUMNS = ['provisional', 'event_count', 'coverage']

/** Columns of a feature row that are never features. */
const ROW_COLUMNS = ['device_id', 'as_of', 'known_at', 'computed_at', 'revision', 'processor_version', ...CONTEXT_COLUMNS]

/** What the training set has beside the labels' columns and the features. */
const ADDED_COLUMNS = ['as_of', 'revision', 'known_at', 'age_ms']

const LABEL_COLUMNS = ['device_id', 'label_time', 'label']

export interface TrainingSetRequest {
  /** A CSV file with a header. */
  readonly labelsPath: string
  /** Where the Parquet file goes; replaced where it exists. */
  readonly outPath: string
  /** null: the only one that has feature rows. */
  readonly profile: string | null
  /** null: all features and flags of the profile. */
  readonly features: readonly string[] | null
  readonly embargoMs: number
}

export interface TrainingSetSummary {
  readonly profile: string
  readonly features: readonly string[]
  readonly embargo_ms: number
  readonly labels: number
  /** Labels with a feature row. */
  readonly joined: number
  /** Labels at whose time nothing was available. */
  readonly without_features: number
  /** Of those: labels whose device has feature rows as of the label's time, but they became known only later. */
  readonly known_too_late: number
  readonly age_ms: { readonly p50: number | null; readonly max: number | null }
}

/** The view with the feature revisions of a profile, and the names of what can be chosen from it. */
interface Source {
  readonly profile: string
  readonly view: string
  readonly columns: readonly string[]
}

/** Writes the training set over views of a data folder; the connection must be allowed to read and write files. Throws a TrainingSetError. */
export async function writeTrainingSet(connection: DuckDBConnection, request: TrainingSetRequest): Promise<TrainingSetSummary> {
  const source = await findSource(connection, request.profile)
  const features = chooseFeatures(source, request.features)
  const passed = await loadLabels(connection, request.labelsPath)
  refuseCollisions(passed, features)
  await connection.run(availableRowsSql(source.view, request.embargoMs))
  await connection.run(JOINED_SQL)
  await connection.run(
    `COPY (${selectSql(source.view, passed, features)}) TO ${quoteText(request.outPath)} (FORMAT PARQUET, COMPRESSION ZSTD)`
  )
  return await summarize(connection, source, features, request.embargoMs)
}

async function findSource(connection: DuckDBConnection, profile: string | null): Promise<Source> {
  const profiles = (await rowsOf(connection, 'SELECT DISTINCT profile FROM feature_revisions ORDER BY profile')).map(([name]) =>
    String(name)
  )
  if (profiles.length === 0)
    throw new TrainingSetError('the archive holds no feature rows yet: wait for a flush, or stop the gateway, which writes out what it has')
  if (profile === null && profiles.length > 1)
    throw new TrainingSetError(`the archive has features of several profiles: choose one with --profile (${profiles.join(', ')})`)
  const chosen = profile ?? profiles[0]
  if (!profiles.includes(chosen))
    throw new TrainingSetError(`the archive has no features of profile "${chosen}"; did you mean "${closest(chosen, profiles)}"?`)
  const views = [`feature_revisions_${chosen.replaceAll('-', '_')}`, `feature_revisions_${chosen}`]
  const names = (await rowsOf(connection, 'SELECT view_name FROM duckdb_views()')).map(([name]) => String(name))
  for (const view of views.reverse()) {
    if (names.includes(view)) return { profile: chosen, view, columns: await columnsOf(connection, view) }
  }
  throw new Error(`there is no view of the features of ${chosen}`)
}

function chooseFeatures({ profile, columns }: Source, wanted: readonly string[] | null): string[] {
  const own = columns.filter(name => !ROW_COLUMNS.includes(name))
  if (wanted === null) return own
  const known = [...own, ...CONTEXT_COLUMNS]
  for (const name of wanted) {
    if (!known.includes(name))
      throw new TrainingSetError(`profile "${profile}" has no feature "${name}"; did you mean "${closest(name, known)}"?`)
  }
  return [...new Set(wanted)]
}

/** Makes the table `labels`: the file's columns, label_time typed, and `label_row`, its place in the file. Returns the file's columns. */
async function loadLabels(connection: DuckDBConnection, path: string): Promise<string[]> {
  const file = quoteText(path)
  let columns: string[]
  try {
    // The whole file tells the types of the columns that are passed on, so that they depend on no sample.
    const read = `read_csv(${file}, header = true, sample_size = -1, types = {'device_id': 'VARCHAR', 'label_time': 'VARCHAR'})`
    columns = (await rowsOf(connection, `DESCRIBE SELECT * FROM read_csv(${file}, header = true, all_varchar = true)`)).map(([name]) =>
      String(name)
    )
    requireLabelColumns(path, columns)
    await connection.run(`CREATE TEMP TABLE label_lines AS SELECT *, row_number() OVER () AS label_row FROM ${read}`)
  } catch (cause) {
    if (cause instanceof TrainingSetError) throw cause
    throw new TrainingSetError(`cannot read ${path}: ${cause instanceof Error ? cause.message.split('\n')[0] : String(cause)}`, { cause })
  }
  await connection.run(`CREATE TEMP TABLE labels AS SELECT * REPLACE (${LABEL_TIME_SQL} AS label_time) FROM label_lines ORDER BY label_row`)
  const [bad] = await rowsOf(
    connection,
    `SELECT label_row, l.device_id IS NULL, r.label_time FROM labels l JOIN label_lines r USING (label_row)
     WHERE l.device_id IS NULL OR l.label_time IS NULL ORDER BY label_row LIMIT 1`
  )
  if (bad !== undefined) {
    const [row, lacksDevice, time] = bad
    const fault = lacksDevice
      ? 'has no device_id'
      : `has the label_time "${time ?? ''}": write RFC 3339 with a zone (2026-11-24T13:00:00Z) or Unix ms`
    throw new TrainingSetError(`${path}: row ${row} below the header ${fault}`)
  }
  return columns
}

function requireLabelColumns(path: string, columns: readonly string[]): void {
  for (const name of LABEL_COLUMNS) {
    if (columns.includes(name)) continue
    throw new TrainingSetError(`${path} has no column "${name}", only ${columns.join(', ')}: labels need ${LABEL_COLUMNS.join(', ')}`)
  }
  if (columns.includes('label_row')) throw new TrainingSetError(`${path}: no column may be named label_row: rename it`)
}

/** RFC 3339 with a zone, or Unix ms; null for anything else. */
const LABEL_TIME_SQL = `CASE
  WHEN regexp_full_match(label_time, '-?[0-9]{1,15}') THEN make_timestamptz(TRY_CAST(label_time AS BIGINT) * 1000)
  WHEN regexp_full_match(label_time, '[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})')
    THEN TRY_CAST(upper(label_time) AS TIMESTAMPTZ) END`

function refuseCollisions(passed: readonly string[], features: readonly string[]): void {
  for (const name of passed) {
    if (ADDED_COLUMNS.includes(name) || features.includes(name))
      throw new TrainingSetError(`the labels have a column "${name}", which the training set adds itself: rename it in the labels`)
  }
}

/**
 * The table `available`: of each device in the table `labels` what could be seen, and from when. The (as_of, revision) that came first at one
 * availability are dropped, and so are those that something newer had overtaken before.
 */
export function availableRowsSql(view: string, embargoMs: number): string {
  const newestFirst = 'as_of DESC, revision DESC, known_at DESC'
  return `CREATE TEMP TABLE available AS
    WITH revisions AS (
      SELECT device_id, as_of, revision, known_at, greatest(known_at, as_of) + to_milliseconds(${embargoMs}) AS available_at
      FROM ${quoteName(view)} WHERE device_id IN (SELECT device_id FROM labels)
    ), newest AS (
      SELECT * FROM revisions QUALIFY row_number() OVER (PARTITION BY device_id, available_at ORDER BY ${newestFirst}) = 1
    )
    SELECT * FROM newest
    QUALIFY (as_of, revision) >= max((as_of, revision)) OVER (PARTITION BY device_id ORDER BY available_at ROWS UNBOUNDED PRECEDING)`
}

/** The table `joined`: of each label the row that could be seen at its time. */
export const JOINED_SQL = `CREATE TEMP TABLE joined AS
  SELECT l.label_row, l.device_id, a.as_of, a.revision, a.known_at, date_diff('millisecond', a.as_of, l.label_time) AS age_ms
  FROM labels l ASOF LEFT JOIN available a ON l.device_id = a.device_id AND l.label_time >= a.available_at`

function selectSql(view: string, passed: readonly string[], features: readonly string[]): string {
  const names = features.map(quoteName)
  const keys = 'device_id, as_of, revision, known_at'
  // A revision is written once; were it there twice, one row a label would still be right.
  const rows = `SELECT ${[keys, ...names].join(', ')} FROM ${quoteName(view)} SEMI JOIN joined USING (${keys})
    QUALIFY row_number() OVER (PARTITION BY ${keys}) = 1`
  const columns = [
    ...passed.map(name => `l.${quoteName(name)}`),
    ...ADDED_COLUMNS.map(name => `j.${name}`),
    ...names.map(name => `f.${name}`)
  ]
  return `SELECT ${columns.join(', ')} FROM labels l JOIN joined j USING (label_row)
    LEFT JOIN (${rows}) f ON f.device_id = j.device_id AND f.as_of = j.as_of AND f.revision = j.revision AND f.known_at = j.known_at
    ORDER BY label_row`
}

async function summarize(
  connection: DuckDBConnection,
  { profile, view }: Source,
  features: readonly string[],
  embargoMs: number
): Promise<TrainingSetSummary> {
  const [[labels, joined, p50, max]] = await rowsOf(
    connection,
    'SELECT count(*), count(as_of), quantile_disc(age_ms, 0.5), max(age_ms) FROM joined'
  )
  const [[tooLate]] = await rowsOf(
    connection,
    `SELECT count(*) FROM joined JOIN labels USING (label_row)
     JOIN (SELECT device_id, min(as_of) AS first_as_of FROM ${quoteName(view)} GROUP BY device_id) f ON f.device_id = labels.device_id
     WHERE joined.as_of IS NULL AND f.first_as_of <= labels.label_time`
  )
  const numberOrNull = (value: unknown) => (value === null ? null : Number(value))
  return {
    profile,
    features,
    embargo_ms: embargoMs,
    labels: Number(labels),
    joined: Number(joined),
    without_features: Number(labels) - Number(joined),
    known_too_late: Number(tooLate),
    age_ms: { p50: numberOrNull(p50), max: numberOrNull(max) }
  }
}

async function columnsOf(connection: DuckDBConnection, view: string): Promise<string[]> {
  return (await rowsOf(connection, `DESCRIBE ${quoteName(view)}`)).map(([name]) => String(name))
}

async function rowsOf(connection: DuckDBConnection, sql: string): Promise<unknown[][]> {
  return (await connection.runAndReadAll(sql)).getRows()
}
