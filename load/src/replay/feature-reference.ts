/**
 * What a profile's features must be, by one DuckDB query over the recording: every window is read whole, nothing is merged from
 * slices. It shares no code with the processor; the formulas are those of the design (section 5):
 *
 * - a row as of each hop (as_of - hop, as_of] that holds a reading;
 * - a feature's window is (end - size, end], where end is the latest multiple of the feature's own hop at or before as_of;
 * - readings order by event time, then seq (there is one device and one epoch).
 */
import type { DuckDBConnection } from '@duckdb/node-api'
import { durationMs, type FeatureSpec, type Profile } from '@tidemark/protocol'
import { queryRows } from './duckdb.js'
import type { ExpectedRow } from './expectation.js'

export interface ReferenceFeature {
  /** null where it is undefined. */
  readonly value: number | null
  /** Of the metric over the same window; null where it holds no value. */
  readonly mean: number | null
}

export interface ReferenceRow {
  /** Unix ms. */
  readonly asOfMs: number
  readonly eventCount: number
  readonly coverage: number
  /** In the profile's order. */
  readonly features: readonly ReferenceFeature[]
  /** Of each flag's metric in the hop, in the profile's order; null where it holds no value. */
  readonly hopExtremes: readonly ({ readonly min: number; readonly max: number } | null)[]
}

/** Rows by as_of, ascending. */
export async function readReference(connection: DuckDBConnection, profile: Profile, rows: readonly ExpectedRow[]): Promise<ReferenceRow[]> {
  await loadRecording(connection, profile, rows)
  const longest = longestWindow(profile)
  const expectedReadings = longest.windowMs / durationMs(profile.interval)
  const results = await queryRows(connection, referenceSql(profile))
  return results.map(([asOf, eventCount, readingsInLongest, ...rest]) => {
    const numbers = rest as (number | null)[]
    const flagsAt = 2 * profile.features.length
    return {
      asOfMs: Number(asOf),
      eventCount: Number(eventCount),
      coverage: Number(readingsInLongest) / expectedReadings,
      features: profile.features.map((_, f) => ({ value: numbers[2 * f], mean: numbers[2 * f + 1] })),
      hopExtremes: profile.flags.map((_, g) => {
        const [min, max] = [numbers[flagsAt + 2 * g], numbers[flagsAt + 2 * g + 1]]
        return min === null || max === null ? null : { min, max }
      })
    }
  })
}

/** The table `recording`: place in the order, event time in Unix ms, and a column m0, m1, … a numeric metric. */
async function loadRecording(connection: DuckDBConnection, profile: Profile, rows: readonly ExpectedRow[]): Promise<void> {
  const numeric = profile.metrics.flatMap((metric, m) => (metric.type === 'string' ? [] : [m]))
  await connection.run(`CREATE OR REPLACE TABLE recording (place BIGINT, t BIGINT, ${numeric.map(m => `m${m} DOUBLE`).join(', ')})`)
  const appender = await connection.createAppender('recording')
  const archived = rows.filter(row => row.fate === 'archived')
  archived.sort((a, b) => a.eventTimeMs - b.eventTimeMs || a.seq - b.seq)
  for (const [place, { eventTimeMs, values }] of archived.entries()) {
    appender.appendBigInt(BigInt(place))
    appender.appendBigInt(BigInt(eventTimeMs))
    for (const m of numeric) {
      if (values[m] === null) appender.appendNull()
      else appender.appendDouble(Number(values[m]))
    }
    appender.endRow()
  }
  appender.closeSync()
}

interface Window {
  readonly windowMs: number
  readonly hopMs: number
}

function windowOf(profile: Profile, feature: FeatureSpec): Window {
  return { windowMs: durationMs(feature.window), hopMs: durationMs(feature.hop ?? profile.hop) }
}

/** The window that `coverage` speaks of: the longest; of equals the one with the profile's hop, then the first declared. */
function longestWindow(profile: Profile): Window {
  const rowHopMs = durationMs(profile.hop)
  const windows = [{ windowMs: rowHopMs, hopMs: rowHopMs }, ...profile.features.map(feature => windowOf(profile, feature))]
  windows.sort((a, b) => b.windowMs - a.windowMs || Number(b.hopMs === rowHopMs) - Number(a.hopMs === rowHopMs))
  return windows[0]
}

/** Columns: as_of, event_count, readings in the longest window; value and mean a feature; least and greatest a flag. */
export function referenceSql(profile: Profile): string {
  const metricOf = (name: string) => `m${profile.metrics.findIndex(metric => metric.name === name)}`
  const nameOf = ({ windowMs, hopMs }: Window) => `w_${windowMs}_${hopMs}`
  const longest = longestWindow(profile)
  // Features of one window are read from it together.
  const windows = new Map<string, Window & { aggregates: string[] }>([
    [nameOf(longest), { ...longest, aggregates: ['count(*) AS readings'] }]
  ])
  for (const [f, feature] of profile.features.entries()) {
    const window = windowOf(profile, feature)
    const metric = metricOf(feature.metric)
    const aggregates = windows.get(nameOf(window))?.aggregates ?? []
    aggregates.push(`${aggregateSql(feature, metric)} AS f${f}`, `avg(${metric}) AS f${f}_mean`)
    windows.set(nameOf(window), { ...window, aggregates })
  }
  const values = profile.features.flatMap((feature, f) => {
    const value = `${nameOf(windowOf(profile, feature))}.f${f}`
    return [feature.aggregate === 'count' ? `coalesce(${value}, 0)` : value, `${value}_mean`]
  })
  const flags = profile.flags.flatMap((_, g) => [`g${g}_min`, `g${g}_max`])
  const ctes = [
    `hops AS (${hopsSql(profile, metricOf)})`,
    ...[...windows].map(([name, window]) => `${name} AS (${windowSql(window, window.aggregates)})`)
  ]
  const joins = [...windows].map(([name, { hopMs }]) => `LEFT JOIN ${name} ON ${name}.window_end = ${lastMultiple('as_of', hopMs)}`)
  return `WITH ${ctes.join(',\n')}
SELECT ${['as_of', 'event_count', `coalesce(${nameOf(longest)}.readings, 0)`, ...values, ...flags].join(', ')}
FROM hops ${joins.join('\n')}
ORDER BY as_of`
}

/** The hops that hold a reading, each by its end. */
function hopsSql(profile: Profile, metricOf: (name: string) => string): string {
  const hopMs = durationMs(profile.hop)
  const extremes = profile.flags.flatMap(({ metric }, g) => [
    `min(${metricOf(metric)}) AS g${g}_min`,
    `max(${metricOf(metric)}) AS g${g}_max`
  ])
  return `SELECT ${lastMultiple(`t + ${hopMs - 1}`, hopMs)} AS as_of, ${['count(*) AS event_count', ...extremes].join(', ')} FROM recording GROUP BY as_of`
}

/**
 * Aggregates over the windows that end at a multiple of their hop and serve some row; none for a window without readings. A
 * window (end - size, end] lies in two of the stretches that are numbered by t // size: joining by their number spares DuckDB
 * from trying every reading with every window.
 */
function windowSql({ windowMs, hopMs }: Window, aggregates: readonly string[]): string {
  return `SELECT window_end, ${aggregates.join(', ')}
    FROM (SELECT *, unnest([window_end // ${windowMs}, window_end // ${windowMs} - 1]) AS stretch
      FROM (SELECT DISTINCT ${lastMultiple('as_of', hopMs)} AS window_end FROM hops))
    JOIN recording ON t // ${windowMs} = stretch AND t > window_end - ${windowMs} AND t <= window_end
    GROUP BY window_end`
}

/** The latest multiple of `hopMs` at or before a time of 1970 or later. */
function lastMultiple(timeMs: string, hopMs: number): string {
  return `((${timeMs}) // ${hopMs}) * ${hopMs}`
}

function aggregateSql(feature: FeatureSpec, metric: string): string {
  const lastTwo = `max_by({t: t, v: ${metric}}, place, 2) FILTER (${metric} IS NOT NULL)`
  switch (feature.aggregate) {
    case 'mean':
      return `avg(${metric})`
    case 'std':
      return `stddev_samp(${metric})`
    case 'min':
    case 'max':
    case 'sum':
      return `${feature.aggregate}(${metric})`
    case 'range':
      return `max(${metric}) - min(${metric})`
    case 'count':
      return `count(${metric})`
    case 'last':
      return `(${lastTwo})[1].v`
    case 'rate': {
      const [last, before] = [`(${lastTwo})[1]`, `(${lastTwo})[2]`]
      return `(${last}.v - ${before}.v) / nullif(${last}.t - ${before}.t, 0) * ${durationMs(feature.per)}`
    }
    default:
      return feature.aggregate satisfies never
  }
}
