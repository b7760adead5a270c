/**
 * The repair worker as the pipeline sees it: it is started when something is ordered, and ends when nothing is. A repair that
 * fails is tried again, ever more seldom; the gateway goes on meanwhile.
 */
import { Worker } from 'node:worker_threads'
import { youngGenerationOf } from '../heaps.js'
import type { FromRepair, RepairWorkerData, ToRepair } from './messages.js'
import type { Repaired } from './repair-job.js'

const MEMORY_MIB = 512

const RETRY_MS_MIN = 2000
const RETRY_MS_MAX = 600_000

export interface RepairEvents {
  repaired(repaired: Repaired): void
  progress(progress: { readonly marks: number; readonly marksDone: number }): void
  /** All that was ordered is made. */
  done(): void
  failed(message: string): void
}

export class RepairClient {
  private worker: Worker | null = null
  private exited: Promise<void> = Promise.resolve()
  private retry: NodeJS.Timeout | null = null
  private retryMs = RETRY_MS_MIN
  private isClosed = false
  /** Something was ordered since the worker began its run. */
  private hasNews = false

  constructor(
    private readonly dataDir: string,
    private readonly events: RepairEvents
  ) {}

  /** A repair was ordered in the catalog: sees to it that it is made. */
  run(): void {
    if (this.isClosed) return
    if (this.worker !== null) {
      this.hasNews = true
      return
    }
    if (this.retry !== null) clearTimeout(this.retry)
    this.retry = null
    this.hasNews = false
    const workerData: RepairWorkerData = { dataDir: this.dataDir, memoryMiB: MEMORY_MIB }
    const worker = new Worker(new URL('./repair-worker.js', import.meta.url), {
      workerData,
      name: 'repair',
      resourceLimits: youngGenerationOf()
    })
    this.worker = worker
    worker.on('message', (message: FromRepair) => this.receive(message))
    worker.on('error', error => this.receive({ type: 'failed', message: error instanceof Error ? error.message : String(error) }))
    this.exited = new Promise(resolve => {
      worker.once('exit', () => {
        if (this.worker === worker) this.worker = null
        resolve()
      })
    })
    this.post({ type: 'run' })
  }

  /** Resolves once the worker has ended; a repair under way is given up, to be made at the next start. */
  async close(): Promise<void> {
    this.isClosed = true
    if (this.retry !== null) clearTimeout(this.retry)
    this.post({ type: 'close' })
    await this.exited
  }

  private receive(message: FromRepair): void {
    switch (message.type) {
      case 'progress':
        this.events.progress(message)
        return
      case 'repaired':
        this.events.repaired(message.repaired)
        return
      case 'done':
        this.retryMs = RETRY_MS_MIN
        this.end()
        if (this.hasNews) this.run()
        else this.events.done()
        return
      case 'failed':
        this.end()
        this.events.failed(message.message)
        if (this.isClosed) return
        this.retry = setTimeout(() => this.run(), this.retryMs)
        this.retryMs = Math.min(this.retryMs * 2, RETRY_MS_MAX)
        return
      default:
        message satisfies never
    }
  }

  private end(): void {
    this.post({ type: 'close' })
    this.worker = null
  }

  private post(message: ToRepair): void {
    this.worker?.postMessage(message)
  }
}
