/**
 * What is on disk of the buffer: one SQLite file, and the transactions on it.
 *
 * - A commit is durable when it returns (WAL, synchronous=FULL), and changes all that it says or nothing.
 * - A chunk whose bytes are not those that were written is told as damaged, never read.
 * It decides nothing: what is kept, shed and given away is sqlite-buffer.ts's business. It knows no clock.
 */
import type { Profile } from '@tidemark/protocol'
import { BufferDamagedError, BufferWriteError, sqliteCode } from './buffer-error.js'
import { type BufferFileOptions, openBufferFile } from './buffer-file.js'
import { BufferMark } from './buffer-mark.js'
import {
  type BufferState,
  type BufferStatements,
  type ChunkRow,
  chunkCrc,
  prepareStatements,
  SELECT_CLOCKS,
  SELECT_EPOCHS,
  SELECT_STATE,
  writeClocks
} from './buffer-schema.js'
import { joinReadings, type PlacedReading, packChunks, type ReadingColumns, sliceReadings, unpackChunk } from './chunk.js'
import type { ClockRange } from './clock-ranges.js'
import type { EpochRange } from './core/epochs.js'
import type { Span } from './core/in-flight.js'
import { CHUNK_OVERHEAD_BYTES } from './limits.js'
import { ProfileStore } from './profile-store.js'
import type { Database } from './sqlite.js'
import { TombstoneStore } from './tombstone-store.js'

export type ReadResult =
  | { readonly kind: 'readings'; readonly readings: ReadingColumns }
  /** Bytes that are not what was written: the caller sheds them when they are the oldest. */
  | { readonly kind: 'damaged'; readonly span: Span }

export class BufferStore {
  readonly path: string
  tombstones!: TombstoneStore
  private database!: Database
  private sql!: BufferStatements
  private profiles!: ProfileStore
  private unpacked: { readonly firstPosition: number; readonly readings: ReadingColumns } | null = null
  private readonly mark: BufferMark

  constructor(private readonly options: BufferFileOptions) {
    this.path = options.path
    this.open()
    this.mark = new BufferMark(this.path, options.deviceId)
  }

  /** Closes the file and opens it anew, for when writing it has failed. Throws where it cannot be opened. */
  reopen(): void {
    const before = this.database
    this.open()
    before.close()
  }

  readState(): BufferState {
    return this.database.prepare<[], BufferState>(SELECT_STATE).get()!
  }

  readEpochs(): EpochRange[] {
    return this.database.prepare<[], EpochRange>(SELECT_EPOCHS).all()
  }

  readClocks(): ClockRange[] {
    return this.database.prepare<[], ClockRange>(SELECT_CLOCKS).all()
  }

  /** Writes in one transaction what `work` does, the state that it returns, and epochs and clocks where they are given. */
  commit(work: () => BufferState, epochs: readonly EpochRange[] | null = null, clocks: readonly ClockRange[] | null = null): void {
    let state: BufferState | undefined
    try {
      this.database.transaction(() => {
        if (epochs !== null) for (const { epoch, base, highestSeq } of epochs) this.sql.replaceEpoch.run(epoch, base, highestSeq)
        if (clocks !== null) writeClocks(this.database, clocks)
        state = work()
        this.sql.replaceState.run(state)
      })()
    } catch (cause) {
      this.profiles.forget()
      this.unpacked = null
      throw new BufferWriteError(this.path, cause)
    }
    this.mark.write(state!, epochs)
  }

  /** Chunks that were written by this process, also those of commits that failed. */
  chunksInserted = 0

  /** In a commit: stores readings of one profile in chunks, and returns the bytes that these take. */
  insert(profile: Profile, readings: readonly PlacedReading[], storedMs: number): number {
    const id = this.profiles.idOf(profile)
    let bytes = 0
    for (const { firstPosition, lastPosition, count, payload } of packChunks(profile, readings)) {
      const chunk = { firstPosition, lastPosition, readings: count, profile: id, payload }
      this.sql.insertChunk.run({ ...chunk, storedMs, crc: chunkCrc(chunk) })
      this.chunksInserted++
      bytes += payload.length + CHUNK_OVERHEAD_BYTES
    }
    return bytes
  }

  /** In a commit: deletes the chunks up to a position, and returns the bytes that they took. */
  deleteThrough(position: number): number {
    const bytes = this.sql.bytesUpTo.get(CHUNK_OVERHEAD_BYTES, position, position)!
    this.sql.deleteUpTo.run(position, position)
    return bytes
  }

  /** In a commit. */
  deleteChunk({ firstPosition, payload }: ChunkRow): number {
    this.sql.deleteChunk.run(firstPosition)
    this.unpacked = null
    return payload.length + CHUNK_OVERHEAD_BYTES
  }

  /** Readings that are stored behind a position. */
  readingsBehind(position: number): number {
    return this.sql.readingsBehind.get(position)!
  }

  hasChunkBehind(position: number): boolean {
    return this.sql.hasChunkBehind.get(position) !== undefined
  }

  /** Chunks that begin behind a position, read one by one as they are asked for. Nothing is to be written until that is over. */
  chunksBehind(position: number): IterableIterator<ChunkRow> {
    return this.sql.chunksBehind.iterate(position)
  }

  /**
   * Up to `readingsMax` readings at positions in (position, lastPosition], of one profile; null where there is none.
   * @param endFrom the last position that may be read together with a first one
   */
  readAfter(position: number, readingsMax: number, lastPosition: number, endFrom: (first: number) => number): ReadResult | null {
    const parts: ReadingColumns[] = []
    let at = position
    let end = lastPosition
    for (let wanted = readingsMax; wanted > 0 && at < end; ) {
      const row = this.chunkBehind(at)
      if (row === undefined || row.firstPosition > end) break
      const readings = this.unpack(row)
      if (readings === null) {
        if (parts.length > 0) break
        return { kind: 'damaged', span: { after: at, last: row.lastPosition, count: row.readings } }
      }
      if (parts.length > 0 && parts[0].profile !== readings.profile) break
      const from = indexBehind(readings.positions, at)
      if (parts.length === 0) end = Math.min(end, endFrom(readings.positions[from]))
      const to = Math.min(from + wanted, indexBehind(readings.positions, end))
      if (to > from) parts.push(sliceReadings(readings, from, to))
      wanted -= to - from
      at = row.lastPosition
    }
    return parts.length === 0 ? null : { kind: 'readings', readings: joinReadings(parts) }
  }

  /** The stored times of the first and the last reading at positions in [first, last]; null where none of them is stored, or readable. */
  timesAtEnds(first: number, last: number): { firstMs: number; lastMs: number } | null {
    const rows = [this.chunkBehind(first - 1), this.sql.chunkAt.get(last)]
    const times = rows.flatMap(row => {
      const readings = row === undefined ? null : this.unpack(row)
      if (readings === null) return []
      const { positions, eventTimesMs } = readings
      return [...eventTimesMs.subarray(indexBehind(positions, first - 1), indexBehind(positions, last))]
    })
    return times.length === 0 ? null : { firstMs: times[0], lastMs: times[times.length - 1] }
  }

  /** The readings of a chunk; null where its bytes are not what was written. */
  unpack(row: ChunkRow): ReadingColumns | null {
    if (this.unpacked?.firstPosition === row.firstPosition) return this.unpacked.readings
    const profile = chunkCrc(row) === row.crc ? this.profiles.byId(row.profile) : null
    const readings = profile === null ? null : unpackChunk(profile, row.firstPosition, row.payload)
    if (readings !== null && row.readings > 1) this.unpacked = { firstPosition: row.firstPosition, readings }
    return readings
  }

  /** Gives pages that fell free back to the disk. That itself takes some room: throws a `BufferWriteError` where there is none. */
  shrink(): void {
    try {
      this.database.pragma('incremental_vacuum')
      this.database.pragma('wal_checkpoint(TRUNCATE)')
    } catch (cause) {
      throw new BufferWriteError(this.path, cause)
    }
  }

  /** Brings the mark up to date. */
  noteMark(state: BufferState, epochs: readonly EpochRange[]): void {
    this.mark.write(state, epochs)
  }

  /** Takes back in the mark what was reserved and not given; to be called before the commit that does. */
  lowerMark(lastPosition: number): void {
    this.mark.lower(lastPosition)
  }

  close(): void {
    this.database.close()
    this.mark.close()
  }

  private open(): void {
    this.database = openBufferFile(this.options)
    try {
      this.sql = prepareStatements(this.database)
      this.tombstones = new TombstoneStore(this.database)
      this.profiles = new ProfileStore(this.database)
    } catch (error) {
      this.database.close()
      // Our statements fit our schema: what SQLite does not know of it was changed in the file.
      if (sqliteCode(error) === 'SQLITE_ERROR') throw new BufferDamagedError('its tables are not as an agent makes them', { cause: error })
      throw error
    }
    this.unpacked = null
  }

  private chunkBehind(position: number): ChunkRow | undefined {
    const around = this.sql.chunkAt.get(position)
    return around !== undefined && around.lastPosition > position ? around : this.sql.chunkBehind.get(position)
  }
}

/** The index of the first of the rising positions that is behind `position`. */
function indexBehind(positions: Float64Array, position: number): number {
  let low = 0
  let high = positions.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (positions[middle] > position) high = middle
    else low = middle + 1
  }
  return low
}
