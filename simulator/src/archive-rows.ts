/** Reads what an archive holds of a run's devices, by DuckDB: a stream of chunks of columns, in whatever order they come. */
import { join } from 'node:path'
import { BIGINT, type DuckDBConnection, DuckDBDataChunk, type DuckDBType, INTEGER, VARCHAR } from '@duckdb/node-api'
import { deviceId, deviceOf, PROFILE, type RunPlan } from './device.js'
import { CHUNK_ROWS } from './limits.js'
import { NUMERIC_METRICS } from './machine.js'
import { FATES } from './oracle.js'

/** Rows of processed/, one element each in every column. */
export interface ArchivedRows {
  readonly rows: number
  /** Of the run, from 0. */
  readonly devices: Int32Array
  readonly seqs: Float64Array
  readonly eventTimesMs: Float64Array
  /** 1 or 0. */
  readonly late: Int32Array
  /** 1: the location is that of the device. */
  readonly hasLocation: Int32Array
  /** In the order of the profile. Null is NaN, and NaN is Infinity: no reading has one. */
  readonly metrics: readonly Float64Array[]
}

export interface QuarantinedRows {
  readonly rows: number
  readonly devices: Int32Array
  readonly seqs: Float64Array
  /** Codes of `FATES`; -1 for any other reason. */
  readonly fates: Int32Array
}

const DEVICE_TYPES: readonly DuckDBType[] = [INTEGER, VARCHAR, BIGINT, VARCHAR]

/** Makes the table `devices` of a run: what tells its rows from those of other devices and runs. */
export async function createDevices(connection: DuckDBConnection, plan: RunPlan): Promise<void> {
  await connection.run('CREATE TABLE devices (device INTEGER, device_id VARCHAR, epoch BIGINT, location VARCHAR)')
  const appender = await connection.createAppender('devices')
  for (let from = 0; from < plan.devices; from += CHUNK_ROWS) {
    const count = Math.min(CHUNK_ROWS, plan.devices - from)
    const devices = Array.from({ length: count }, (_, n) => deviceOf(plan, plan.firstDevice + from + n))
    const chunk = DuckDBDataChunk.create(DEVICE_TYPES, count)
    chunk.setColumns([
      devices.map(({ index }) => index - plan.firstDevice),
      devices.map(({ id }) => id),
      devices.map(({ epoch }) => BigInt(epoch)),
      devices.map(({ machine }) => machine.location)
    ])
    appender.appendDataChunk(chunk)
  }
  appender.closeSync()
}

/** The rows of processed/ that belong to the run. */
export async function* archivedRows(connection: DuckDBConnection, archiveDir: string, plan: RunPlan): AsyncGenerator<ArchivedRows> {
  const source = await sourceOf(connection, join(archiveDir, 'processed', PROFILE.name))
  if (source === null) return
  const metrics = PROFILE.metrics
    .slice(0, NUMERIC_METRICS)
    .map(({ name }) => `CASE WHEN r.${name} IS NULL THEN 'nan' WHEN isnan(r.${name}::DOUBLE) THEN 'infinity' ELSE r.${name}::DOUBLE END`)
  const columns = `r.seq::DOUBLE, epoch_us(r.event_time) / 1000, r.late::INTEGER, (r.location IS NOT DISTINCT FROM d.location)::INTEGER`
  const sql = `SELECT d.device, ${columns}, ${metrics.join(', ')} FROM ${source} r JOIN devices d USING (device_id, epoch) WHERE ${idsOf(plan)}`
  for await (const [rows, arrays] of chunksOf(connection, sql)) {
    const [devices, seqs, eventTimesMs, late, hasLocation, ...values] = arrays
    if (!(devices instanceof Int32Array && late instanceof Int32Array && hasLocation instanceof Int32Array))
      throw new Error('columns are mixed up')
    yield { rows, devices, late, hasLocation, seqs: doubles(seqs), eventTimesMs: doubles(eventTimesMs), metrics: values.map(doubles) }
  }
}

/** The quarantined readings that belong to the run. */
export async function* quarantinedRows(connection: DuckDBConnection, archiveDir: string, plan: RunPlan): AsyncGenerator<QuarantinedRows> {
  const source = await sourceOf(connection, join(archiveDir, 'quarantine'))
  if (source === null) return
  const fate = `CASE r.reason ${FATES.flatMap((reason, code) => (reason === null ? [] : [`WHEN '${reason}' THEN ${code}`])).join(' ')} ELSE -1 END`
  const sql = `SELECT d.device, r.seq::DOUBLE, (${fate})::INTEGER FROM ${source} r JOIN devices d USING (device_id, epoch) WHERE r.accounted AND ${idsOf(plan)}`
  for await (const [rows, [devices, seqs, fates]] of chunksOf(connection, sql)) {
    if (!(devices instanceof Int32Array && fates instanceof Int32Array)) throw new Error('columns are mixed up')
    yield { rows, devices, fates, seqs: doubles(seqs) }
  }
}

/** Undecodable messages of the run's devices. They have no epoch, so those of other runs are among them. */
export async function countUndecodable(connection: DuckDBConnection, archiveDir: string, plan: RunPlan): Promise<number> {
  const source = await sourceOf(connection, join(archiveDir, 'quarantine'))
  if (source === null) return 0
  const reader = await connection.runAndReadAll(`SELECT count(*) FROM ${source} r WHERE r.reason = 'undecodable' AND ${idsOf(plan)}`)
  return Number(reader.getRows()[0][0])
}

/** Lets DuckDB skip what belongs to other devices: files are sorted by device ID. */
function idsOf({ firstDevice, devices }: RunPlan): string {
  return `r.device_id BETWEEN '${deviceId(firstDevice)}' AND '${deviceId(firstDevice + devices - 1)}'`
}

/** SQL for the rows of all Parquet files in a folder and its partitions; null where there is none. */
async function sourceOf(connection: DuckDBConnection, dir: string): Promise<string | null> {
  const glob = `'${join(dir, '**', '*.parquet').replaceAll("'", "''")}'`
  const reader = await connection.runAndReadAll(`SELECT count(*) FROM glob(${glob})`)
  return Number(reader.getRows()[0][0]) === 0 ? null : `read_parquet(${glob}, union_by_name = true, hive_partitioning = false)`
}

/** The columns of a query of INTEGER and DOUBLE columns without nulls, chunk by chunk. */
async function* chunksOf(connection: DuckDBConnection, sql: string): AsyncGenerator<[number, (Int32Array | Float64Array)[]]> {
  const result = await connection.stream(sql)
  const columns = result.columnCount
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) return
    yield [chunk.rowCount, Array.from({ length: columns }, (_, c) => numbersOf(chunk.getColumnVector(c)))]
  }
}

/** The array behind a vector of doubles or integers. */
function numbersOf(vector: ReturnType<DuckDBDataChunk['getColumnVector']>): Int32Array | Float64Array {
  const items: unknown = 'items' in vector ? vector.items : null
  if (items instanceof Float64Array || items instanceof Int32Array) return items
  throw new Error(`a vector of ${vector.type} has no array of numbers`)
}

function doubles(values: Int32Array | Float64Array): Float64Array {
  if (values instanceof Float64Array) return values
  throw new Error('a column of integers stands where doubles should')
}
