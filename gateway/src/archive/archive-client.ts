import { type TransferListItem, Worker } from 'node:worker_threads'
import type { Flush } from '../processor/flush.js'
import { ArchiveWriteError } from './archive-error.js'
import type { Written } from './commit.js'
import type { ArchiveReply, ArchiveRequest, ArchiveWorkerData } from './messages.js'
import { type Recovered, recoverArchive } from './recover.js'

/**
 * The archive as its user sees it: recovered when opened, then one flush in work and at most one waiting. Whoever writes
 * awaits the promises: that is the back-pressure.
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

export class ArchiveClient {
  private readonly worker: Worker
  private inWork: Pick<Waiting, 'resolve' | 'reject'> | null = null
  private waiting: Waiting | null = null
  /** The last flush failed and waits in the worker for `retry`. */
  private failed = false
  private onClosed: (() => void) | null = null
  private dead: Error | null = null

  constructor(data: ArchiveWorkerData) {
    this.worker = new Worker(new URL('./archive-worker.js', import.meta.url), { workerData: data, name: 'archive' })
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
    return new Promise((resolve, reject) => this.send({ type: 'retry' }, { resolve, reject }, []))
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
    if (next === null || this.inWork !== null || this.failed) return
    this.waiting = null
    this.send({ type: 'write', flush: next.flush }, next, next.transfer)
  }

  private send(request: ArchiveRequest, settle: Pick<Waiting, 'resolve' | 'reject'>, transfer: readonly TransferListItem[]): void {
    this.inWork = settle
    this.worker.postMessage(request, transfer)
  }

  private receive(reply: ArchiveReply): void {
    const { inWork } = this
    if (reply.type === 'closed') return
    this.inWork = null
    if (reply.type === 'written') {
      inWork?.resolve(reply.written)
      this.sendNext()
    } else {
      this.failed = reply.retryable
      inWork?.reject(reply.retryable ? new ArchiveWriteError(reply.path, reply.message) : new Error(reply.message))
      this.sendNext()
    }
  }

  private die(error: Error): void {
    this.dead ??= error
    this.inWork?.reject(error)
    this.waiting?.reject(error)
    this.inWork = null
    this.waiting = null
    this.onClosed?.()
  }
}
