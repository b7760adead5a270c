/**
 * Takes snapshots without a pause: writes a part of the state into the file between entries, and has the whole recorded behind
 * the flush of its boundary. A disk that fails costs the snapshot, not the gateway: the one before serves, and the log is kept.
 */
import { SnapshotWriter } from '../archive/snapshot-file.js'
import type { Processor } from '../processor/processor.js'
import type { FlushWriter } from './flush-writer.js'

type StateEncoder = ReturnType<Processor['beginSnapshot']>

export class SnapshotTaker {
  private underWay: { readonly encoder: StateEncoder; readonly file: SnapshotWriter; readonly ingestMs: number } | null = null

  constructor(
    private readonly folder: string,
    private readonly processor: Processor,
    private readonly flushes: FlushWriter,
    private readonly warn: (message: string) => void
  ) {}

  /** To be called right behind the boundary that `entry` ends at this ingest time, Unix ms, before its flush is handed over or another entry applied. */
  begin(entry: number, ingestMs: number): void {
    while (this.takePart()); // one that is still under way, when boundaries follow fast
    try {
      const file = new SnapshotWriter(this.folder, entry)
      this.underWay = { file, encoder: this.processor.beginSnapshot(), ingestMs }
    } catch (error) {
      this.giveUp(error)
    }
  }

  /** Takes the next part. Returns whether one was left to take. */
  takePart(): boolean {
    if (this.underWay === null) return false
    const { encoder, file, ingestMs } = this.underWay
    try {
      const part = encoder.next()
      if (part !== null) {
        file.append(part)
        return true
      }
      file.close()
      this.underWay = null
      this.flushes.recordSnapshot(file.entry, ingestMs)
    } catch (error) {
      this.giveUp(error)
    }
    return false
  }

  private giveUp(error: unknown): void {
    if (!(error instanceof Error && 'code' in error)) throw error
    this.warn(`cannot write a snapshot in ${this.folder}: ${error.message}. Free disk space or check who owns it; until then the log grows`)
    this.processor.abandonSnapshot()
    const file = this.underWay?.file
    this.underWay = null
    file?.discard()
  }
}
