import { parentPort, workerData } from 'node:worker_threads'
import { type Logger, schedule } from 'node-cron'
import { Catalog } from '../archive/catalog.js'
import { dataPaths } from '../archive/paths.js'
import type { FromMaintenance, MaintenanceStats, MaintenanceWorkerData, ToMaintenance } from './messages.js'
import { type PassResult, runPass } from './pass.js'

/**
 * The thread that keeps the archive in order: a pass at the start, which makes up for those that were missed while the gateway was
 * down, then as cron says, never two at once. Its DuckDB and its connection to the catalog are its own: flushes wait for neither.
 */

if (parentPort === null) throw new Error('maintenance-worker.js is a worker thread')
const port = parentPort
const { dataDir, config } = workerData as MaintenanceWorkerData
const paths = dataPaths(dataDir)
const catalog = Catalog.open(paths.catalog)
const stop = new AbortController()

const stats: { -readonly [name in keyof MaintenanceStats]: number } = {
  compactions: 0,
  filesBefore: 0,
  filesAfter: 0,
  bytesBefore: 0,
  bytesAfter: 0,
  rows: 0,
  expiredFiles: 0,
  expiredRows: 0,
  deleted: 0,
  waiting: 0,
  passes: 0,
  failures: 0
}

const post = (message: FromMaintenance) => port.postMessage(message)
const log = (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields: object = {}) =>
  post({ type: 'log', level, message, fields })
const cronLogger: Logger = {
  info: message => log('info', message),
  warn: message => log('warn', message),
  error: message => log('error', String(message)),
  debug: message => log('debug', String(message))
}

let underWay: Promise<void> | null = null

/** Runs a pass, or waits for the one that is under way. */
function pass(): Promise<void> {
  underWay ??= onePass().finally(() => {
    underWay = null
  })
  return underWay
}

async function onePass(): Promise<void> {
  const startedMs = performance.now()
  try {
    const result = await runPass({ paths, catalog, policy: config.policy, nowMs: Date.now, signal: stop.signal })
    note(result, Math.round(performance.now() - startedMs))
  } catch (error) {
    stats.failures++
    log('error', 'maintenance of the archive failed; the next pass tries again', { error: String(error) })
  }
  stats.passes++
  post({ type: 'stats', stats: { ...stats } })
}

function note(result: PassResult, milliseconds: number): void {
  const { waiting, failures, stopped, ...totals } = result
  for (const [name, count] of Object.entries(totals) as [keyof typeof totals, number][]) stats[name] += count
  stats.waiting = waiting
  stats.failures += failures.length
  for (const failure of failures)
    log('warn', 'an hour of the archive could not be maintained; the next pass tries again', { error: failure })
  if (totals.compactions + totals.expiredFiles + totals.deleted > 0)
    log('info', 'archive maintained', { ...totals, waiting, stopped, milliseconds })
}

// pass() itself refuses a second one; noOverlap says so in the log.
const task = schedule(config.every, pass, { timezone: 'UTC', noOverlap: true, name: 'maintenance', logger: cronLogger })
void pass()

port.on('message', async (_message: ToMaintenance) => {
  await task.stop()
  stop.abort()
  await underWay
  catalog.close()
  post({ type: 'closed' })
  port.close()
})
