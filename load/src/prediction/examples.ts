/**
 * Labels with features, three ways: as they were known at the label's time (a training set of the gateway), as they are known in the end,
 * and as they are known in the end with a look ahead. The two others are the joins that one writes without thinking of it, over the
 * archive's Parquet files as any reader finds them.
 */
import { join } from 'node:path'
import type { DuckDBConnection } from '@duckdb/node-api'
import { parquetBelow, queryRows, quoteName, quoteText } from '../replay/duckdb.js'
import { ReplayError } from '../replay/replay-error.js'
import type { Rows } from './model.js'

/** What all ways have in common, one element a label. */
export interface Labels {
  readonly deviceIds: readonly string[]
  readonly timesMs: Float64Array
  readonly labels: Uint8Array
  /** The device's next failure. */
  readonly failsMs: Float64Array
}

export interface Examples extends Labels {
  readonly features: readonly string[]
  readonly known: Rows
  readonly inTheEnd: Rows
  readonly lookingAhead: Rows
  /** Labels whose features in the end are newer than those that were known. */
  readonly newerInTheEnd: number
}

/** `trainingSet` is a Parquet file of `tidemark-gateway training-set`. `features` are those that both have. */
export async function readExamples(
  connection: DuckDBConnection,
  { trainingSet, archive, profile, features, aheadMs }: ExamplesRequest
): Promise<Examples> {
  const curated = await parquetBelow(connection, join(archive, 'curated', profile))
  if (curated === null) throw new ReplayError(`${archive} holds no features of ${profile}`)
  const number = (table: string) => features.map(name => `${table}.${quoteName(name)}::DOUBLE`).join(', ')
  await connection.run(`CREATE TABLE labelled AS SELECT row_number() OVER () AS n, * FROM ${quoteText(trainingSet)}`)
  await connection.run(`CREATE TABLE latest AS SELECT * FROM ${curated}
    QUALIFY row_number() OVER (PARTITION BY device_id, as_of ORDER BY revision DESC) = 1`)
  const leakSql = (ms: number, columns: string) => `SELECT ${columns} FROM labelled l ASOF LEFT JOIN latest f
    ON l.device_id = f.device_id AND l.label_time + to_milliseconds(${ms}) >= f.as_of ORDER BY n`
  const labels = await queryRows(connection, 'SELECT device_id, epoch_ms(label_time), label, epoch_ms(fails_at) FROM labelled ORDER BY n')
  const [[newer]] = await queryRows(
    connection,
    `SELECT count(*) FROM (${leakSql(0, 'l.as_of AS known_as_of, f.as_of, n')}) WHERE as_of > coalesce(known_as_of, '-infinity')`
  )
  return {
    features,
    deviceIds: labels.map(([id]) => String(id)),
    timesMs: Float64Array.from(labels, ([, time]) => Number(time)),
    labels: Uint8Array.from(labels, ([, , label]) => Number(label)),
    failsMs: Float64Array.from(labels, ([, , , time]) => Number(time)),
    known: await featureRows(connection, `SELECT ${number('l')} FROM labelled l ORDER BY n`),
    inTheEnd: await featureRows(connection, leakSql(0, number('f'))),
    lookingAhead: await featureRows(connection, leakSql(aheadMs, number('f'))),
    newerInTheEnd: Number(newer)
  }
}

export interface ExamplesRequest {
  readonly trainingSet: string
  /** The gateway's archive/. */
  readonly archive: string
  readonly profile: string
  readonly features: readonly string[]
  /** How far the third way looks beyond the label. */
  readonly aheadMs: number
}

/** Read by columns: a row of values each would take longer than the rest together. */
async function featureRows(connection: DuckDBConnection, sql: string): Promise<Float64Array[]> {
  const columns = (await connection.runAndReadAll(sql)).getColumns()
  return Array.from(columns[0], (_, r) => Float64Array.from(columns, column => (column[r] === null ? Number.NaN : Number(column[r]))))
}
