/**
 * Sheds what is on disk, on the record: when the buffer is full, or readings are too old. Called inside a commit; never touches a
 * chunk that may be in flight, or only partly is not.
 *
 * `thin` goes over the older half of what is held, again and again, and keeps of every 500 readings each second one: so the older a
 * reading, the more often its neighbours were thinned, and an outage of any length leaves a trace of its beginning.
 */
import type { ChunkRow } from './buffer-schema.js'
import type { BufferStore } from './buffer-store.js'
import { type PlacedReading, readingsOf } from './chunk.js'
import type { BufferConfig } from './config.js'
import { type EpochRange, epochIndexAt, seqRanges } from './core/epochs.js'
import { isKept, keepEveryFor } from './core/thinning.js'
import { CLOCK_EARLIEST_MS, FREE_AT_LEAST_BYTES, THIN_SEGMENT_READINGS } from './limits.js'

/** What was freed. */
export interface Freed {
  readonly readings: number
  readonly bytes: number
}

type Rule = BufferConfig['whenFull']

export class BufferShedding {
  /** How far the present pass of thinning has come, and how many readings it has still to go over. */
  private thinnedThrough = 0
  private passReadings = 0

  constructor(
    private readonly store: BufferStore,
    private readonly rule: Exclude<Rule, 'drop-newest'>
  ) {}

  /** Frees at least `bytes`, and some more, of what lies behind a position. */
  makeRoom(epochs: readonly EpochRange[], after: number, bytes: number, limitBytes: number): Freed {
    const wanted = bytes + Math.max(FREE_AT_LEAST_BYTES, limitBytes / 100)
    return this.rule === 'thin' ? this.thin(epochs, after, wanted) : this.dropOldest(epochs, after, wanted)
  }

  /** Drops what was stored before a time, Unix ms. Chunks that were stored before the clock was set have no known age, and stay. */
  expire(epochs: readonly EpochRange[], after: number, storedBeforeMs: number): Freed {
    return this.drop(epochs, after, 'expired', row => row.storedMs < storedBeforeMs && row.storedMs >= CLOCK_EARLIEST_MS)
  }

  private dropOldest(epochs: readonly EpochRange[], after: number, wantedBytes: number): Freed {
    let bytes = 0
    return this.drop(epochs, after, 'dropped-oldest', row => {
      const isWanted = bytes < wantedBytes
      bytes += row.payload.length
      return isWanted
    })
  }

  /** Drops chunks, oldest first, until one is not to be dropped. */
  private drop(epochs: readonly EpochRange[], after: number, reason: string, isToDrop: (row: ChunkRow) => boolean): Freed {
    let [readings, bytes] = [0, 0]
    for (;;) {
      const [row] = this.store.chunksBehind(after)
      if (row === undefined || !isToDrop(row)) return { readings, bytes }
      bytes += this.store.deleteChunk(row)
      readings += row.readings
      this.store.tombstones.extend(seqRanges(epochs, row.firstPosition, row.lastPosition), reason)
    }
  }

  private thin(epochs: readonly EpochRange[], after: number, wantedBytes: number): Freed {
    let [readings, bytes] = [0, 0]
    for (let passes = 0; bytes < wantedBytes; ) {
      if (this.passReadings <= 0 || this.thinnedThrough < after) {
        if (++passes > 2) break
        this.thinnedThrough = after
        this.passReadings = Math.ceil(this.store.readingsBehind(after) / 2)
      }
      const rows = segmentBehind(this.store, epochs, this.thinnedThrough)
      if (rows.length === 0) {
        this.passReadings = 0
        continue
      }
      const freed = this.thinSegment(epochs, rows)
      readings += freed.readings
      bytes += freed.bytes
      this.passReadings -= rows.reduce((sum, row) => sum + row.readings, 0)
      this.thinnedThrough = rows[rows.length - 1].lastPosition
    }
    return { readings, bytes }
  }

  private thinSegment(epochs: readonly EpochRange[], rows: readonly ChunkRow[]): Freed {
    const { base } = epochs[epochIndexAt(epochs, rows[0].firstPosition)]
    const parts = rows.map(row => this.store.unpack(row))
    const seqs = parts.flatMap(part => (part === null ? [] : Array.from(part.positions, position => position - base)))
    const keepEvery = keepEveryFor(seqs)
    let [readings, bytes] = [0, 0]
    const kept: PlacedReading[] = []
    for (const [i, row] of rows.entries()) {
      bytes += this.store.deleteChunk(row)
      readings += row.readings
      const part = parts[i]
      if (part === null) this.store.tombstones.extend(seqRanges(epochs, row.firstPosition, row.lastPosition), 'damaged')
      else kept.push(...readingsOf(part).filter(({ position }) => isKept(position - base, keepEvery)))
    }
    const profile = parts.find(part => part !== null)?.profile
    const storedMs = Math.max(...rows.map(row => row.storedMs))
    if (kept.length > 0 && profile !== undefined) bytes -= this.store.insert(profile, kept, storedMs)
    for (const range of seqRanges(epochs, rows[0].firstPosition, rows[rows.length - 1].lastPosition)) {
      this.store.tombstones.thin(range, keepEvery)
    }
    return { readings: readings - kept.length, bytes }
  }
}

/** The next chunks of one epoch and profile that together hold about as many readings as are thinned together. */
export function segmentBehind(store: BufferStore, epochs: readonly EpochRange[], after: number): ChunkRow[] {
  const rows: ChunkRow[] = []
  let readings = 0
  for (const row of store.chunksBehind(after)) {
    const [first] = rows
    if (first !== undefined && (readings + row.readings > THIN_SEGMENT_READINGS || row.profile !== first.profile)) break
    if (first !== undefined && epochIndexAt(epochs, row.lastPosition) !== epochIndexAt(epochs, first.firstPosition)) break
    rows.push(row)
    readings += row.readings
  }
  return rows
}
