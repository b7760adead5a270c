/** The processor's worker as the main thread sees it. */
import { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import type { Grant } from '../drain/drain-budget.js'
import { youngGenerationOf } from '../heaps.js'
import type { Notice } from '../processor/state.js'
import type { Repaired } from '../repair/repair-job.js'
import type { ConfigTold } from './configs.js'
import type { FromPipeline, PipelineOptions, PipelineStats, ToPipeline } from './messages.js'
import type { Answer, Answers, Question } from './questions.js'

export interface PipelineEvents {
  onNotices(notices: readonly Notice[]): void
  /** Devices are to get these configurations from now on. */
  onConfigs?(configs: readonly ConfigTold[]): void
  /** Devices in backlog may drain this fast from now on. */
  onGrants?(grants: readonly Grant[]): void
  onTruncate(throughEntry: number): void
  /** `stats` of the client are new. */
  onStats(client: PipelineClient): void
  onRepaired?(repaired: Repaired, marksLeft: number): void
  onRepairProgress?(progress: { readonly marks: number; readonly marksDone: number }): void
  /** The processor cannot go on. */
  onFailure(error: Error): void
}

/** The processor has not come far enough to answer. */
export class PipelineBehindError extends Error {
  readonly code = 'PIPELINE_BEHIND'
  constructor() {
    super('the processor is behind the log and cannot answer yet; a change that was sent is in the log and will hold: ask again later')
  }
}

const ANSWER_MS_MAX = 10_000

export class PipelineClient {
  stats: PipelineStats | null = null
  /** Bytes of frames that lay behind the snapshot at the start. */
  behindBytes = 0
  private readonly asked = new Map<number, (answer: Answer) => void>()
  private lastAsked = 0
  private onDrained: (() => void) | null = null
  private onRepairsSettled: ((error: string | null) => void) | null = null
  private onClosed: (() => void) | null = null

  private constructor(
    private readonly worker: Worker,
    private readonly events: PipelineEvents,
    private readonly logger: Logger
  ) {}

  /** Recovers the archive and the processor's state. Rejects where that cannot be done. */
  static open(options: PipelineOptions, events: PipelineEvents, logger: Logger): Promise<PipelineClient> {
    const worker = new Worker(new URL('./processor-worker.js', import.meta.url), {
      workerData: options,
      name: 'processor',
      resourceLimits: youngGenerationOf(16)
    })
    const client = new PipelineClient(worker, events, logger)
    return new Promise((resolve, reject) => {
      let isOpen = false
      const fail = (error: Error) => (isOpen ? events.onFailure(error) : reject(error))
      worker.on('error', fail)
      worker.on('message', (message: FromPipeline) => {
        if (message.type === 'open') {
          const { fromEntry, behindBytes, renamed, deleted } = message
          isOpen = true
          client.behindBytes = behindBytes
          logger.info({ fromEntry, behindBytes, renamed, deleted }, 'recovered')
          resolve(client)
        } else if (message.type === 'failed') fail(new Error(message.message))
        else client.receive(message)
      })
    })
  }

  noteEntry(entry: number): void {
    this.post({ type: 'entry', entry })
  }

  /** PUBACKs are late: devices in backlog should drain slower. */
  noteLate(): void {
    this.post({ type: 'late' })
  }

  /** Asks the processor, once it has applied `atEntry`. Rejects with a `PipelineBehindError` where that takes too long. */
  ask<K extends keyof Answers>(question: Question & { readonly ask: K }, atEntry: number): Promise<Answers[K]> {
    const id = ++this.lastAsked
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.asked.delete(id)
        reject(new PipelineBehindError())
      }, ANSWER_MS_MAX)
      this.asked.set(id, answer => {
        clearTimeout(timer)
        resolve(answer as Answers[K])
      })
      this.post({ type: 'ask', id, atEntry, question })
    })
  }

  /** Resolves when everything up to `entry` is committed in the archive. */
  drain(entry: number): Promise<void> {
    return new Promise(resolve => {
      this.onDrained = resolve
      this.post({ type: 'drain', entry })
    })
  }

  /** Resolves when no repair that was ordered is left to be made; rejects where one fails, which stays ordered. */
  repairsSettled(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.onRepairsSettled = error => (error === null ? resolve() : reject(new Error(error)))
      this.post({ type: 'await-repairs' })
    })
  }

  close(): Promise<void> {
    return new Promise(resolve => {
      this.onClosed = resolve
      this.post({ type: 'close' })
    })
  }

  terminate(): Promise<number> {
    return this.worker.terminate()
  }

  private receive(message: Exclude<FromPipeline, { type: 'open' | 'failed' }>): void {
    switch (message.type) {
      case 'warning':
        this.logger.warn(message.message)
        return
      case 'stats':
        this.stats = message.stats
        this.events.onStats(this)
        return
      case 'notices':
        this.events.onNotices(message.notices)
        return
      case 'configs':
        this.events.onConfigs?.(message.configs)
        return
      case 'grants':
        this.events.onGrants?.(message.grants)
        return
      case 'truncate':
        this.events.onTruncate(message.throughEntry)
        return
      case 'answer':
        this.asked.get(message.id)?.(message.answer)
        this.asked.delete(message.id)
        return
      case 'drained':
        this.onDrained?.()
        return
      case 'repair-progress':
        this.events.onRepairProgress?.(message)
        return
      case 'repaired':
        this.events.onRepaired?.(message.repaired, message.marksLeft)
        return
      case 'repairs-settled':
        this.onRepairsSettled?.(message.error)
        return
      case 'closed':
        this.onClosed?.()
        return
      default:
        message satisfies never
    }
  }

  private post(message: ToPipeline): void {
    this.worker.postMessage(message)
  }
}
