/**
 * A model of the agent's SQLite buffer: what a commit wrote is there after a crash, nothing else is. It keeps to the rules of
 * agent/src/sqlite-buffer.ts (positions, epochs, tombstones, what `settle` and `shed` may delete) with an array for a database;
 * batches are made from it by the agent's own builder.
 */
import type { BatchSource } from '@tidemark/agent/dist/batch-builder.js'
import type { BatchFacts } from '@tidemark/agent/dist/buffer-ledger.js'
import type { ReadResult } from '@tidemark/agent/dist/buffer-store.js'
import type { ReadingColumns } from '@tidemark/agent/dist/chunk.js'
import { type EpochRange, endOfEpoch, epochIndexAt, seqRanges } from '@tidemark/agent/dist/core/epochs.js'
import type { Span } from '@tidemark/agent/dist/core/in-flight.js'
import { publishedAhead } from '@tidemark/agent/dist/core/publish-ahead.js'
import type { CarriedTombstone, DueTombstones } from '@tidemark/agent/dist/tombstone-store.js'
import { columnsOf, type Profile, TOMBSTONES_PER_BATCH_MAX, type Value } from '@tidemark/protocol'

export interface HeldReading {
  readonly position: number
  readonly eventTimeMs: number
  readonly values: readonly Value[]
}

interface StoredTombstone extends CarriedTombstone {
  readonly epoch: number
}

/** What is durable. Plain data: an image of it is a copy. */
export interface BufferDisk {
  readings: HeldReading[]
  tombstones: StoredTombstone[]
  epochs: EpochRange[]
  nextPosition: number
  settledPosition: number
  publishedPosition: number
  nextTombstone: number
  /** Last event time given in the epoch; null where none was. */
  eventTimeMs: number | null
}

export function newDisk(epoch: number): BufferDisk {
  return {
    readings: [],
    tombstones: [],
    epochs: [{ epoch, base: 0, highestSeq: null }],
    nextPosition: 1,
    settledPosition: 0,
    publishedPosition: 0,
    nextTombstone: 1,
    eventTimeMs: null
  }
}

export type SampledEntry = { readonly eventTimeMs: number; readonly values: readonly Value[] } | { readonly shed: string }

export class SimulatedBuffer implements BatchSource {
  /** Lost in a crash; exact where the disk is ahead. */
  private publishedThrough: number

  constructor(
    readonly disk: BufferDisk,
    private readonly profile: Profile,
    private readonly newEpoch: () => number
  ) {
    this.publishedThrough = disk.publishedPosition
  }

  get epoch(): number {
    return this.disk.epochs[this.disk.epochs.length - 1].epoch
  }

  get held(): number {
    return this.disk.readings.length
  }

  append(entry: SampledEntry, eventTimeMs: number | null): void {
    const { disk } = this
    const position = disk.nextPosition++
    if ('shed' in entry) this.extend(position, position, entry.shed)
    else disk.readings.push({ position, ...entry })
    if (disk.readings.length === 0) disk.settledPosition = position
    disk.eventTimeMs = eventTimeMs
  }

  readAfter(position: number, readingsMax: number, lastPosition = Number.POSITIVE_INFINITY): ReadResult | null {
    const { readings, epochs } = this.disk
    const from = readings.findIndex(reading => reading.position > position)
    if (from < 0 || readings[from].position > lastPosition) return null
    const end = Math.min(lastPosition, endOfEpoch(epochs, epochIndexAt(epochs, readings[from].position)))
    const part = readings.slice(from, from + readingsMax).filter(reading => reading.position <= end)
    return { kind: 'readings', readings: this.columns(part) }
  }

  facts(position?: number): BatchFacts {
    const { epochs } = this.disk
    return this.factsOf(epochs[position === undefined ? epochs.length - 1 : epochIndexAt(epochs, position)])
  }

  factsOfEpoch(epoch: number): BatchFacts {
    return this.factsOf(this.disk.epochs.find(range => range.epoch === epoch)!)
  }

  tombstonesFor(epoch: number, lastSeq: number): DueTombstones {
    const due = this.disk.tombstones
      .filter(tombstone => tombstone.epoch === epoch && tombstone.firstSeq <= lastSeq)
      .sort((a, b) => a.firstSeq - b.firstSeq)
    return { carried: due.slice(0, TOMBSTONES_PER_BATCH_MAX), nextSeq: due[TOMBSTONES_PER_BATCH_MAX]?.firstSeq ?? null }
  }

  epochOfTombstones(): number | null {
    const [first] = this.disk.tombstones
    return first?.epoch ?? null
  }

  willPublish(position: number): void {
    if (position > this.disk.publishedPosition) this.disk.publishedPosition = publishedAhead(position, this.disk.nextPosition)
    this.publishedThrough = Math.max(this.publishedThrough, position)
  }

  /** Deletes what the gateway has acked, up to a position, and the tombstones declared with it. Returns the readings deleted. */
  settle(position: number, declared: readonly CarriedTombstone[]): HeldReading[] {
    const deleted = this.forget(position)
    for (const { id, lastSeq } of declared) {
      this.disk.tombstones = this.disk.tombstones.flatMap(tombstone => {
        if (tombstone.id !== id || tombstone.firstSeq > lastSeq) return [tombstone] // another, or renumbered since
        return tombstone.lastSeq <= lastSeq ? [] : [{ ...tombstone, firstSeq: lastSeq + 1 }]
      })
    }
    return deleted
  }

  /** Drops the oldest span on the record. */
  shed(span: Span, reason: string): HeldReading[] {
    const dropped = this.forget(span.last)
    this.extend(span.after + 1, span.last, reason)
    return dropped
  }

  takeNewEpoch(): void {
    this.beginEpoch(this.disk.nextPosition - 1)
  }

  /** The gateway has seen this epoch's seqs before: see agent/src/sqlite-buffer.ts. */
  replaceSpentEpoch(spent: number): boolean {
    const { disk } = this
    const old = disk.epochs[disk.epochs.length - 1]
    if (old.epoch !== spent) return false
    const last = disk.nextPosition - 1
    const cut = Math.min(last, Math.max(this.publishedThrough, disk.settledPosition, old.base))
    this.beginEpoch(cut)
    this.renumber(spent, cut - old.base)
    if (cut < last) this.insert(spent, cut + 1 - old.base, last - old.base, 'epoch-spent')
    return true
  }

  private factsOf({ epoch, base, highestSeq }: EpochRange): BatchFacts {
    const { nextPosition, settledPosition } = this.disk
    const highestSampledSeq = highestSeq ?? nextPosition - 1 - base
    const oldestHeldSeq = Math.min(Math.max(1, settledPosition + 1 - base), highestSampledSeq + 1)
    return { epoch, base, oldestHeldSeq, highestSampledSeq, buffered: this.held }
  }

  private forget(position: number): HeldReading[] {
    const { disk } = this
    const deleted = disk.readings.filter(reading => reading.position <= position)
    disk.readings = disk.readings.slice(deleted.length)
    disk.settledPosition = disk.readings.length === 0 ? disk.nextPosition - 1 : Math.max(disk.settledPosition, position)
    return deleted
  }

  private beginEpoch(base: number): void {
    const { disk } = this
    const old = disk.epochs[disk.epochs.length - 1]
    disk.epochs = [
      ...disk.epochs.slice(0, -1),
      { ...old, highestSeq: disk.nextPosition - 1 - old.base },
      { epoch: this.newEpoch(), base, highestSeq: null }
    ]
    disk.eventTimeMs = null
  }

  /** Moves tombstones behind a seq to the new epoch, whose seqs begin there. */
  private renumber(spent: number, cutSeq: number): void {
    const { disk } = this
    const moved: StoredTombstone[] = []
    disk.tombstones = disk.tombstones.flatMap(tombstone => {
      if (tombstone.epoch !== spent || tombstone.lastSeq <= cutSeq) return [tombstone]
      const firstSeq = Math.max(1, tombstone.firstSeq - cutSeq)
      const isSplit = tombstone.firstSeq <= cutSeq
      const id = isSplit ? disk.nextTombstone++ : tombstone.id
      moved.push({ ...tombstone, id, epoch: this.epoch, firstSeq, lastSeq: tombstone.lastSeq - cutSeq })
      return isSplit ? [{ ...tombstone, lastSeq: cutSeq }] : []
    })
    disk.tombstones.push(...moved)
  }

  /** Adds a tombstone, or makes the one that it continues longer. */
  private extend(first: number, last: number, reason: string): void {
    for (const { epoch, firstSeq, lastSeq } of seqRanges(this.disk.epochs, first, last)) {
      const isContinued = (each: StoredTombstone) => each.epoch === epoch && each.lastSeq === firstSeq - 1 && each.reason === reason
      if (!this.disk.tombstones.some(isContinued)) this.insert(epoch, firstSeq, lastSeq, reason)
      else this.disk.tombstones = this.disk.tombstones.map(each => (isContinued(each) ? { ...each, lastSeq } : each))
    }
  }

  private insert(epoch: number, firstSeq: number, lastSeq: number, reason: string): void {
    this.disk.tombstones.push({ id: this.disk.nextTombstone++, epoch, firstSeq, lastSeq, keepEvery: 0, reason })
  }

  private columns(readings: readonly HeldReading[]): ReadingColumns {
    return {
      profile: this.profile,
      positions: Float64Array.from(readings, reading => reading.position),
      eventTimesMs: Float64Array.from(readings, reading => reading.eventTimeMs),
      columns: columnsOf(
        this.profile,
        readings.map(reading => reading.values)
      )
    }
  }
}
