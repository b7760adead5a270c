/**
 * Reads a recording for the comparison, by code of its own: the agent that is to be proved has no part in it. The k-th row
 * behind the header is the k-th reading. Its first column is the time; one without a zone is UTC.
 */
import { readFileSync } from 'node:fs'
import type { Metric, Profile, Value } from '@tidemark/protocol'
import { parse } from 'csv-parse/sync'
import { UsageError } from './replay-error.js'

export interface RecordedRow {
  /** Unix ms; null where the text is no time. */
  readonly eventTimeMs: number | null
  /** One a metric, in the profile's order, as recorded: not rounded to a resolution. */
  readonly values: readonly Value[]
}

export interface Recording {
  readonly path: string
  readonly delimiter: string
  readonly timeColumn: string
  /** Metric to column. */
  readonly columns: Readonly<Record<string, string>>
  readonly rows: readonly RecordedRow[]
}

const DELIMITERS = [',', ';', '\t']

/** Throws a `UsageError` where the file cannot be read or has no rows. */
export function readRecording(path: string, profile: Profile): Recording {
  const text = readText(path)
  const delimiter = delimiterOf(text.slice(0, text.search(/[\r\n]|$/)))
  const [header, ...records] = parse(text, { delimiter, bom: true, skip_empty_lines: true, relax_column_count: true }) as string[][]
  if (header === undefined || records.length === 0) throw new UsageError(`${path} has no rows: give a recording with --csv`)
  const metricColumns = mapColumns(profile, header.slice(1)).map(column => (column === null ? null : column + 1))
  const rows = records.map(record => ({
    eventTimeMs: readTime(record[0]),
    values: profile.metrics.map((metric, m) => {
      const column = metricColumns[m]
      return column === null ? null : readValue(record[column] ?? '', metric)
    })
  }))
  const named = profile.metrics.flatMap(({ name }, m) => (metricColumns[m] === null ? [] : [[name, header[metricColumns[m]]]]))
  return { path, delimiter, timeColumn: header[0], columns: Object.fromEntries(named), rows }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new UsageError(`cannot read ${path} (${(cause as NodeJS.ErrnoException).code}): give a recording with --csv`, { cause })
  }
}

/** The one that occurs most often in the header. */
function delimiterOf(header: string): string {
  const occurrences = DELIMITERS.map(delimiter => header.split(delimiter).length)
  return DELIMITERS[occurrences.indexOf(Math.max(...occurrences))]
}

/** By name where the names say all, whatever their case; else in order, which leaves out label columns at the end. */
function mapColumns(profile: Profile, columns: readonly string[]): (number | null)[] {
  const lower = columns.map(column => column.trim().toLowerCase())
  const byName = profile.metrics.map(metric => lower.indexOf(metric.name))
  const found = byName.filter(column => column >= 0).length
  const isByName = found > 0 && (found === profile.metrics.length || found === columns.length)
  return profile.metrics.map((_, m) => {
    const column = isByName ? byName[m] : m
    return column >= 0 && column < columns.length ? column : null
  })
}

const TIME = /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d(?:\.\d+)?)?))?\s?(Z|[+-]\d\d:\d\d)?$/

function readTime(text: string): number | null {
  const match = TIME.exec(text.trim())
  if (match === null) return null
  const [, date, time = '00:00:00', zone = 'Z'] = match
  const ms = Date.parse(`${date}T${time}${zone}`)
  return Number.isNaN(ms) ? null : ms
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i
const NOT_FINITE = /^[+-]?(nan|inf|infinity)$/i

/** Number(text) is the float64 that is nearest to the recorded decimal. What is no value of the metric's type is null. */
function readValue(text: string, metric: Metric): Value {
  if (metric.type === 'string') return text === '' ? null : text
  const trimmed = text.trim()
  if (metric.type === 'bool') return /^(true|1)$/i.test(trimmed) ? true : /^(false|0)$/i.test(trimmed) ? false : null
  if (NUMBER.test(trimmed)) return Number(trimmed)
  return NOT_FINITE.test(trimmed) ? Number.NaN : null
}
