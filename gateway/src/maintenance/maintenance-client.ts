/** The maintenance worker as the main thread sees it. That it fails stops nobody: the archive only becomes untidy, and the log says so. */
import { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import { youngGenerationOf } from '../heaps.js'
import type { FromMaintenance, MaintenanceStats, MaintenanceWorkerData, ToMaintenance } from './messages.js'

export class MaintenanceClient {
  /** Of this process; null before the first pass is through. */
  stats: MaintenanceStats | null = null
  private readonly worker: Worker
  private readonly ended: Promise<void>

  /** The archive must have been recovered before. */
  constructor(data: MaintenanceWorkerData, logger: Logger) {
    this.worker = new Worker(new URL('./maintenance-worker.js', import.meta.url), {
      workerData: data,
      name: 'maintenance',
      resourceLimits: youngGenerationOf()
    })
    this.worker.on('message', (message: FromMaintenance) => {
      if (message.type === 'log') logger[message.level](message.fields, message.message)
      else if (message.type === 'stats') this.stats = message.stats
    })
    this.worker.on('error', error => logger.error({ error: String(error) }, 'maintenance of the archive has ended until the next start'))
    this.ended = new Promise(resolve => this.worker.once('exit', () => resolve()))
  }

  /** Resolves once what is under way is dropped or done, and the worker has stopped. */
  async close(): Promise<void> {
    this.worker.postMessage({ type: 'close' } satisfies ToMaintenance)
    await this.ended
  }
}
