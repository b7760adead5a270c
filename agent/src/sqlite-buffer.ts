/**
 * Keeps readings from the moment they are sampled until the gateway has acked them.
 *
 * - `strict`: a reading is on disk (WAL, synchronous=FULL) before it may be published. With the position of the source it is in one
 *   commit, so a killed agent neither repeats nor skips a reading.
 * - `spill`: a reading may be published from memory, and is written when it is not acked within the commit interval. Its seq lies in
 *   a range that was reserved on disk before; after a crash what is left of the range is declared as shed (`crash`).
 * - Positions, and with them seqs, only rise, and are never given twice.
 * - While the disk cannot be written, live readings stay in memory, within a bound; what falls out is declared (`dropped-oldest`).
 * - What may be in flight is never shed.
 * It neither talks to a gateway nor reads a clock.
 */
import { epochFromBytes, type Profile } from '@tidemark/protocol'
import { BufferClocks } from './buffer-clocks.js'
import { BufferCompaction } from './buffer-compaction.js'
import type { BufferWriteError } from './buffer-error.js'
import { type BatchFacts, BufferLedger } from './buffer-ledger.js'
import { readMark } from './buffer-mark.js'
import type { BufferState } from './buffer-schema.js'
import { BufferShedding, type Freed } from './buffer-shedding.js'
import { BufferStore, type ReadResult } from './buffer-store.js'
import type { BufferConfig } from './config.js'
import type { DeliveryBuffer } from './core/delivery.js'
import { withNewEpoch } from './core/epochs.js'
import type { Span } from './core/in-flight.js'
import { recover } from './core/recovery.js'
import { DiskAttempts } from './disk-attempts.js'
import { BUFFER_BYTES_MIN } from './limits.js'
import { placed, type Sampled, stateAfter } from './sampled.js'
import type { CarriedTombstone, DueTombstones } from './tombstone-store.js'

export type { Sampled, SampledEntry } from './sampled.js'

export interface BufferOptions extends Pick<BufferConfig, 'bytesMax' | 'whenFull' | 'ringBytesMax'> {
  readonly path: string
  readonly deviceId: string
  /** Empty where the machine has none. */
  readonly machineId: string
  /** Of new readings. */
  readonly profile: Profile
  /** Whether the source is live: its readings cannot wait for the disk. */
  readonly isLive: boolean
  /** Seqs that are reserved in one commit, with durability `spill`; 0: `strict`. */
  readonly reserveReadings: number
  /** Fresh randomness for a new epoch, at least 7 bytes. */
  readonly randomBytes: () => Uint8Array
  /** Unix ms, for the age of chunks. */
  readonly wallMs: () => number
  readonly monotonicMs: () => number
}

export class SqliteBuffer implements DeliveryBuffer {
  readonly path: string
  /** Whether it was found damaged when it was opened; what was lost is declared. */
  readonly wasDamaged: boolean
  readonly clocks: BufferClocks
  private readonly store: BufferStore
  private readonly ledger: BufferLedger
  private readonly shedding: BufferShedding
  private readonly compaction: BufferCompaction
  private readonly isStrict: boolean
  private readonly disk: DiskAttempts
  /** Set while the disk is short of space: the buffer grows no more. */
  private bytesCap = Number.POSITIVE_INFINITY
  /** Readings that fell out of memory while the disk could not be written, since the buffer was opened. */
  droppedFromMemory = 0
  /** The last position that was taken into a batch. */
  private takenPosition = 0

  constructor(private readonly options: BufferOptions) {
    const { path, reserveReadings, whenFull, machineId, wallMs } = options
    this.path = path
    this.isStrict = reserveReadings === 0
    this.store = new BufferStore(options)
    this.ledger = new BufferLedger(this.store, reserveReadings, wallMs)
    this.shedding = new BufferShedding(this.store, whenFull === 'drop-newest' ? 'drop-oldest' : whenFull)
    this.compaction = new BufferCompaction(this.store)
    this.disk = new DiskAttempts(options.monotonicMs, () => this.store.reopen())
    this.clocks = new BufferClocks(this.store, this.ledger, this.disk, this.isStrict)
    this.wasDamaged = this.recover()
    const known = this.state.machineId
    if (known !== machineId && machineId !== '') {
      // The file came from another machine, where its original may live on: both must not give the same seqs.
      if (known !== '') this.takeNewEpoch()
      this.ledger.commit({ flush: true, change: { machineId } })
    }
    this.store.noteMark(this.state, this.ledger.epochs)
  }

  get state(): BufferState {
    return this.ledger.state
  }

  get held(): number {
    return this.state.held
  }

  get settledPosition(): number {
    return this.state.settledPosition
  }

  /** The epoch that new readings get. */
  get epoch(): number {
    return this.ledger.epochs[this.ledger.epochs.length - 1].epoch
  }

  /** Why the disk cannot be written now; null where it can. */
  get diskFailure(): BufferWriteError | null {
    return this.disk.error
  }

  /** Readings that are only in memory. */
  get inMemory(): number {
    return this.ledger.tail.count
  }

  get isFull(): boolean {
    return this.state.bytes >= this.bytesMax
  }

  private get bytesMax(): number {
    return Math.min(this.options.bytesMax, this.bytesCap)
  }

  /** Whether a live reading finds room: a full buffer makes some, by its rule. */
  makeRoom(): boolean {
    if (!this.isFull || this.disk.error !== null) return true
    if (this.options.whenFull === 'drop-newest') return false
    const { bytesMax } = this
    this.tryToShed(() => this.shedding.makeRoom(this.ledger.epochs, this.takenPosition, this.state.bytes - bytesMax, bytesMax))
    return !this.isFull || this.disk.error !== null
  }

  /**
   * Lets the buffer grow no more while others need the disk's last bytes, and gives back what fell free. One that is next to empty may
   * still have the least that any buffer has: what is acked at once needs a place until then.
   */
  limitGrowth(isShortOfSpace: boolean): void {
    if (isShortOfSpace === Number.isFinite(this.bytesCap)) return
    this.bytesCap = isShortOfSpace ? Math.max(this.state.bytes, BUFFER_BYTES_MIN) : Number.POSITIVE_INFINITY
    if (isShortOfSpace) this.disk.attempt(() => this.store.shrink())
  }

  /** Stores what a source gave, as durably as is configured, and returns the last position given. */
  append(sampled: Sampled): number {
    const { readings, shed } = placed(sampled, this.state.nextPosition, this.options.monotonicMs())
    const change = stateAfter(this.state, sampled)
    const commit = () => this.ledger.commit({ flush: true, change, readings, shed })
    if (this.isStrict && this.disk.attempt(commit, this.options.isLive)) return this.state.nextPosition - 1
    if (!this.options.isLive) throw this.disk.error!
    this.ledger.note(change)
    for (const reading of readings) this.ledger.tail.push(reading)
    this.ledger.noteShed(shed)
    const { hasUndeclared, needsReserve } = this.ledger
    if (!this.isStrict && (hasUndeclared || needsReserve)) this.disk.attempt(() => this.ledger.commit({ flush: hasUndeclared }))
    this.boundTail()
    return this.state.nextPosition - 1
  }

  /** Writes what has waited in memory for `waitMs`, and tries again what the disk refused. Returns whether the disk takes it. */
  keepUp(waitMs: number): boolean {
    const { oldest } = this.ledger.tail
    const isDue = oldest !== null && this.options.monotonicMs() - oldest.sinceMs >= waitMs
    if (isDue || this.disk.error !== null || this.ledger.hasUndeclared) this.disk.attempt(() => this.flush())
    if (this.disk.error === null) this.compact()
    return this.disk.error === null
  }

  private compact(): void {
    const rows = this.compaction.next(this.ledger.epochs, this.takenPosition)
    if (rows === null) return
    const work = ({ bytes }: BufferState) => ({ bytes: bytes - this.compaction.run(rows) })
    this.disk.attempt(() => this.ledger.commit({ flush: this.isStrict, work }))
  }

  /** Up to `readingsMax` readings behind a position that may be published, of one epoch, profile and clock; null where there is none. */
  readAfter(position: number, readingsMax: number, lastPosition = Number.POSITIVE_INFINITY): ReadResult | null {
    return this.ledger.readAfter(position, readingsMax, lastPosition)
  }

  /** What a batch must say of the buffer now; for the epoch of a position, or the current one. */
  facts(position?: number): BatchFacts {
    return this.ledger.facts(position)
  }

  /** As `facts`, for an epoch by its number. */
  factsOfEpoch(epoch: number): BatchFacts {
    return this.ledger.factsOfEpoch(epoch)
  }

  /** Tombstones that a batch of the epoch must carry, and the first seq of those that find no room in it. */
  tombstonesFor(epoch: number, lastSeq: number): DueTombstones {
    return this.ledger.tombstonesFor(epoch, lastSeq)
  }

  epochOfTombstones(): number | null {
    return this.store.tombstones.someEpoch()
  }

  /** Makes it durable that what lies up to `position` may have been published. `taken`: the last reading of the batch. */
  willPublish(position: number, taken = position): void {
    this.ledger.willPublish(position)
    this.takenPosition = Math.max(this.takenPosition, taken)
  }

  /** Deletes the `count` readings up to a position, and the tombstones that were declared with them. The gateway has acked both. */
  settle(position: number, count: number, declared: readonly CarriedTombstone[]): void {
    const { held, settledPosition, nextPosition, bytes } = this.state
    const change = {
      settledPosition: held === count ? nextPosition - 1 : Math.max(settledPosition, position),
      held: held - count,
      lastAckedMs: this.options.wallMs()
    }
    if (declared.length === 0 && count === this.ledger.tail.countThrough(position) && count > 0) {
      this.ledger.tail.dropThrough(position)
      this.ledger.note(change)
      return
    }
    const work = () => {
      this.store.tombstones.remove(declared)
      return { bytes: bytes - this.store.deleteThrough(position) }
    }
    this.ledger.commit({ flush: this.isStrict, change, dropTailThrough: position, work })
  }

  /** Drops the readings of the oldest span on the record: a tombstone replaces them in one commit. */
  shed(span: Span, reason: string): void {
    const { held, bytes, nextPosition, settledPosition } = this.state
    const { tail } = this.ledger
    const stored = held - tail.count
    const count = span.count === 1 ? 1 : tail.countThrough(span.last) + stored - this.store.readingsBehind(span.last)
    this.ledger.commit({
      flush: this.isStrict,
      change: { held: held - count, settledPosition: held === count ? nextPosition - 1 : Math.max(settledPosition, span.last) },
      shed: [{ first: span.after + 1, last: span.last, reason }],
      dropTailThrough: span.last,
      work: () => ({ bytes: bytes - this.store.deleteThrough(span.last) })
    })
  }

  /** Drops what was stored before a time, Unix ms, on the record (`expired`), save what may be in flight. Returns how many readings. */
  expire(storedBeforeMs: number): number {
    const { held } = this.state
    this.tryToShed(() => this.shedding.expire(this.ledger.epochs, this.takenPosition, storedBeforeMs))
    return held - this.state.held
  }

  private tryToShed(shed: () => Freed): void {
    this.disk.attempt(() =>
      this.ledger.commit({
        flush: this.isStrict,
        work: ({ held, bytes, settledPosition, nextPosition }) => {
          const freed = shed()
          return {
            held: held - freed.readings,
            bytes: bytes - freed.bytes,
            settledPosition: held === freed.readings ? nextPosition - 1 : settledPosition
          }
        }
      })
    )
  }

  /** New readings get a new epoch from here on; held ones keep their event IDs. */
  takeNewEpoch(): void {
    this.ledger.noteEpochs(withNewEpoch(this.ledger.epochs, this.state.nextPosition, this.state.nextPosition - 1, this.newEpoch()))
    this.ledger.note({ eventTimeMs: null })
    this.disk.attempt(() => this.ledger.commit({ flush: this.isStrict }))
  }

  /**
   * The gateway has seen this epoch's seqs before, with other readings: the buffer was restored from an image. New readings get
   * a new epoch, and so do the held ones that were never published. Those that may have been published keep their event IDs: the
   * gateway may hold them already, and under a new ID they would be archived twice. They are published to the end, and the
   * gateway archives or quarantines each. The seqs that thereby fall free are declared in the old epoch by a tombstone.
   * @returns whether it was the current epoch
   */
  replaceSpentEpoch(epoch: number): boolean {
    const old = this.ledger.epochs[this.ledger.epochs.length - 1]
    if (old.epoch !== epoch) return false
    this.flush()
    const { nextPosition, settledPosition } = this.state
    const last = nextPosition - 1
    const cut = Math.min(last, Math.max(this.ledger.publishedThrough, settledPosition, old.base))
    const newest = this.newEpoch()
    const epochs = withNewEpoch(this.ledger.epochs, nextPosition, cut, newest)
    const work = () => {
      this.store.tombstones.renumber(epoch, newest, cut - old.base)
      if (cut < last) this.store.tombstones.insert({ epoch, firstSeq: cut + 1 - old.base, lastSeq: last - old.base }, 'epoch-spent')
      return {}
    }
    this.ledger.commit({ flush: true, change: { eventTimeMs: null }, epochs, work })
    return true
  }

  private newEpoch(): number {
    return epochFromBytes(this.options.randomBytes())
  }

  /** Notes that the source has come to its end; it is forgotten when the source yields again. */
  noteSourceEnded(): void {
    if (this.state.sourceEnded === 0) this.disk.attempt(() => this.ledger.commit({ flush: true, change: { sourceEnded: 1 } }))
  }

  /** Keeps the last error for `status`. What it notes may be that nothing can be written. */
  noteError(message: string | null): void {
    if (message === this.state.lastError) return
    this.ledger.note({ lastError: message, lastErrorMs: message === null ? null : this.options.wallMs() })
    this.disk.attempt(() => this.ledger.commit({ flush: this.isStrict }))
  }

  /** Writes what is in memory, gives back the seqs that are reserved, and closes the file; closes it also where it throws. */
  close(): void {
    const reservedPosition = this.state.nextPosition - 1
    this.store.lowerMark(reservedPosition)
    try {
      this.disk.attempt(() => this.ledger.commit({ flush: true, change: { reservedPosition } }), false)
    } finally {
      this.store.close()
    }
  }

  private flush(): void {
    this.ledger.commit({ flush: true })
  }

  /** Keeps the tail within its bound: on disk, or, while that cannot be written, by dropping the oldest that is not in flight. */
  private boundTail(): void {
    const { tail } = this.ledger
    if (tail.bytes <= this.options.ringBytesMax || this.disk.attempt(() => this.flush())) return
    const dropped = tail.dropOldest(this.takenPosition, tail.bytes - this.options.ringBytesMax)
    if (dropped.length === 0) return
    this.ledger.noteShed(dropped.map(({ position }) => ({ first: position, last: position, reason: 'dropped-oldest' })))
    this.ledger.note({ held: this.held - dropped.length })
    this.droppedFromMemory += dropped.length
  }

  /** Declares what a crash or damage has cost. Returns whether it was damage. */
  private recover(): boolean {
    const { state } = this
    const { epochs, nextPosition, lost, isDamaged } = recover(state, this.ledger.epochs, readMark(this.path, this.options.deviceId))
    if (lost.length === 0) return false
    const settledPosition = state.held === 0 ? nextPosition - 1 : state.settledPosition
    const salvage = isDamaged ? `commits up to position ${nextPosition - 1} were gone: declared as shed (damaged)` : state.salvage
    const change = { nextPosition, settledPosition, reservedPosition: nextPosition - 1, salvage }
    this.ledger.commit({ flush: true, epochs, shed: lost, change })
    if (isDamaged) this.takeNewEpoch()
    return isDamaged
  }
}
