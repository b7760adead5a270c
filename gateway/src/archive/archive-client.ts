import { type TransferListItem, Worker } from 'node:worker_threads'
import { youngGenerationOf } from '../heaps.js'
import type { Flush } from '../processor/flush.js'
import { ArchiveWriteError } from './archive-error.js'
import type { RecordedSnapshot, Written } from './commit.js'
import type { ArchiveReply, ArchiveRequest, ArchiveWorkerData } from './messages.js'
import { type Recovered, recoverArchive } from './recover.js'

/**
 * The archive as its user sees it: recovered when opened, then one flush in work and at most one waiting. Whoever writes
 * awaits the promises: that is the back-pressure. Snapshots are recorded between flushes.
 */

export interface OpenArchiveOptions {
  readonly shard?: number
  /** DuckDB's memory in the archive worker, in MiB. */
  readonly memoryMiB?: number
  /** Gets lines for the operator. */
  readonly warn?: (message: string) => void
}

const MEMORY_MIB = 512

/** Recovers the archive in `dataDir` and starts its worker. Throws an `ArchiveOpenError`. */
export function openArchive(dataDir: string, options: OpenArchiveOptions = {}): { recovered: Recovered; archive: ArchiveClient } {
  const shard = options.shard ?? 0
  const recovered = recoverArchive(dataDir, shard, options.warn ?? (() => {}))
  const archive = new ArchiveClient({ dataDir, shard, memoryMiB: options.memoryMiB ?? MEMORY_MIB })
  return { recovered, archive }
}

interface Waiting {
  readonly flush: Flush
  readonly transfer: readonly TransferListItem[]
  readonly resolve: (written: Written) => void
  readonly reject: (error: Error) => void
}

/** What the worker has been asked and has not answered yet; it answers in order. */
type Asked =
  | { readonly type: 'flush'; readonly resolve: (written: Written) => void; readonly reject: (error: Error) => void }
  | { readonly type: 'snapshot'; readonly resolve: (recorded: RecordedSnapshot) => void; readonly reject: (error: Error) => void }

export class ArchiveClient {
  private readonly worker: Worker
  private readonly asked: Asked[] = []
  private waiting: Waiting | null = null
  /** The last flush failed and waits in the worker for `retry`. */
  private failed = false
  private onClosed: (() => void) | null = null
  private dead: Error | null = null

  constructor(data: ArchiveWorkerData) {
    this.worker = new Worker(new URL('./archive-worker.js', import.meta.url), {
      workerData: data,
      name: 'archive',
      resourceLimits: youngGenerationOf()
    })
    this.worker.on('message', (reply: ArchiveReply) => this.receive(reply))
    this.worker.on('error', error => this.die(error instanceof Error ? error : new Error(String(error))))
    this.worker.on('exit', () => this.die(new Error('the archive worker has stopped')))
  }

  /**
   * Resolves once the flush is committed and in its place. What is in `transfer` is no longer the caller's. Rejects with an
   * `ArchiveWriteError` where the disk fails: then call `retry`, and do not send the flush again; a flush that waits
   * meanwhile goes on waiting.
   */
  write(flush: Flush, transfer: readonly TransferListItem[] = []): Promise<Written> {
    if (this.dead !== null) return Promise.reject(this.dead)
    if (this.waiting !== null) throw new Error('one flush is in work and one waits: await them first')
    return new Promise((resolve, reject) => {
      this.waiting = { flush, transfer, resolve, reject }
      this.sendNext()
    })
  }

  /** Writes the flush that failed once more. */
  retry(): Promise<Written> {
    if (this.dead !== null) return Promise.reject(this.dead)
    if (!this.failed) throw new Error('no flush has failed')
    this.failed = false
    return new Promise((resolve, reject) => this.ask({ type: 'retry' }, { type: 'flush', resolve, reject }, []))
  }

  /**
   * Resolves once the snapshot that is written as of the entry, whose flush must be committed, is durable and recorded. Rejects
   * with an `ArchiveWriteError` where the disk fails; it may be asked for again.
   */
  recordSnapshot(entry: number, ingestMs: number): Promise<RecordedSnapshot> {
    if (this.dead !== null) return Promise.reject(this.dead)
    return new Promise((resolve, reject) =>
      this.ask({ type: 'record-snapshot', entry, ingestMs }, { type: 'snapshot', resolve, reject }, [])
    )
  }

  /** Resolves once the flush in work is done and the worker has stopped. */
  async close(): Promise<void> {
    if (this.dead !== null) return
    await new Promise<void>(resolve => {
      this.onClosed = resolve
      this.worker.postMessage({ type: 'close' } satisfies ArchiveRequest)
    })
  }

  private sendNext(): void {
    const next = this.waiting
    if (next === null || this.failed || this.asked.some(({ type }) => type === 'flush')) return
    this.waiting = null
    this.ask({ type: 'write', flush: next.flush }, { type: 'flush', resolve: next.resolve, reject: next.reject }, next.transfer)
  }

  private ask(request: ArchiveRequest, asked: Asked, transfer: readonly TransferListItem[]): void {
    this.asked.push(asked)
    this.worker.postMessage(request, transfer)
  }

  private receive(reply: ArchiveReply): void {
    if (reply.type === 'closed') return
    const asked = this.asked.shift()
    if (reply.type === 'failed') {
      if (asked?.type === 'flush') this.failed = reply.retryable
      asked?.reject(reply.retryable ? new ArchiveWriteError(reply.path, reply.message) : new Error(reply.message))
    } else if (reply.type === 'written' && asked?.type === 'flush') asked.resolve(reply.written)
    else if (reply.type === 'recorded' && asked?.type === 'snapshot') asked.resolve(reply.recorded)
    this.sendNext()
  }

  private die(error: Error): void {
    this.dead ??= error
    this.waiting?.reject(error)
    this.waiting = null
    for (const asked of this.asked.splice(0)) asked.reject(error)
    this.onClosed?.()
  }
}
