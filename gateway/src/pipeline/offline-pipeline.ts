/**
 * Lets a stopped gateway's log and archive come to a boundary, as a gateway would: processes what the log holds beyond the archive, appends
 * a control frame, and makes what repairs are ordered then. The data folder's lock is the caller's.
 */
import { join } from 'node:path'
import { type Logger, pino } from 'pino'
import { appendControl } from '../gateway.js'
import { LogClient } from '../log/log-client.js'
import type { Control } from '../processor/control.js'
import { PipelineClient, type PipelineEvents } from './pipeline-client.js'

export type OfflineEvents = Pick<PipelineEvents, 'onRepaired' | 'onRepairProgress'> & { warn(message: string): void }

export async function comeToBoundary(dataDir: string, control: Control, { warn, ...events }: OfflineEvents): Promise<void> {
  const failure: { fail(error: Error): void } = { fail: () => {} }
  const failed = new Promise<never>((_, reject) => (failure.fail = reject))
  failed.catch(() => {})
  const log = await LogClient.open(join(dataDir, 'log.sqlite'))
  let pipeline: PipelineClient | null = null
  try {
    log.onFailure(failure.fail)
    pipeline = await PipelineClient.open(
      { dataDir, lastEntry: log.lastEntry, drain: null },
      {
        onNotices: () => {},
        onStats: () => {},
        onTruncate: throughEntry => log.truncate(throughEntry),
        onFailure: failure.fail,
        ...events
      },
      warnings(warn)
    )
    const follow = pipeline
    log.onEntry = entry => follow.noteEntry(entry)
    const work = async () => {
      await follow.drain(await appendControl(log, control))
      await follow.repairsSettled()
    }
    await Promise.race([work(), failed])
    await pipeline.close()
    await log.close()
  } catch (error) {
    await pipeline?.terminate()
    throw error
  }
}

/** A logger that says what a person must know, and nothing else. */
function warnings(warn: (message: string) => void): Logger {
  return pino(
    { level: 'warn', base: null },
    {
      write: line => {
        warn((JSON.parse(line) as { msg: string }).msg)
      }
    }
  )
}
