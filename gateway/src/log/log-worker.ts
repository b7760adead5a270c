/** The log's single writer: a worker, so that no event loop waits for fsync. It stamps ingest times and appends the ticks. */
import { parentPort, workerData } from 'node:worker_threads'
import { crashPoint } from '../crash-point.js'
import { threadId } from '../thread-priority.js'
import { packFrame } from './frames.js'
import { type IngestClock, ingestClock } from './ingest-clock.js'
import type { FromLogWorker, ToLogWorker } from './messages.js'
import { SqliteLog } from './sqlite-log.js'

const TICK_MS = 1000

/** Entries deleted in one transaction: few enough that appends do not wait for it. */
const TRUNCATED_AT_ONCE = 32

const port = parentPort!
const post = (message: FromLogWorker) => port.postMessage(message)
const tick = packFrame('tick', '', new Uint8Array(0))

try {
  const nowMs = ingestClock(process.env.TIDEMARK_CLOCK_FILE)
  serve(new SqliteLog(workerData.path as string), nowMs)
} catch (error) {
  post({ type: 'failed-to-open', message: messageOf(error) })
}

function serve(log: SqliteLog, nowMs: IngestClock): void {
  const ticking = setInterval(() => {
    try {
      post({ type: 'ticked', entry: log.append(tick, nowMs()) })
    } catch {
      // the next append reports what is wrong; time goes on with the next tick
    }
  }, TICK_MS)

  const truncate = (throughEntry: number): void => {
    try {
      if (log.truncate(throughEntry, TRUNCATED_AT_ONCE)) setImmediate(truncate, throughEntry)
    } catch {
      // a log that cannot shrink is still a log; the next snapshot tries again
    }
  }

  port.on('message', (message: ToLogWorker) => {
    switch (message.type) {
      case 'append':
        try {
          const entry = log.append(message.frames, nowMs())
          crashPoint('append')
          post({ type: 'appended', wave: message.wave, entry, bytes: message.frames.length })
        } catch (error) {
          post({ type: 'refused', wave: message.wave, message: messageOf(error) })
        }
        return
      case 'truncate':
        truncate(message.throughEntry)
        return
      case 'close':
        clearInterval(ticking)
        log.close()
        post({ type: 'closed' })
        port.close()
        return
      default:
        message satisfies never
    }
  })
  post({ type: 'open', lastEntry: log.lastEntry, thread: threadId() })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
