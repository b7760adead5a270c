/**
 * The features of a profile as SQL over readings, made from the plan that the processor computes by: the same rows, windows and
 * formulas, but every window read whole where the processor merges panes. Set-based: one statement makes the rows of a batch of
 * devices and hours, however many. It knows columns and tables, no files.
 *
 *   pieces    piece, device_id, since_ms, through_ms      a device's stretch of event time (since, through] to be read
 *   ranges    piece, from_ms, through_ms                  rows as of (from, through] to be made
 *   readings  piece, t, place, m0, m1, …                  made by `readingsSql`
 *   computed  device_id, as_of_ms, event_count, coverage, features, flags     made by `computedSql`
 */
import { quoteName, quoteText } from '../archive/parquet.js'
import type { FeaturePlan, FlagPlan, Plan } from '../processor/feature-plan.js'

export const TABLES = `
  CREATE OR REPLACE TABLE pieces (piece INTEGER, device_id VARCHAR, since_ms BIGINT, through_ms BIGINT);
  CREATE OR REPLACE TABLE ranges (piece INTEGER, from_ms BIGINT, through_ms BIGINT);
`

/** How far behind its own as_of a row's longest window may begin, ms: a row needs the readings of (as_of - reach, as_of]. */
export function readBackMs(plan: Plan): number {
  return Math.max(...plan.tables.map(({ windowMs, hopMs }) => windowMs + hopMs))
}

/** Makes `readings` of the pieces, from what `scan` selects: rows of processed/ of the profile, of any of its versions. */
export function readingsSql(plan: Plan, scan: string): string {
  const metrics = metricsUsed(plan)
  const names = metrics.map(m => quoteName(plan.profile.metrics[m].name))
  // A version that did not have a metric yet has no column of it.
  const absent = ['epoch', 'seq', 'event_id', ...names].map(name => `NULL AS ${name}`).join(', ')
  const values = metrics.map((m, k) => `TRY_CAST(r.${names[k]} AS DOUBLE) AS m${m}`)
  const order = 'r.event_time, coalesce(r.epoch, 0), coalesce(r.seq, 0), r.ingest_time, r.event_id'
  return `CREATE OR REPLACE TABLE readings AS
    SELECT piece, epoch_ms(r.event_time) AS t, row_number() OVER (PARTITION BY piece ORDER BY ${order}) AS place${values.map(v => `, ${v}`).join('')}
    FROM (SELECT ${absent} WHERE false UNION ALL BY NAME ${scan}) AS r JOIN pieces AS p ON r.device_id = p.device_id
      AND r.event_time > make_timestamptz(p.since_ms * 1000) AND r.event_time <= make_timestamptz(p.through_ms * 1000)`
}

/** Makes `computed`: a row for each hop of the ranges that holds a reading. */
export function computedSql(plan: Plan): string {
  const longest = `coalesce(${windowName(plan.longest)}.readings, 0)`
  const expected = plan.windows[plan.longest].windowMs / plan.intervalMs
  const joins = plan.windows.map(({ table }, w) => {
    const name = windowName(w)
    return `LEFT JOIN ${name} ON ${name}.piece = hops.piece AND ${name}.window_end = ${lastMultiple('as_of_ms', plan.tables[table].hopMs)}`
  })
  const features = plan.features.map((feature, f) => `${featureSql(plan, feature, f)} AS ${quoteName(feature.name)}`)
  const flags = plan.flags.map(flag => `${flagSql(plan, flag)} AS ${quoteName(flag.spec.name)}`)
  const withFeatures = ['device_id', 'as_of_ms', 'event_count', `${longest} / ${double(expected)} AS coverage`, 'extremes', ...features]
  return `CREATE OR REPLACE TABLE computed AS WITH
    ${lagSql(plan)}
    hops AS (${hopsSql(plan)}),
    ${plan.windows.map((_, w) => `${windowName(w)} AS (${windowSql(plan, w)})`).join(',\n')},
    featured AS (SELECT ${withFeatures.join(', ')} FROM hops JOIN pieces ON pieces.piece = hops.piece ${joins.join(' ')})
    SELECT * EXCLUDE (extremes)${flags.map(flag => `, ${flag}`).join('')} FROM featured`
}

/** Places of the metrics that features or flags look at. */
function metricsUsed(plan: Plan): number[] {
  return [...new Set(plan.tables.flatMap(({ accumulators }) => accumulators.map(({ metric }) => metric)))].sort((a, b) => a - b)
}

function metricOf(plan: Plan, { window, place }: FeaturePlan): number {
  return plan.windows[window].accumulators[place].metric
}

function windowName(window: number): string {
  return `w_${window}`
}

/** Metrics whose last two values count; with each of their values, the one before it. */
function metricsWithLast(plan: Plan): number[] {
  const features = plan.features.filter(({ aggregate }) => aggregate === 'last' || aggregate === 'rate')
  return [...new Set(features.map(feature => metricOf(plan, feature)))]
}

function lagSql(plan: Plan): string {
  const metrics = metricsWithLast(plan)
  if (metrics.length === 0) return 'sources AS (SELECT * FROM readings),'
  const before = 'OVER (PARTITION BY piece ORDER BY place)'
  const lasts = metrics.map(m => {
    const time = `CASE WHEN m${m} IS NOT NULL THEN t END`
    return `{v: m${m}, t: t, v_before: lag(m${m} IGNORE NULLS) ${before}, t_before: lag(${time} IGNORE NULLS) ${before}} AS last${m}`
  })
  return `sources AS (SELECT *, ${lasts.join(', ')} FROM readings),`
}

/** The hops that hold a reading, each by its end; with the least and the greatest value of each flag's metric. */
function hopsSql(plan: Plan): string {
  const metrics = flagMetrics(plan)
  const extremes = metrics.map(m => `min_${m}: min(m${m}), max_${m}: max(m${m})`)
  const asOf = `((t + ${plan.hopMs - 1}) // ${plan.hopMs}) * ${plan.hopMs}`
  return `SELECT piece, as_of_ms, count(*) AS event_count, ${metrics.length > 0 ? `{${extremes.join(', ')}}` : 'NULL'} AS extremes
    FROM (SELECT *, ${asOf} AS as_of_ms FROM readings) JOIN ranges USING (piece)
    WHERE as_of_ms > ranges.from_ms AND as_of_ms <= ranges.through_ms GROUP BY piece, as_of_ms`
}

function flagMetrics(plan: Plan): number[] {
  return [...new Set(plan.flags.map(({ accumulator }) => accumulator.metric))]
}

/**
 * All aggregates over one size of window, (end - size, end]. A window lies in two of the stretches that are numbered by
 * t // size: joining by that number spares DuckDB from trying every reading of a piece with every window.
 */
function windowSql(plan: Plan, window: number): string {
  const { table, windowMs } = plan.windows[window]
  const aggregates = plan.features.flatMap((feature, f) => (feature.window === window ? [`${aggregateSql(plan, feature)} AS f${f}`] : []))
  return `SELECT ends.piece, window_end, ${['count(*) AS readings', ...aggregates].join(', ')}
    FROM (SELECT *, unnest([window_end // ${windowMs}, window_end // ${windowMs} - 1]) AS stretch
      FROM (SELECT DISTINCT piece, ${lastMultiple('as_of_ms', plan.tables[table].hopMs)} AS window_end FROM hops)) AS ends
    JOIN sources ON sources.piece = ends.piece AND t // ${windowMs} = stretch AND t > window_end - ${windowMs} AND t <= window_end
    GROUP BY ends.piece, window_end`
}

function aggregateSql(plan: Plan, feature: FeaturePlan): string {
  const m = metricOf(plan, feature)
  switch (feature.aggregate) {
    case 'mean':
      return `avg(m${m})`
    case 'std':
      return `stddev_samp(m${m})`
    case 'range':
      return `max(m${m}) - min(m${m})`
    case 'min':
    case 'max':
    case 'sum':
    case 'count':
      return `${feature.aggregate}(m${m})`
    case 'last':
    case 'rate':
      return `arg_max(last${m}, place) FILTER (m${m} IS NOT NULL)`
    default:
      return feature.aggregate satisfies never
  }
}

/** A feature out of the window that its aggregate was made over. */
function featureSql(plan: Plan, { aggregate, window, perMs }: FeaturePlan, f: number): string {
  const { windowMs } = plan.windows[window]
  const name = windowName(window)
  const made = `${name}.f${f}`
  if (aggregate === 'count') return `coalesce(${made}, 0)`
  if (aggregate === 'last') return `${made}.v`
  if (aggregate !== 'rate') return made
  const elapsed = `nullif(${made}.t - ${made}.t_before, 0)`
  const rate = `(${made}.v - ${made}.v_before) / ${elapsed} * ${double(perMs)}`
  return `CASE WHEN ${made}.t_before > ${name}.window_end - ${windowMs} THEN ${rate} END`
}

/** Null where an operand or the hop's metric is undefined: SQL's comparisons with null are null. */
function flagSql(plan: Plan, { spec, accumulator, operands }: FlagPlan): string {
  const m = accumulator.metric
  const [least, greatest] = [`extremes.min_${m}`, `extremes.max_${m}`]
  const [first, second] = operands.map(operand => `featured.${quoteName(plan.features[operand].name)}`)
  if (spec.flag === 'exceeds') return `${greatest} > ${double(spec.factor)} * ${first}`
  const deviation = `greatest(${greatest} - ${first}, ${first} - ${least})`
  const isFar = `${deviation} > ${double(spec.factor)} * ${second} AND ${deviation} > 1e-9 * greatest(1e0, abs(${first}))`
  return `CASE WHEN ${least} IS NOT NULL AND ${first} IS NOT NULL AND ${second} IS NOT NULL THEN ${isFar} END`
}

/** The latest multiple of `hopMs` at or before a time of 1970 or later. */
function lastMultiple(timeMs: string, hopMs: number): string {
  return `(${timeMs} // ${hopMs}) * ${hopMs}`
}

/** A literal with a point would be a decimal. */
function double(value: number): string {
  return `${quoteText(String(value))}::DOUBLE`
}
