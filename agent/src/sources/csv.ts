/**
 * Replays a recording. Every row takes a seq: times may repeat or run back. A value that cannot be read becomes null, a row whose
 * time cannot be read is shed with the reason `unreadable`; both are logged with their row and counted in `status`.
 * The position is the byte behind the last row given, so a restart reads nothing twice and skips nothing.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Profile } from '@tidemark/protocol'
import { CsvError, type Info, type Options, parse } from 'csv-parse'
import { ConfigError } from '../config-error.js'
import { READINGS_PER_COMMIT_MAX, ROW_BYTES_MAX, UNREADABLE_ROWS_AT_START_MAX } from '../limits.js'
import { monotonicMs } from '../monotonic.js'
import { didYouMean } from '../nearest.js'
import { RowCollector } from './csv-rows.js'
import { timeReader } from './csv-time.js'
import { waitUntil } from './pace.js'
import { type Source, SourceError, type SourceGroup } from './source.js'

export interface CsvConfig {
  /** Absolute. */
  readonly path: string
  readonly delimiter: string
  readonly decimal: '.' | ','
  readonly time: { readonly column: string; readonly zone: string; readonly format: string }
  /** Metric to column. A metric that is not named takes the column of its own name, if there is one. */
  readonly columns: Readonly<Record<string, string>>
  /** How much faster than recorded; `max`: as fast as the buffer takes it. */
  readonly speed: number | 'max'
}

interface Position {
  /** Where the next row begins. */
  readonly byte: number
  /** Rows before it. */
  readonly row: number
  /** Digest of the header row: another recording under the same name is noticed. */
  readonly header: string
}

interface Layout {
  readonly header: string
  /** Where the rows begin, in bytes. */
  readonly start: number
  readonly time: number
  /** Index of each metric's column; -1 where it has none. */
  readonly values: readonly number[]
}

interface ParsedRow {
  readonly record: readonly string[]
  readonly info: Info
}

/** Opens a recording. Throws a `ConfigError` where the file or its columns are not as configured. */
export async function openCsv(config: CsvConfig, profile: Profile): Promise<Source> {
  const layout = await readLayout(config, profile)
  const readTime = await timeReader(config.time.zone, config.time.format)
  const source = { config, profile, layout, readTime }
  return { live: false, key: `csv:${config.path}`, groups: (position, signal) => replay(source, position, signal) }
}

interface OpenCsv {
  readonly config: CsvConfig
  readonly profile: Profile
  readonly layout: Layout
  readonly readTime: (text: string) => number | null
}

async function* replay(
  { config, profile, layout, readTime }: OpenCsv,
  stored: string | null,
  signal: AbortSignal
): AsyncGenerator<SourceGroup> {
  const start = await startOf(config, layout, stored)
  const collector = new RowCollector(profile, layout.values, config.decimal)
  const due = config.speed === 'max' ? null : replayClock(config.speed)
  let { byte, row } = start
  let unreadableAtStart = row === 0
  const take = () => collector.take(JSON.stringify({ byte, row, header: layout.header } satisfies Position))
  try {
    for await (const { record, info } of rowsFrom(config, start.byte)) {
      const text = record[layout.time] ?? ''
      const eventTimeMs = readTime(text)
      const dueMs = due === null ? 0 : due(eventTimeMs)
      if (due !== null && dueMs > monotonicMs()) {
        if (collector.size > 0) yield take()
        if (!(await waitUntil(dueMs, signal))) return
      }
      if (signal.aborted) return
      byte = start.byte + info.bytes
      row++
      if (eventTimeMs === null) collector.addUnreadable(row, text)
      else collector.add(row, record, eventTimeMs)
      unreadableAtStart &&= eventTimeMs === null
      if (unreadableAtStart && row >= UNREADABLE_ROWS_AT_START_MAX) throw wrongTimes(config, text)
      if (collector.size >= READINGS_PER_COMMIT_MAX) yield take()
    }
  } catch (error) {
    if (error instanceof SourceError && collector.size > 0) yield take() // what was read before the fault
    throw error
  }
  if (unreadableAtStart && row > 0) throw wrongTimes(config, '')
  if (collector.size > 0) yield take()
}

/** When each row is due on the monotonic clock. A step back in the recording takes no time. */
function replayClock(speed: number): (eventTimeMs: number | null) => number {
  let dueMs = monotonicMs()
  let lastMs: number | null = null
  return eventTimeMs => {
    if (eventTimeMs === null) return dueMs
    if (lastMs !== null) dueMs += Math.max(0, eventTimeMs - lastMs) / speed
    lastMs = eventTimeMs
    return dueMs
  }
}

async function startOf(config: CsvConfig, layout: Layout, stored: string | null): Promise<{ byte: number; row: number }> {
  if (stored === null) return { byte: layout.start, row: 0 }
  const position: Position = JSON.parse(stored)
  const { size } = await stat(config.path)
  if (position.header !== layout.header || size < position.byte) {
    throw new ConfigError(
      `${config.path} is not the recording that was read up to byte ${position.byte}: give the new one another name, or a new buffer`
    )
  }
  return position
}

async function readLayout(config: CsvConfig, profile: Profile): Promise<Layout> {
  for await (const { record, info } of rowsFrom(config, 0, { bom: true, to: 1 })) {
    const header = createHash('sha256').update(record.join('\n')).digest('hex').slice(0, 16)
    return {
      header,
      start: info.bytes,
      time: columnIndex(config, record, config.time.column),
      values: metricColumns(config, profile, record)
    }
  }
  throw new ConfigError(`${config.path} is empty: its first row must name the columns`)
}

function metricColumns(config: CsvConfig, profile: Profile, header: readonly string[]): number[] {
  const metrics = profile.metrics.map(metric => metric.name)
  for (const name of Object.keys(config.columns)) {
    if (!metrics.includes(name))
      throw new ConfigError(`source.columns: profile ${profile.name} has no metric "${name}"${didYouMean(name, metrics)}`)
  }
  const columns = profile.metrics.map(({ name }) => {
    const column = config.columns[name]
    return column === undefined ? header.indexOf(name) : columnIndex(config, header, column)
  })
  const absent = profile.metrics.find((metric, m) => metric.required && columns[m] < 0)
  if (absent !== undefined) throw new ConfigError(`source.columns: the profile requires ${absent.name}: say which column it is`)
  if (columns.every(column => column < 0))
    throw new ConfigError(`source.columns: no metric of profile ${profile.name} has a column in ${config.path}`)
  return columns
}

function columnIndex(config: CsvConfig, header: readonly string[], column: string): number {
  const index = header.indexOf(column)
  if (index >= 0) return index
  const hint = header.length === 1 ? `; it has one column, so check source.delimiter` : didYouMean(column, header)
  throw new ConfigError(`${config.path} has no column "${column}"${hint}`)
}

/** The rows from a byte on, with the bytes that were read up to the end of each. */
async function* rowsFrom(config: CsvConfig, byte: number, options: Options = {}): AsyncGenerator<ParsedRow> {
  const file = createReadStream(config.path, { start: byte })
  const parser = parse({
    delimiter: config.delimiter,
    record_delimiter: ['\r\n', '\n'],
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
    max_record_size: ROW_BYTES_MAX,
    info: true,
    ...options
  })
  file.on('error', error => parser.destroy(error))
  file.pipe(parser)
  const rows: AsyncIterable<ParsedRow> = parser
  try {
    yield* rows
  } catch (error) {
    throw readError(config.path, error)
  } finally {
    file.destroy()
  }
}

function readError(path: string, error: unknown): Error {
  if (error instanceof CsvError) return new SourceError(`cannot read ${path}: ${error.message}`, { cause: error })
  const code = error instanceof Error && 'code' in error ? error.code : ''
  if (code === 'ENOENT') return new ConfigError(`source.path: there is no file ${path}`)
  if (code === 'EACCES' || code === 'EISDIR')
    return new ConfigError(`source.path: ${path} cannot be read: check its owner and that it is a file`)
  return new SourceError(`cannot read ${path}: ${error instanceof Error ? error.message : error}`, { cause: error })
}

function wrongTimes(config: CsvConfig, text: string): ConfigError {
  const { column, format } = config.time
  const expected = format === 'auto' ? 'ISO 8601 (2026-11-24 13:00:00, with or without zone) or Unix ms' : format
  return new ConfigError(
    `no row of ${config.path} has a time that can be read in column "${column}" ("${text}" is not ${expected}): check source.time`
  )
}
