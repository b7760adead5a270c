/**
 * Hands flushes to the archive, one in work and one waiting, and tries again while the disk fails: a flush is never dropped. What
 * the archive cannot take, the processor does not make: `write` is awaited.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ArchiveClient } from '../archive/archive-client.js'
import { ArchiveWriteError } from '../archive/archive-error.js'
import type { Written } from '../archive/commit.js'
import type { Flush } from '../processor/flush.js'

const RETRY_MS = 2000

/** One in work, one waiting in the archive's client. */
const OUTSTANDING_MAX = 2

export class FlushWriter {
  readonly totals = {
    committedEntry: 0,
    flushes: 0,
    files: 0,
    fileRows: 0,
    fileBytes: 0,
    snapshots: 0,
    archiveError: null as string | null
  }
  /** The promise of the flush handed over last. */
  private last: Promise<void> = Promise.resolve()
  private readonly outstanding = new Set<Promise<void>>()
  private readonly snapshots = new Set<Promise<void>>()
  private failure: Error | null = null

  constructor(
    private readonly archive: ArchiveClient,
    committedEntry: number,
    /** The log is needed no longer up to the entry. */
    private readonly onTruncate: (throughEntry: number) => void,
    /** Everything up to the entry is committed. */
    private readonly onCommitted: (entry: number) => void,
    private readonly onRetry: (message: string) => void
  ) {
    this.totals.committedEntry = committedEntry
  }

  /** Resolves once there is room for the next flush. Throws where the archive has failed for good. */
  async write(flush: Flush): Promise<void> {
    const written = this.writeUntilDone(flush)
    this.last = written
    const settled = written.then(
      () => {},
      error => {
        this.failure = error
      }
    )
    this.outstanding.add(settled)
    settled.finally(() => this.outstanding.delete(settled))
    while (this.outstanding.size >= OUTSTANDING_MAX) await Promise.race(this.outstanding)
    if (this.failure !== null) throw this.failure
  }

  /**
   * Has the snapshot that is written as of `entry` recorded, once the flushes handed over so far are committed. The last of them
   * must not be of before the entry. A snapshot that the disk refuses is done without: the one before serves.
   */
  recordSnapshot(entry: number, ingestMs: number): void {
    const recorded = this.last
      .then(() => this.archive.recordSnapshot(entry, ingestMs))
      .then(
        ({ oldestNeededEntry }) => {
          this.totals.snapshots++
          this.onTruncate(oldestNeededEntry)
        },
        error => {
          if (error instanceof ArchiveWriteError) this.onRetry(error.message)
          else this.failure ??= error
        }
      )
    this.snapshots.add(recorded)
    recorded.finally(() => this.snapshots.delete(recorded))
  }

  /** Resolves once every flush is committed, and every snapshot recorded. */
  async drain(): Promise<void> {
    await Promise.all([...this.outstanding, ...this.snapshots])
    if (this.failure !== null) throw this.failure
  }

  private async writeUntilDone(flush: Flush): Promise<void> {
    let attempt = this.archive.write(flush, buffersOf(flush))
    for (;;) {
      try {
        const written = await attempt
        this.note(written)
        return
      } catch (error) {
        if (!(error instanceof ArchiveWriteError)) throw error
        this.totals.archiveError = error.message
        this.onRetry(error.message)
        await sleep(RETRY_MS)
        attempt = this.archive.retry()
      }
    }
  }

  private note(written: Written): void {
    const { totals } = this
    totals.archiveError = null
    totals.committedEntry = written.lastEntry
    totals.flushes++
    totals.files += written.files
    totals.fileRows += written.rows
    totals.fileBytes += written.bytes
    this.onCommitted(written.lastEntry)
  }
}

/** What need not be copied from worker to worker. */
export function buffersOf({ files, epochs, fleet: { progress, hours } }: Flush): ArrayBuffer[] {
  const columns = [...files.flatMap(file => file.columns.map(({ values }) => values)), ...Object.values(epochs)]
  columns.push(...Object.values(progress), hours.device, hours.profile, hours.hoursMs, ...Object.values(hours.counts))
  const buffers = columns.map(values => (ArrayBuffer.isView(values) ? values.buffer : null))
  return buffers.filter(buffer => buffer instanceof ArrayBuffer)
}
