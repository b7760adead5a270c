/**
 * Keeps readings on disk from the moment they are sampled until the gateway has acked them.
 *
 * - A commit is durable when its method returns (WAL, synchronous=FULL). What a source yielded and the source's position are
 *   in one commit, so a killed agent neither repeats nor skips a reading.
 * - Positions, and with them seqs, only rise; the next one is stored in the commit that uses it.
 * - Only `settle` and `shed` delete, and both only from the oldest end.
 * - Memory changes after the commit: a commit that fails leaves file and memory as they were.
 * It neither talks to a gateway nor reads a clock.
 */
import { type ClockQuality, epochFromBytes, type Profile, type Value } from '@tidemark/protocol'
import { BufferWriteError } from './buffer-error.js'
import { openBufferFile } from './buffer-file.js'
import { type BufferState, type BufferStatements, type ChunkRow, prepareStatements, SELECT_EPOCHS, SELECT_STATE } from './buffer-schema.js'
import { joinReadings, type PlacedReading, packChunks, type ReadingColumns, sliceReadings, unpackChunk } from './chunk.js'
import { type ClockRange, ClockRanges } from './clock-ranges.js'
import { type EpochRange, endOfEpoch, epochIndexAt, seqRanges } from './core/epochs.js'
import type { Span } from './core/in-flight.js'
import type { HeldSpan, Rebased } from './core/rebase.js'
import { CHUNK_OVERHEAD_BYTES, PUBLISH_AHEAD_READINGS } from './limits.js'
import { ProfileStore } from './profile-store.js'
import { UNREADABLE } from './sources/source.js'
import type { Database } from './sqlite.js'
import { type CarriedTombstone, type DueTombstones, TombstoneStore } from './tombstone-store.js'

/** What one turn of a source gave, in its order; each entry takes the next seq. */
export interface Sampled {
  readonly profile: Profile
  readonly entries: readonly SampledEntry[]
  /** Where the source goes on after these; null where it has no position. */
  readonly source: { readonly key: string; readonly position: string } | null
  /** Values of the entries that could not be read and are null. */
  readonly nulledValues: number
  /** The event time to go on from, for live sources; null for others. */
  readonly eventTimeMs: number | null
}

export type SampledEntry = { readonly eventTimeMs: number; readonly values: readonly Value[] } | { readonly shed: string }

/** What a batch's header says of the buffer. */
export interface BatchFacts {
  readonly epoch: number
  /** Position of the reading with seq 0 in the epoch: seq = position - base. */
  readonly base: number
  readonly oldestHeldSeq: number
  readonly highestSampledSeq: number
  readonly buffered: number
}

export type ReadResult =
  | { readonly kind: 'readings'; readonly readings: ReadingColumns }
  /** Bytes that do not decode any more: the caller sheds them when they are the oldest. */
  | { readonly kind: 'damaged'; readonly span: Span }

export interface BufferOptions {
  readonly path: string
  readonly deviceId: string
  /** Empty where the machine has none. */
  readonly machineId: string
  readonly bytesMax: number
  /** Fresh randomness for a new epoch, at least 7 bytes. */
  readonly randomBytes: () => Uint8Array
  /** Unix ms, for the age of chunks. */
  readonly wallMs: () => number
}

export class SqliteBuffer {
  readonly path: string
  readonly clocks: ClockRanges
  private readonly database: Database
  private readonly sql: BufferStatements
  private readonly tombstones: TombstoneStore
  private readonly profiles: ProfileStore
  private current: BufferState
  private epochs: readonly EpochRange[]
  private unpacked: { readonly firstPosition: number; readonly readings: ReadingColumns } | null = null

  constructor(private readonly options: BufferOptions) {
    this.path = options.path
    this.database = openBufferFile(options)
    this.sql = prepareStatements(this.database)
    this.tombstones = new TombstoneStore(this.database)
    this.profiles = new ProfileStore(this.database)
    this.clocks = new ClockRanges(this.database)
    this.current = this.database.prepare<[], BufferState>(SELECT_STATE).get()!
    this.epochs = this.database.prepare<[], EpochRange>(SELECT_EPOCHS).all()
    if (this.current.machineId !== options.machineId && options.machineId !== '') {
      // The file came from another machine, where its original may live on: both must not give the same seqs.
      if (this.current.machineId !== '') this.takeNewEpoch()
      this.commit({ machineId: options.machineId }, () => {})
    }
  }

  get state(): BufferState {
    return this.current
  }

  /** The epoch that new readings get. */
  get epoch(): number {
    return this.epochs[this.epochs.length - 1].epoch
  }

  get isFull(): boolean {
    return this.current.bytes >= this.options.bytesMax
  }

  /** Commits what a source gave and returns the last position given. */
  append(sampled: Sampled): number {
    const first = this.current.nextPosition
    const placed: PlacedReading[] = []
    const shed: { position: number; reason: string }[] = []
    for (const [i, entry] of sampled.entries.entries()) {
      if ('shed' in entry) shed.push({ position: first + i, reason: entry.shed })
      else placed.push({ position: first + i, eventTimeMs: entry.eventTimeMs, values: entry.values })
    }
    const chunks = packChunks(sampled.profile, placed)
    const { bytes, held, unreadableRows, nulledValues, settledPosition } = this.current
    const nextPosition = first + sampled.entries.length
    const change: Partial<BufferState> = {
      nextPosition,
      held: held + placed.length,
      settledPosition: held + placed.length === 0 ? nextPosition - 1 : settledPosition,
      bytes: bytes + chunks.reduce((sum, chunk) => sum + chunk.payload.length + CHUNK_OVERHEAD_BYTES, 0),
      unreadableRows: unreadableRows + shed.filter(entry => entry.reason === UNREADABLE).length,
      nulledValues: nulledValues + sampled.nulledValues,
      ...(sampled.eventTimeMs === null ? {} : { eventTimeMs: sampled.eventTimeMs }),
      ...(sampled.source === null ? {} : { sourceKey: sampled.source.key, sourcePosition: sampled.source.position, sourceEnded: 0 })
    }
    const profile = chunks.length > 0 ? this.profiles.idOf(sampled.profile, insert => this.commit({}, insert)) : 0
    this.commit(change, () => {
      const storedMs = this.options.wallMs()
      for (const c of chunks) this.sql.insertChunk.run(c.firstPosition, c.lastPosition, c.count, profile, storedMs, c.payload)
      for (const { position, reason } of shed) this.tombstones.extend(seqRanges(this.epochs, position, position), reason)
    })
    return nextPosition - 1
  }

  /** The times of the next readings come from this clock. */
  beginClock(clock: Omit<ClockRange, 'firstPosition'>): void {
    const { nextPosition, settledPosition } = this.current
    const { write, done } = this.clocks.begin({ ...clock, firstPosition: nextPosition }, settledPosition)
    this.commit({}, write)
    done()
  }

  /** The readings that wait for the clock to be set, by boots. */
  heldSpans(): HeldSpan[] {
    return this.clocks.held.map(({ firstPosition, bootId, offsetMs }) => {
      const end = this.clocks.endOf(firstPosition)
      const [firstRow, lastRow] = [this.chunkBehind(firstPosition - 1), this.sql.chunkAt.get(Math.min(end, this.current.nextPosition))]
      const first = firstRow === undefined || firstRow.firstPosition > end ? null : this.unpack(firstRow)
      const last = lastRow === undefined || lastRow.firstPosition < firstPosition ? null : this.unpack(lastRow)
      const firstMonotonicMs = first?.eventTimesMs[0] ?? 0
      return {
        firstPosition,
        bootId,
        wallOffsetMs: offsetMs,
        firstMonotonicMs,
        lastMonotonicMs: last?.eventTimesMs.at(-1) ?? firstMonotonicMs
      }
    })
  }

  /** Held readings get their event times and may be published. `eventTimeMs`: of the last of them. */
  rebase(rebased: readonly Rebased[], quality: ClockQuality, eventTimeMs: number): void {
    const { write, done } = this.clocks.rebase(rebased, quality)
    this.commit({ eventTimeMs }, write)
    done()
  }

  /** Up to `readingsMax` readings behind a position, of one epoch, profile and clock; null where there is none that may be published. */
  readAfter(position: number, readingsMax: number, lastPosition = Number.POSITIVE_INFINITY): ReadResult | null {
    const parts: ReadingColumns[] = []
    let at = position
    let end = Math.min(lastPosition, this.clocks.lastReadable)
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
      if (parts.length === 0) {
        const first = readings.positions[from]
        end = Math.min(end, endOfEpoch(this.epochs, epochIndexAt(this.epochs, first)), this.clocks.endOf(first))
      }
      const to = Math.min(from + wanted, indexBehind(readings.positions, end))
      if (to > from) parts.push(this.clocks.apply(sliceReadings(readings, from, to)))
      wanted -= to - from
      at = row.lastPosition
    }
    return parts.length === 0 ? null : { kind: 'readings', readings: joinReadings(parts) }
  }

  /** What a batch must say of the buffer now; for the epoch of a position, or the current one. */
  facts(position?: number): BatchFacts {
    const index = position === undefined ? this.epochs.length - 1 : epochIndexAt(this.epochs, position)
    return this.factsOf(this.epochs[index])
  }

  /** As `facts`, for an epoch by its number. */
  factsOfEpoch(epoch: number): BatchFacts {
    return this.factsOf(this.epochs.find(range => range.epoch === epoch)!)
  }

  private factsOf({ epoch, base, highestSeq }: EpochRange): BatchFacts {
    const { nextPosition, settledPosition, held } = this.current
    const highestSampledSeq = highestSeq ?? nextPosition - 1 - base
    const oldestHeldSeq = Math.min(Math.max(1, settledPosition + 1 - base), highestSampledSeq + 1)
    return { epoch, base, oldestHeldSeq, highestSampledSeq, buffered: held }
  }

  /** Tombstones that a batch of the epoch must carry, and the first seq of those that find no room in it. */
  tombstonesFor(epoch: number, lastSeq: number): DueTombstones {
    return this.tombstones.upTo(epoch, lastSeq)
  }

  /** An epoch that has tombstones which are not acked yet; null where there is none. */
  epochOfTombstones(): number | null {
    return this.tombstones.someEpoch()
  }

  /** To be called before anything up to `position` is published: a durable mark, so that what may have been published is known. */
  willPublish(position: number): void {
    if (position > this.current.publishedPosition) this.commit({ publishedPosition: position + PUBLISH_AHEAD_READINGS }, () => {})
  }

  /** Deletes the `count` readings up to a position, and the tombstones that were declared with them. The gateway has acked both. */
  settle(position: number, count: number, declared: readonly CarriedTombstone[], ackedMs: number): void {
    this.forget(position, count, ackedMs, () => this.tombstones.remove(declared))
  }

  /** Drops the readings of the oldest span on the record: a tombstone replaces them in one commit. */
  shed(span: Span, reason: string): void {
    const count = span.count === 1 ? 1 : this.current.held - this.sql.readingsBehind.get(span.last)!
    this.forget(span.last, count, null, () => this.tombstones.extend(seqRanges(this.epochs, span.after + 1, span.last), reason))
  }

  private forget(position: number, count: number, ackedMs: number | null, work: () => void): void {
    const { held, bytes, nextPosition, settledPosition } = this.current
    const freed = this.sql.bytesUpTo.get(CHUNK_OVERHEAD_BYTES, position, position)!
    const change: Partial<BufferState> = {
      settledPosition: held === count ? nextPosition - 1 : Math.max(settledPosition, position),
      held: held - count,
      bytes: bytes - freed,
      ...(ackedMs === null ? {} : { lastAckedMs: ackedMs })
    }
    this.commit(change, () => {
      this.sql.deleteUpTo.run(position, position)
      work()
    })
  }

  /** New readings get a new epoch from here on; held ones keep their event IDs. */
  takeNewEpoch(): void {
    this.beginEpoch(this.current.nextPosition - 1, () => {})
  }

  /**
   * The gateway has seen this epoch's seqs before, with other readings: the buffer was restored from an image. New readings get
   * a new epoch, and so do the held ones that were never published. Those that may have been published keep their event IDs: the
   * gateway may hold them already, and under a new ID they would be archived twice. They are published to the end, and the
   * gateway archives or quarantines each. The seqs that thereby fall free are declared in the old epoch by a tombstone.
   * @returns whether it was the current epoch
   */
  replaceSpentEpoch(epoch: number): boolean {
    const old = this.epochs[this.epochs.length - 1]
    if (old.epoch !== epoch) return false
    const last = this.current.nextPosition - 1
    const cut = Math.min(last, Math.max(this.current.publishedPosition, this.current.settledPosition, old.base))
    this.beginEpoch(cut, newEpoch => {
      this.tombstones.renumber(epoch, newEpoch, cut - old.base)
      if (cut < last) this.tombstones.insert({ epoch, firstSeq: cut + 1 - old.base, lastSeq: last - old.base }, 'epoch-spent')
    })
    return true
  }

  private beginEpoch(base: number, work: (epoch: number) => void): void {
    const epoch = epochFromBytes(this.options.randomBytes())
    const old = this.epochs[this.epochs.length - 1]
    const ended = { ...old, highestSeq: this.current.nextPosition - 1 - old.base }
    this.commit({ eventTimeMs: null }, () => {
      this.sql.endEpoch.run(ended.highestSeq, old.epoch)
      this.sql.insertEpoch.run(epoch, base)
      work(epoch)
    })
    this.epochs = [...this.epochs.slice(0, -1), ended, { epoch, base, highestSeq: null }]
  }

  /** Notes that the source has come to its end; it is forgotten when the source yields again. */
  noteSourceEnded(): void {
    if (this.current.sourceEnded === 0) this.commit({ sourceEnded: 1 }, () => {})
  }

  /** Keeps the last error for `status`. Never throws: what it notes may be that nothing can be written. */
  noteError(message: string | null): void {
    if (message === this.current.lastError) return
    try {
      this.commit({ lastError: message, lastErrorMs: message === null ? null : this.options.wallMs() }, () => {})
    } catch {
      // the error itself was logged by the caller
    }
  }

  close(): void {
    this.database.close()
  }

  private commit(change: Partial<BufferState>, work: () => unknown): void {
    const next = { ...this.current, ...change }
    try {
      this.database.transaction(() => {
        work()
        this.sql.replaceState.run(next)
      })()
    } catch (cause) {
      throw new BufferWriteError(this.path, cause)
    }
    this.current = next
  }

  private chunkBehind(position: number): ChunkRow | undefined {
    const around = this.sql.chunkAt.get(position)
    return around !== undefined && around.lastPosition > position ? around : this.sql.chunkBehind.get(position)
  }

  private unpack(row: ChunkRow): ReadingColumns | null {
    if (this.unpacked?.firstPosition === row.firstPosition) return this.unpacked.readings
    const readings = unpackChunk(this.profiles.byId(row.profile), row.firstPosition, row.payload)
    if (readings !== null && row.readings > 1) this.unpacked = { firstPosition: row.firstPosition, readings }
    return readings
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
