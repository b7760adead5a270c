/** Reads the archive for the HTTP API: a worker, so that neither the broker's event loop nor the processor waits for it. */
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { dataPaths } from '../archive/paths.js'
import { isVanishedFile, lock } from '../archive/views.js'
import { readAsOf } from './as-of-query.js'
import type { FromServing, Job, JobResult, ToServing } from './messages.js'
import { readReadings } from './readings-query.js'

/** DuckDB's memory for all answers under way; what exceeds it is spilled. */
const MEMORY = '256MiB'
const SPILL = '1GiB'

/** A query that takes longer than this, ms, is ended. */
const QUERY_MS_MAX = 15_000

const port = parentPort!
const post = (message: FromServing, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer)
const paths = dataPaths(workerData.dataDir as string)
let opening: Promise<DuckDBInstance> | null = null

async function openInstance(): Promise<DuckDBInstance> {
  const instance = await DuckDBInstance.create(':memory:', {
    threads: '1',
    memory_limit: MEMORY,
    temp_directory: join(paths.staging, 'serving'),
    max_temp_directory_size: SPILL
  })
  const connection = await instance.connect()
  await connection.run("SET GLOBAL TimeZone = 'UTC'")
  await lock(connection, paths)
  connection.closeSync()
  return instance
}

async function run(job: Job): Promise<JobResult<Job> | 'slow'> {
  opening ??= openInstance()
  const connection = await (await opening).connect()
  let isSlow = false
  const timer = setTimeout(() => {
    isSlow = true
    connection.interrupt()
  }, QUERY_MS_MAX)
  try {
    return await answer(connection, job)
  } catch (error) {
    if (isSlow) return 'slow'
    throw error
  } finally {
    clearTimeout(timer)
    connection.closeSync()
  }
}

function answer(connection: DuckDBConnection, job: Job): Promise<JobResult<Job>> {
  return job.job === 'readings' ? readReadings(connection, paths, job) : readAsOf(connection, paths, job)
}

port.on('message', async ({ id, job }: ToServing) => {
  try {
    const result = await run(job)
    if (result === 'slow') post({ id, failure: 'slow' })
    else post({ id, result }, result instanceof Uint8Array ? [result.buffer] : [])
  } catch (error) {
    if (!(error instanceof Error)) throw error
    post(isVanishedFile(error, paths.root) ? { id, failure: 'vanished' } : { id, failure: 'failed', message: error.stack ?? error.message })
  }
})
