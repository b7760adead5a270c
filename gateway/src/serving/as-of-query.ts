/**
 * For each (device, time) the feature row that was available then: by the rules of training sets, over the files of some hours and
 * the rows of memory. Which hours suffice is for who asks.
 */
import type { DuckDBConnection } from '@duckdb/node-api'
import type { DataPaths } from '../archive/paths.js'
import { availableRowsSql, JOINED_SQL } from '../archive/training-set.js'
import { cellsOf, cellsOfMemory, isOneOf, scansOf, timeSql, timeValue } from './archive-tables.js'
import type { AsOfJob, FeatureCells, Wanted } from './messages.js'

const REVISIONS = 'revisions'

const KEYS = ['device_id', 'as_of', 'revision', 'known_at'] as const

/** The latest time that DuckDB and Unix ms both can say, for who asks what is known by now. */
export const END_OF_TIME_MS = Date.UTC(9999, 0, 1)

/** One for each that is wanted, of one profile; null: nothing was available. The connection is used up. */
export async function readAsOf(
  connection: DuckDBConnection,
  paths: DataPaths,
  { wanted, embargoMs, rows }: AsOfJob
): Promise<(FeatureCells | null)[]> {
  const memory = rows.memory.flatMap(cellsOfMemory)
  const scans = scansOf(paths, rows.files)
  await makeLabels(connection, wanted)
  await makeRevisions(connection, wanted, [...scans.values()], memory)
  await connection.run(availableRowsSql(REVISIONS, embargoMs))
  await connection.run(JOINED_SQL)
  const reader = await connection.runAndReadAll(
    'SELECT label_row, device_id, epoch_ms(as_of), revision, epoch_ms(known_at) FROM joined WHERE as_of IS NOT NULL'
  )
  const joined = reader.getRows()
  const byKey = new Map(memory.map(row => [keyOf(row), row]))
  if (joined.length > 0) {
    for (const [profile, scan] of scans) {
      for (const row of await cellsOf(connection, chosenSql(scan, wanted), profile)) byKey.set(keyOf(row), row)
    }
  }
  const answers: (FeatureCells | null)[] = wanted.map(() => null)
  for (const [place, ...key] of joined) answers[Number(place)] = byKey.get(key.map(String).join('/')) ?? null
  return answers
}

async function makeLabels(connection: DuckDBConnection, wanted: readonly Wanted[]): Promise<void> {
  await connection.run('CREATE TEMP TABLE labels (label_row INTEGER, device_id VARCHAR, label_time TIMESTAMPTZ)')
  const appender = await connection.createAppender('labels', 'main', 'temp')
  for (const [place, { deviceId, timeMs }] of wanted.entries()) {
    appender.appendInteger(place)
    appender.appendVarchar(deviceId)
    appender.appendValue(timeValue(timeMs))
    appender.endRow()
  }
  appender.closeSync()
}

/** The table of all revisions of the devices. */
async function makeRevisions(
  connection: DuckDBConnection,
  wanted: readonly Wanted[],
  scans: readonly string[],
  memory: readonly FeatureCells[]
): Promise<void> {
  await connection.run(`CREATE TEMP TABLE ${REVISIONS} (device_id VARCHAR, as_of TIMESTAMPTZ, revision INTEGER, known_at TIMESTAMPTZ)`)
  for (const scan of scans) {
    await connection.run(`INSERT INTO ${REVISIONS} SELECT ${KEYS.join(', ')} FROM (${scan}) WHERE ${isMeant(wanted)}`)
  }
  const appender = await connection.createAppender(REVISIONS, 'main', 'temp')
  for (const row of memory) {
    appender.appendVarchar(String(row.device_id))
    appender.appendValue(timeValue(Number(row.as_of)))
    appender.appendInteger(Number(row.revision))
    appender.appendValue(timeValue(Number(row.known_at)))
    appender.endRow()
  }
  appender.closeSync()
}

/** The rows of the files that were joined. */
function chosenSql(scan: string, wanted: readonly Wanted[]): string {
  const times = ['as_of', 'known_at', 'computed_at'].map(name => `epoch_ms(f.${name}) AS ${name}`)
  return `SELECT f.* REPLACE (${times.join(', ')}) FROM (SELECT * FROM (${scan}) WHERE ${isMeant(wanted)}) f SEMI JOIN joined j
    ON ${KEYS.map(name => `f.${name} = j.${name}`).join(' AND ')}`
}

/** What lets DuckDB leave most of a file unread: its rows are sorted by device. */
function isMeant(wanted: readonly Wanted[]): string {
  const latestMs = Math.max(...wanted.map(({ timeMs }) => timeMs))
  const devices = isOneOf(
    'device_id',
    wanted.map(({ deviceId }) => deviceId)
  )
  return `${devices} AND as_of <= ${timeSql(latestMs)}`
}

function keyOf(row: FeatureCells): string {
  return KEYS.map(name => String(row[name])).join('/')
}
