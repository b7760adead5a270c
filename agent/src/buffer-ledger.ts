/**
 * What is true of the buffer now, and what of that is on disk. The one place that commits.
 *
 * - In memory, ahead of the file, are: the tail of readings that are not written yet, what was shed and is not declared on disk yet,
 *   epochs and clock ranges that are not written yet, and facts that are not worth a commit.
 * - A commit that fails changes neither the file nor what is true.
 * - What may be published is on disk, or has its seq in a range that is reserved on disk.
 */
import type { BufferState } from './buffer-schema.js'
import type { BufferStore, ReadResult } from './buffer-store.js'
import { ClockRanges } from './clock-ranges.js'
import { type EpochRange, endOfEpoch, epochIndexAt, seqRanges } from './core/epochs.js'
import { publishedAhead } from './core/publish-ahead.js'
import { MemoryTail, type TailReading } from './memory-tail.js'
import type { DueTombstones } from './tombstone-store.js'

/** What a batch's header says of the buffer. */
export interface BatchFacts {
  readonly epoch: number
  /** Position of the reading with seq 0 in the epoch: seq = position - base. */
  readonly base: number
  readonly oldestHeldSeq: number
  readonly highestSampledSeq: number
  readonly buffered: number
}

/** Positions [first, last] of readings that were shed. */
export interface ShedPositions {
  readonly first: number
  readonly last: number
  readonly reason: string
}

export interface Commit {
  /** What is true after it. */
  readonly change?: Partial<BufferState>
  /** Whether the tail is written. */
  readonly flush: boolean
  /** Readings that are written behind the tail. */
  readonly readings?: readonly TailReading[]
  readonly shed?: readonly ShedPositions[]
  readonly epochs?: readonly EpochRange[]
  readonly clocks?: ClockRanges
  /** Readings of the tail up to here are no longer held. */
  readonly dropTailThrough?: number
  /** Runs in the commit; returns what else is true. */
  readonly work?: (state: BufferState) => Partial<BufferState>
}

export class BufferLedger {
  readonly tail = new MemoryTail()
  private current: BufferState
  private currentEpochs: readonly EpochRange[]
  private epochsAreWritten = true
  private currentClocks: ClockRanges
  private clocksAreWritten = true
  private undeclared: readonly ShedPositions[] = []
  /** Nothing behind it was published: exact for what this run does, as the file had it for earlier runs. */
  publishedThrough: number
  /** The next position as the file has it. */
  private storedNext: number

  /** @param reserveReadings seqs that are reserved at a time; 0: none, a reading is on disk before it may be published */
  constructor(
    private readonly store: BufferStore,
    private readonly reserveReadings: number,
    private readonly wallMs: () => number
  ) {
    this.current = store.readState()
    this.currentEpochs = store.readEpochs()
    this.currentClocks = new ClockRanges(store.readClocks())
    this.storedNext = this.current.nextPosition
    this.publishedThrough = this.current.publishedPosition
  }

  get state(): BufferState {
    return this.current
  }

  get epochs(): readonly EpochRange[] {
    return this.currentEpochs
  }

  get clocks(): ClockRanges {
    return this.currentClocks
  }

  /** Whether something was shed that is not declared on disk yet. */
  get hasUndeclared(): boolean {
    return this.undeclared.length > 0
  }

  /** Whether it is time to reserve more seqs. */
  get needsReserve(): boolean {
    return this.reserveReadings > 0 && this.current.reservedPosition - this.current.nextPosition < this.reserveReadings / 2
  }

  /** Nothing behind it may be published. */
  private get publishableThrough(): number {
    const { nextPosition, reservedPosition } = this.current
    const through = this.reserveReadings > 0 ? Math.min(nextPosition - 1, reservedPosition) : this.storedNext - 1
    return this.epochsAreWritten ? through : Math.min(through, this.currentEpochs[this.currentEpochs.length - 1].base)
  }

  /** Makes it durable that what lies up to `position` may have been published. */
  willPublish(position: number): void {
    const { nextPosition, publishedPosition, reservedPosition } = this.current
    if (position > publishedPosition) {
      const isStrict = this.reserveReadings === 0
      const ahead = isStrict ? publishedAhead(position, nextPosition) : Math.max(position, reservedPosition)
      this.commit({ flush: isStrict, change: { publishedPosition: ahead } })
    }
    this.publishedThrough = Math.max(this.publishedThrough, position)
  }

  /** Changes what is true, without a commit. */
  note(change: Partial<BufferState>): void {
    this.current = { ...this.current, ...change }
  }

  noteShed(shed: readonly ShedPositions[]): void {
    this.undeclared = joined([...this.undeclared, ...shed])
  }

  /** Takes epochs that are written with the next commit. */
  noteEpochs(epochs: readonly EpochRange[]): void {
    this.currentEpochs = epochs
    this.epochsAreWritten = false
  }

  /** Takes clock ranges that are written with the next commit. */
  noteClocks(clocks: ClockRanges): void {
    this.currentClocks = clocks
    this.clocksAreWritten = false
  }

  commit({ change = {}, flush, readings = [], shed = [], epochs, clocks, dropTailThrough = 0, work = () => ({}) }: Commit): void {
    const { store, reserveReadings } = this
    const inTail = this.tail.all().filter(({ position }) => position > dropTailThrough)
    const written = [...(flush ? inTail : []), ...readings]
    const left = flush ? [] : inTail
    const allEpochs = epochs ?? this.currentEpochs
    const allClocks = clocks ?? this.currentClocks
    const nextPosition = change.nextPosition ?? this.current.nextPosition
    const storedNext = left[0]?.position ?? nextPosition
    let next: BufferState = { ...this.current, ...change, reservedPosition: this.reserveThrough(nextPosition, reserveReadings, change) }
    store.commit(
      () => {
        let bytes = 0
        for (const run of runsOf(written)) bytes += store.insert(run[0].profile, run, this.wallMs())
        for (const { first, last, reason } of [...this.undeclared, ...shed])
          store.tombstones.extend(seqRanges(allEpochs, first, last), reason)
        const worked = { ...next, ...work(next) }
        next = { ...worked, bytes: worked.bytes + bytes }
        return {
          ...next,
          nextPosition: storedNext,
          held: next.held - left.length,
          reservedPosition: reserveReadings > 0 ? next.reservedPosition : storedNext - 1
        }
      },
      this.epochsAreWritten && epochs === undefined ? null : allEpochs,
      this.clocksAreWritten && clocks === undefined ? null : allClocks.all
    )
    if (flush) this.tail.clear()
    else this.tail.dropThrough(dropTailThrough)
    this.current = next
    this.currentEpochs = allEpochs
    this.epochsAreWritten = true
    this.currentClocks = allClocks
    this.clocksAreWritten = true
    this.undeclared = []
    this.storedNext = storedNext
  }

  private reserveThrough(nextPosition: number, reserveReadings: number, change: Partial<BufferState>): number {
    if (change.reservedPosition !== undefined) return change.reservedPosition
    if (reserveReadings === 0) return nextPosition - 1
    const { reservedPosition } = this.current
    return reservedPosition - nextPosition < reserveReadings / 2 ? nextPosition - 1 + reserveReadings : reservedPosition
  }

  readAfter(position: number, readingsMax: number, lastPosition: number): ReadResult | null {
    const { currentEpochs: epochs, currentClocks: clocks } = this
    const last = Math.min(lastPosition, this.publishableThrough, clocks.lastReadable)
    const endFrom = (first: number) => Math.min(endOfEpoch(epochs, epochIndexAt(epochs, first)), clocks.endOf(first))
    const stored = this.store.readAfter(position, readingsMax, last, endFrom)
    if (stored !== null) return stored.kind === 'readings' ? { kind: 'readings', readings: clocks.apply(stored.readings) } : stored
    const next = this.tail.readAfter(position, 1, last)
    if (next === null) return null
    const end = Math.min(last, endFrom(next.positions[0]))
    return { kind: 'readings', readings: clocks.apply(this.tail.readAfter(position, readingsMax, end)!) }
  }

  facts(position?: number): BatchFacts {
    const index = position === undefined ? this.currentEpochs.length - 1 : epochIndexAt(this.currentEpochs, position)
    return this.factsOf(this.currentEpochs[index])
  }

  factsOfEpoch(epoch: number): BatchFacts {
    return this.factsOf(this.currentEpochs.find(range => range.epoch === epoch)!)
  }

  private factsOf({ epoch, base, highestSeq }: EpochRange): BatchFacts {
    const { settledPosition, held } = this.current
    const through = this.publishableThrough
    const highestSampledSeq = highestSeq ?? Math.max(0, through - base)
    const oldestHeldSeq = Math.min(Math.max(1, settledPosition + 1 - base), highestSampledSeq + 1)
    return { epoch, base, oldestHeldSeq, highestSampledSeq, buffered: held - this.tail.count + this.tail.countThrough(through) }
  }

  tombstonesFor(epoch: number, lastSeq: number): DueTombstones {
    const due = this.store.tombstones.upTo(epoch, lastSeq)
    if (this.undeclared.length === 0) return due
    const ranges = this.undeclared.flatMap(({ first, last }) => seqRanges(this.currentEpochs, first, last))
    const waiting = ranges.filter(range => range.epoch === epoch).map(range => range.firstSeq)
    const nextSeq = Math.min(due.nextSeq ?? Number.POSITIVE_INFINITY, ...waiting)
    return { carried: due.carried, nextSeq: Number.isFinite(nextSeq) ? nextSeq : null }
  }
}

/** Neighbours of one reason as one. */
export function joined(shed: readonly ShedPositions[]): ShedPositions[] {
  const runs: ShedPositions[] = []
  for (const each of shed) {
    const last = runs.at(-1)
    if (last !== undefined && last.reason === each.reason && last.last === each.first - 1)
      runs[runs.length - 1] = { ...last, last: each.last }
    else runs.push(each)
  }
  return runs
}

/** Readings of one profile that follow each other. */
function runsOf(readings: readonly TailReading[]): TailReading[][] {
  const runs: TailReading[][] = []
  for (const reading of readings) {
    const run = runs.at(-1)
    if (run !== undefined && run[0].profile === reading.profile) run.push(reading)
    else runs.push([reading])
  }
  return runs
}
