/**
 * The readings of a device in a range of event time, in the order of their keys: from files, hour by hour, and from memory. It stops
 * when there are enough, or when it has taken long enough: the cursor then says where to go on.
 */
import type { DuckDBConnection } from '@duckdb/node-api'
import type { CatalogFile } from '../archive/catalog.js'
import { quoteName, quoteText } from '../archive/parquet.js'
import { type DataPaths, HOUR_MS } from '../archive/paths.js'
import { isoTime, readingJson, readingsSchema } from './answers.js'
import { cellsOf, cellsOfMemory, scansOf, timeSql } from './archive-tables.js'
import type { FeatureCells, ReadingsJob } from './messages.js'
import { compareKeys, encodeCursor, keyBefore, READING_KEY_SQL, type ReadingKey } from './reading-key.js'

/** Files that one query reads at most, unless an hour alone has more. */
const FILES_AT_ONCE = 48

/** An answer that took so long, ms, ends at the hour that it has come to. */
const ANSWER_MS_MAX = 5000

const BASE_COLUMNS = ['event_time', 'ingest_time', 'epoch', 'seq', 'event_id', 'late', 'clock', 'profile_version']

interface Found {
  readonly key: ReadingKey
  readonly row: FeatureCells
}

/** The answer as JSON. */
export async function readReadings(connection: DuckDBConnection, paths: DataPaths, job: ReadingsJob): Promise<Uint8Array<ArrayBuffer>> {
  const { deviceId, fromMs, toMs, limit, rows } = job
  const startedMs = performance.now()
  const found: Found[] = []
  let readThroughMs = toMs
  for (const { files, endMs } of groupsOf(rows.files)) {
    for (const [profile, scan] of scansOf(paths, files)) found.push(...(await readProfile(connection, job, profile, scan)))
    if (endMs >= toMs) break
    if (found.length <= limit && performance.now() - startedMs < ANSWER_MS_MAX) continue
    readThroughMs = endMs
    break
  }
  for (const table of rows.memory) {
    if (job.metrics !== null && !table.columns.some(({ name }) => job.metrics?.includes(name))) continue
    for (const row of cellsOfMemory(table)) if (Number(row.event_time) < readThroughMs) found.push({ key: keyOf(row), row })
  }
  found.sort((a, b) => compareKeys(a.key, b.key))
  const shown = found.slice(0, limit)
  const isCut = found.length > limit
  const next = isCut ? shown[limit - 1].key : readThroughMs < toMs ? keyBefore(readThroughMs) : null
  const answer = readingsSchema.parse({
    device_id: deviceId,
    from: isoTime(fromMs),
    to: isoTime(toMs),
    entry: rows.entry,
    ingest_time: isoTime(rows.ingestMs),
    readings: shown.map(({ row }) => readingJson(chosen(row, job.metrics))),
    next: next === null ? null : encodeCursor(next)
  })
  return new TextEncoder().encode(JSON.stringify(answer))
}

/** Files by hours, oldest first; `endMs`: the end of the group's last hour. */
function groupsOf(files: readonly CatalogFile[]): { files: CatalogFile[]; endMs: number }[] {
  const groups: { files: CatalogFile[]; endMs: number }[] = []
  for (const file of [...files].sort((a, b) => a.hourMs - b.hourMs)) {
    const last = groups.at(-1)
    const endMs = file.hourMs + HOUR_MS
    if (last === undefined || (last.files.length >= FILES_AT_ONCE && last.endMs < endMs)) groups.push({ files: [file], endMs })
    else {
      last.files.push(file)
      last.endMs = endMs
    }
  }
  return groups
}

async function readProfile(
  connection: DuckDBConnection,
  { deviceId, fromMs, toMs, after, limit, metrics }: ReadingsJob,
  profile: string,
  scan: string
): Promise<Found[]> {
  const names = (await connection.runAndReadAll(`DESCRIBE ${scan}`)).getRows().map(([name]) => String(name))
  if (metrics !== null && !metrics.some(name => names.includes(name))) return []
  const wanted = names.filter(name => name !== 'device_id' && (metrics === null || BASE_COLUMNS.includes(name) || metrics.includes(name)))
  const columns = wanted.map(name => (name === 'event_time' || name === 'ingest_time' ? `epoch_ms(${name}) AS ${name}` : quoteName(name)))
  const behind = after === null ? 'true' : `(${READING_KEY_SQL}) > (${keySql(after)})`
  const sql = `SELECT ${columns.join(', ')} FROM (SELECT * FROM (${scan})
    WHERE device_id = ${quoteText(deviceId)} AND event_time >= ${timeSql(fromMs)} AND event_time < ${timeSql(toMs)} AND ${behind}
    ORDER BY ${READING_KEY_SQL} LIMIT ${limit + 1})`
  return (await cellsOf(connection, sql, profile)).map(row => ({ key: keyOf(row), row })).sort((a, b) => compareKeys(a.key, b.key))
}

function keySql([eventTimeMs, epoch, seq, eventId, ingestMs]: ReadingKey): string {
  return `${timeSql(eventTimeMs)}, ${epoch}, ${seq}, ${quoteText(eventId)}, ${timeSql(ingestMs)}`
}

function keyOf({ event_time: time, epoch, seq, event_id: eventId, ingest_time: ingest }: FeatureCells): ReadingKey {
  return [Number(time), Number(epoch ?? 0), Number(seq ?? 0), String(eventId ?? ''), Number(ingest)]
}

/** Only the metrics that were asked for; one that the reading's profile does not have is null. */
function chosen(row: FeatureCells, metrics: readonly string[] | null): FeatureCells {
  if (metrics === null) {
    const { device_id: _, ...rest } = row
    return rest
  }
  return Object.fromEntries(['profile', ...BASE_COLUMNS, ...metrics].map(name => [name, row[name] ?? null]))
}
