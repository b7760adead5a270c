/** The worker that reads the archive, as the main thread sees it: a few jobs at once, a few that wait, and no more. */
import { Worker } from 'node:worker_threads'
import { youngGenerationOf } from '../heaps.js'
import type { FromServing, Job, JobResult, ToServing } from './messages.js'

/** Jobs under way at once: each holds a thread of the pool that the archive's writers need, too. */
const RUNNING_MAX = 2

/** Those that wait for them. */
const WAITING_MAX = 16

/** More is asked for than can be read; worth another try soon. */
export class ServingBusyError extends Error {
  readonly code = 'SERVING_BUSY'
  constructor(message = `${RUNNING_MAX} queries are being answered and ${WAITING_MAX} wait already: ask again later`) {
    super(message)
  }
}

/** A file was moved while it was being read: the job is to be made anew. */
export class FileVanishedError extends Error {
  readonly code = 'FILE_VANISHED'
}

export class ServingClient {
  private worker: Worker | null = null
  private running = 0
  private readonly waiting: (() => void)[] = []
  private readonly jobs = new Map<number, { resolve(result: JobResult<Job>): void; reject(error: Error): void }>()
  private lastId = 0

  constructor(private readonly dataDir: string) {}

  /** Runs `work`, which may `read`, when its turn has come. Rejects with a `ServingBusyError` where too many wait. */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.running < RUNNING_MAX) this.running++
    else {
      if (this.waiting.length >= WAITING_MAX) throw new ServingBusyError()
      await new Promise<void>(resolve => this.waiting.push(resolve)) // whoever ends hands over its place
    }
    try {
      return await work()
    } finally {
      const next = this.waiting.shift()
      if (next === undefined) this.running--
      else next()
    }
  }

  read<J extends Job>(job: J): Promise<JobResult<J>> {
    this.worker ??= this.start()
    const { worker } = this
    const id = ++this.lastId
    return new Promise((resolve, reject) => {
      this.jobs.set(id, { resolve: result => resolve(result as JobResult<J>), reject })
      worker.postMessage({ id, job } satisfies ToServing)
    })
  }

  async close(): Promise<void> {
    await this.worker?.terminate()
  }

  /** One that died is made anew by the next job. */
  private start(): Worker {
    const worker = new Worker(new URL('./serving-worker.js', import.meta.url), {
      workerData: { dataDir: this.dataDir },
      name: 'serving',
      resourceLimits: youngGenerationOf()
    })
    worker.on('message', (message: FromServing) => this.receive(message))
    const die = (error: Error) => {
      if (this.worker !== worker) return // the jobs are those of the next one
      this.worker = null
      for (const { reject } of this.jobs.values()) reject(error)
      this.jobs.clear()
    }
    worker.on('error', error => die(error instanceof Error ? error : new Error(String(error))))
    worker.on('exit', () => die(new ServingBusyError('the reader of the archive has stopped: ask again')))
    return worker
  }

  private receive(message: FromServing): void {
    const job = this.jobs.get(message.id)
    this.jobs.delete(message.id)
    if ('result' in message) job?.resolve(message.result)
    else if (message.failure === 'vanished') job?.reject(new FileVanishedError('a file of the archive was moved while it was read'))
    else if (message.failure === 'slow') job?.reject(new ServingBusyError('the query took too long and was ended: ask for less'))
    else job?.reject(new Error(message.message))
  }
}
