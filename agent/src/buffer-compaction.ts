/**
 * Packs readings that were stored one by one into full chunks: a backlog of single readings would take three times the space, and three
 * times as long to read. Called inside a commit, a few hundred chunks at a time; leaves alone what may be in flight.
 */
import type { ChunkRow } from './buffer-schema.js'
import { segmentBehind } from './buffer-shedding.js'
import type { BufferStore } from './buffer-store.js'
import { readingsOf } from './chunk.js'
import type { EpochRange } from './core/epochs.js'
import { COMPACT_CHUNKS_MIN } from './limits.js'

export class BufferCompaction {
  private compactedThrough = 0
  /** How many chunks must have been written before looking again can find enough. */
  private worthwhileFrom = 0

  constructor(private readonly store: BufferStore) {}

  /** The next chunks behind a position that are worth it; null where there are none now. */
  next(epochs: readonly EpochRange[], after: number): readonly ChunkRow[] | null {
    if (this.store.chunksInserted < this.worthwhileFrom) return null
    for (;;) {
      const rows = segmentBehind(this.store, epochs, Math.max(this.compactedThrough, after))
      if (rows.length >= COMPACT_CHUNKS_MIN) return rows
      const last = rows.at(-1)
      if (last === undefined || !this.store.hasChunkBehind(last.lastPosition)) {
        this.worthwhileFrom = this.store.chunksInserted + COMPACT_CHUNKS_MIN - rows.length // more may come to these
        return null
      }
      this.compactedThrough = last.lastPosition
    }
  }

  /** In a commit: makes one chunk of them, or a few, and returns the bytes that this frees. */
  run(rows: readonly ChunkRow[]): number {
    this.compactedThrough = rows[rows.length - 1].lastPosition
    const parts = rows.map(row => this.store.unpack(row))
    const [first] = parts
    if (first === null || parts.includes(null)) return 0 // what is damaged is shed when its turn comes
    let bytes = 0
    for (const row of rows) bytes += this.store.deleteChunk(row)
    const readings = parts.flatMap(part => (part === null ? [] : readingsOf(part)))
    return bytes - this.store.insert(first.profile, readings, Math.max(...rows.map(row => row.storedMs)))
  }
}
