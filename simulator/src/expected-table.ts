/** Puts what the oracle expects into tables of DuckDB: blocks of columns become data chunks, never rows. */
import { DOUBLE, type DuckDBConnection, DuckDBDataChunk, type DuckDBType, INTEGER, VARCHAR } from '@duckdb/node-api'
import { type Device, deviceOf, PROFILE, type RunPlan } from './device.js'
import { BLOCK_ROWS } from './limits.js'
import { NUMERIC_METRICS } from './machine.js'
import type { OracleBlock } from './oracle.js'

/** The numeric metrics' names, in the order of `OracleBlock.metrics`. */
export const NUMERIC_NAMES = PROFILE.metrics.slice(0, NUMERIC_METRICS).map(metric => metric.name)

/** A null metric is NaN there. Whole numbers are doubles: exact, and as typed arrays come. */
const EXPECTED_TYPES: readonly DuckDBType[] = [INTEGER, DOUBLE, DOUBLE, INTEGER, ...NUMERIC_NAMES.map(() => DOUBLE)]
const DEVICE_TYPES: readonly DuckDBType[] = [INTEGER, VARCHAR, DOUBLE, VARCHAR]

/** Creates the empty tables `devices` and `expected`, in place of older ones. */
export async function createTables(connection: DuckDBConnection): Promise<void> {
  await connection.run('CREATE OR REPLACE TABLE devices (device INTEGER, device_id VARCHAR, epoch DOUBLE, location VARCHAR)')
  const metrics = NUMERIC_NAMES.map(name => `${name} DOUBLE`).join(', ')
  await connection.run(`CREATE OR REPLACE TABLE expected (device INTEGER, seq DOUBLE, event_time_ms DOUBLE, fate INTEGER, ${metrics})`)
}

/** Fills `devices` with those of indices [firstDevice, endDevice). */
export async function appendDevices(connection: DuckDBConnection, plan: RunPlan, firstDevice: number, endDevice: number): Promise<void> {
  const appender = await connection.createAppender('devices')
  for (let from = firstDevice; from < endDevice; from += BLOCK_ROWS) {
    const devices: Device[] = []
    for (let index = from; index < Math.min(endDevice, from + BLOCK_ROWS); index++) devices.push(deviceOf(plan, index))
    const chunk = DuckDBDataChunk.create(DEVICE_TYPES, devices.length)
    chunk.setColumns([
      devices.map(device => device.index),
      devices.map(device => device.id),
      devices.map(device => device.epoch),
      devices.map(device => device.machine.location)
    ])
    appender.appendDataChunk(chunk)
  }
  appender.closeSync()
}

/** Fills `expected`, and returns what the blocks say beside their rows. */
export async function appendExpected(
  connection: DuckDBConnection,
  blocks: Iterable<OracleBlock>
): Promise<{ undecodable: number; late: number }> {
  const appender = await connection.createAppender('expected')
  const sums = { undecodable: 0, late: 0 }
  for (const block of blocks) {
    const chunk = DuckDBDataChunk.create(EXPECTED_TYPES, block.rows)
    const columns = [block.devices, block.seqs, block.eventTimesMs, block.fates, ...block.metrics]
    for (const [c, values] of columns.entries()) {
      const vector = chunk.getColumnVector(c)
      numbersOf(vector).set(values.subarray(0, block.rows))
      vector.flush()
    }
    appender.appendDataChunk(chunk)
    sums.undecodable += block.undecodable
    sums.late += block.late
  }
  appender.closeSync()
  return sums
}

/** The array behind a vector of doubles or integers. */
function numbersOf(vector: ReturnType<DuckDBDataChunk['getColumnVector']>): Float64Array | Int32Array {
  const items: unknown = 'items' in vector ? vector.items : null
  if (items instanceof Float64Array || items instanceof Int32Array) return items
  throw new Error(`a vector of ${vector.type} has no array of numbers`)
}
