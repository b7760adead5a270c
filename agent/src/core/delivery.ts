/**
 * Decides what is published and what is deleted, oldest first. Pure: events in, effects through an `Outlet` out; the clock is the
 * outlet's. The agent's publisher and the simulation run this same code.
 *
 * - Only what the buffer lets be read is published; only acked readings (or shed ones, on the record) are deleted.
 * - At most `inFlightMax` batches are unacked. When a connection is lost, what was unacked goes out again in its order.
 * - Tombstones ride in every batch of their epoch until one that carried them is acked. Those of an epoch whose readings are all taken
 *   go out in a batch of their own, before the readings of a later one.
 * - What is acked is deleted at the end of the turn, or in a backlog with half a window or soon; where that is lost in a crash it goes out again.
 * - A method that throws what the buffer threw can be called again: nothing that it did is lost or done twice.
 */
import type { BatchBuilder, BatchSource, BuiltBatch } from '../batch-builder.js'
import { DELETE_WITHIN_MS } from '../limits.js'
import type { CarriedTombstone } from '../tombstone-store.js'
import { type Flight, InFlightWindow, type Span } from './in-flight.js'
import type { RateLimit } from './rate-limit.js'
import { RefusalTracker } from './refusal.js'

/** The buffer as it is published from. */
export interface DeliveryBuffer extends BatchSource {
  /** The epoch that new readings get. */
  readonly epoch: number
  /** Readings that are neither acked nor shed. */
  readonly held: number
  /** Everything up to it is acked or shed. */
  readonly settledPosition: number
  /** An epoch with tombstones that are not acked yet; null where there is none. */
  epochOfTombstones(): number | null
  /** Called before a batch is published: it tells of nothing behind `position`, and its last reading is at `taken`. */
  willPublish(position: number, taken: number): void
  /** Deletes the `count` readings up to a position, and the tombstones that were declared with them. */
  settle(position: number, count: number, declared: readonly CarriedTombstone[]): void
  /** Drops the oldest span on the record. */
  shed(span: Span, reason: string): void
  /** Takes a new epoch where this is the current one; whether it was. */
  replaceSpentEpoch(epoch: number): boolean
}

export type DeliveryNote =
  /** The gateway has acked something: it is well. */
  | { readonly note: 'acked' }
  /** What was acked is deleted: there is room in the buffer. */
  | { readonly note: 'deleted' }
  | { readonly note: 'stream-ended' }
  | { readonly note: 'damaged'; readonly span: Span }
  | { readonly note: 'halving'; readonly readings: number }
  | { readonly note: 'refused'; readonly epoch: number; readonly seq: number }

export interface Outlet {
  /** Monotonic ms. */
  nowMs(): number
  /** Hands a batch to the connection that is up; `acked` is called when it is durable, and never where the connection ends before. */
  publish(payload: Uint8Array, acked: () => void): void
  /** Asks for `finishTurn` at the end of this turn of the event loop. */
  turnSoon(): void
  /** Asks for `finishTurn` in so many ms at the latest. */
  turnWithin(delayMs: number): void
  /** Asks for `wake` in so many ms. */
  wakeIn(delayMs: number): void
  note(note: DeliveryNote): void
}

/** What is known of a batch in flight beside its span. */
interface Cargo {
  readonly carried: readonly CarriedTombstone[]
  /** Epoch of a batch without readings; null for others. */
  readonly markOf: number | null
  readonly isEndOfStream: boolean
  /** Monotonic ms. */
  readonly sentMs: number
}

const NOT_SENT: Cargo = { carried: [], markOf: null, isEndOfStream: false, sentMs: 0 }

export interface DeliveryOptions {
  readonly buffer: DeliveryBuffer
  readonly builder: BatchBuilder
  readonly inFlightMax: number
  readonly rate: RateLimit
}

export class Delivery {
  private readonly window: InFlightWindow<Cargo>
  private readonly refusals = new RefusalTracker()
  /** The last position that was taken into the window. */
  private taken: number
  /** Acked, and to be deleted in one commit. */
  private acked: Flight<Cargo>[] = []
  /** Since when the oldest of them waits for that, in monotonic ms. */
  private ackedSinceMs = 0
  private isUp = false
  private isHeld = false
  private probeSentMs: number | null = null
  private streamEnds = false
  /** Whether everything is acked, with the mark that says where the stream ends. */
  hasEnded = false

  constructor(
    private readonly options: DeliveryOptions,
    private readonly outlet: Outlet
  ) {
    this.window = new InFlightWindow(options.inFlightMax)
    this.taken = options.buffer.settledPosition
  }

  /** Batches on their way. */
  get sent(): number {
    return this.window.sent
  }

  /** Acked, but not deleted yet. */
  get isDeleting(): boolean {
    return this.acked.length > 0
  }

  /** Since when the oldest batch has waited for its PUBACK, in monotonic ms; null where none does. */
  get waitsSinceMs(): number | null {
    return this.probeSentMs ?? this.window.oldestSent()?.cargo.sentMs ?? null
  }

  /** A connection came up. */
  up(): void {
    this.isUp = true
    this.wake()
  }

  /**
   * The connection ended.
   * @param mayBeRefusal false where we gave it up ourselves: nothing on it was refused then
   */
  down(mayBeRefusal: boolean): void {
    const oldest = this.window.oldestSent()
    // A batch without readings cannot be halved.
    const tried = mayBeRefusal && oldest !== null && oldest.span.count > 0 ? { id: oldest.id, count: oldest.span.count } : null
    this.isUp = false
    this.window.lose()
    if (this.acked.length > 0) this.outlet.turnSoon()
    this.probeSentMs = null
    const verdict = this.refusals.lost(tried)
    if (tried !== null && verdict !== 'send-again') this.giveWay(tried.id, verdict)
  }

  /** There may be something to send. */
  wake(): void {
    if (!this.isUp || this.isHeld) return
    const admission = this.refusals.admission()
    if (admission.mode === 'probe') {
      this.probe()
      return
    }
    if (admission.mode === 'only') {
      const suspect = this.window.all().find(flight => flight.id === admission.id)
      if (suspect?.state === 'waiting') this.send(suspect)
      return
    }
    while (this.isAllowed() && this.sendOldest()) {}
    if (this.window.size === 0 && this.acked.length === 0) this.sendMark()
  }

  /** Sends nothing more. */
  hold(): void {
    this.isHeld = true
  }

  /** From now on, once everything is acked, says where the stream ends. */
  endStream(): void {
    this.streamEnds = true
    this.wake()
  }

  /** At the end of a turn of the event loop: deletes what was acked, where that is due, and goes on. */
  finishTurn(): void {
    if (this.isDeletionDue) this.deleteAcked()
    else this.outlet.turnWithin(DELETE_WITHIN_MS)
    this.wake()
  }

  /** In a backlog one commit deletes half a window, since each costs an fsync. What declares something is deleted at once, so that it is not declared again. */
  private get isDeletionDue(): boolean {
    const { window, acked, outlet } = this
    if (this.isHeld || acked.length === 0 || window.sent === 0 || acked.length >= this.options.inFlightMax / 2) return true
    if (outlet.nowMs() - this.ackedSinceMs >= DELETE_WITHIN_MS) return true
    return acked.some(({ cargo }) => cargo.carried.length > 0 || cargo.markOf !== null)
  }

  /** The gateway has seen this epoch's seqs before. Returns whether a new one was taken. */
  epochSpent(epoch: number): boolean {
    if (!this.options.buffer.replaceSpentEpoch(epoch)) return false
    this.wake()
    return true
  }

  private isAllowed(): boolean {
    const waitMs = this.options.rate.waitMs(this.outlet.nowMs())
    if (waitMs > 0) this.outlet.wakeIn(waitMs)
    return waitMs === 0
  }

  /** Sends what must go out again, or else the next batch of the buffer; false where there is nothing to send now. */
  private sendOldest(): boolean {
    const waiting = this.window.oldestWaiting()
    if (waiting !== null) {
      this.send(waiting)
      return true
    }
    return this.window.hasRoom && this.sendNext()
  }

  private sendNext(): boolean {
    const { buffer, builder, rate } = this.options
    const built = builder.next(this.taken, rate.batchReadingsMax, rate.batchBytesMax)
    if (built === null) return false
    if ('damaged' in built) {
      if (this.window.size > 0 || this.acked.length > 0) return false // only what is oldest can be shed
      const { damaged } = built
      buffer.shed(damaged, 'damaged')
      this.taken = Math.max(damaged.last, buffer.settledPosition)
      this.outlet.note({ note: 'damaged', span: damaged })
      return true
    }
    const stranded = this.strandedEpoch(built.span.last)
    if (stranded !== null) {
      this.transmitMark(builder.mark(this.taken, stranded, false), stranded, false)
      return true
    }
    const flight = this.window.add(built.span, NOT_SENT)
    this.taken = built.span.last
    this.transmit(flight, built, null, false)
    return true
  }

  /**
   * An epoch whose tombstones no batch of readings is going to carry, since the next reading, at `position`, is of a later one; null
   * where there is none, or its batch is on its way.
   */
  private strandedEpoch(position: number): number | null {
    const { buffer } = this.options
    const epoch = buffer.epochOfTombstones()
    if (epoch === null) return null
    const next = buffer.facts(position)
    if (epoch === next.epoch || buffer.factsOfEpoch(epoch).base > next.base) return null
    const isDeclaring = ({ cargo }: Flight<Cargo>) => cargo.markOf === epoch
    return this.window.all().some(isDeclaring) || this.acked.some(isDeclaring) ? null : epoch
  }

  private send(flight: Flight<Cargo>): void {
    const { builder } = this.options
    const { markOf, isEndOfStream } = flight.cargo
    const built = markOf === null ? builder.again(flight.span) : builder.mark(flight.span.after, markOf, isEndOfStream)
    this.transmit(flight, built, markOf, isEndOfStream)
  }

  /** When nothing else is to be sent: tombstones that are not declared yet, then the end of the stream. */
  private sendMark(): void {
    const { buffer, builder } = this.options
    const isEnding = this.streamEnds && !this.hasEnded && buffer.held === 0
    const undeclared = buffer.epochOfTombstones()
    const epoch = undeclared ?? buffer.epoch
    let isEndOfStream = isEnding && epoch === buffer.epoch
    if (isEndOfStream && buffer.facts().highestSampledSeq === 0) this.finishStream() // nothing was ever sampled
    if (undeclared === null && (!isEndOfStream || this.hasEnded)) return
    let built = builder.mark(this.taken, epoch, isEndOfStream)
    if (isEndOfStream && built.moreTombstones) {
      isEndOfStream = false
      built = builder.mark(this.taken, epoch, false)
    }
    this.transmitMark(built, epoch, isEndOfStream)
  }

  private transmitMark(built: BuiltBatch, epoch: number, isEndOfStream: boolean): void {
    this.transmit(this.window.add(built.span, NOT_SENT), built, epoch, isEndOfStream)
  }

  private transmit(flight: Flight<Cargo>, built: BuiltBatch, markOf: number | null, isEndOfStream: boolean): void {
    const { buffer, rate } = this.options
    buffer.willPublish(built.position, built.span.last)
    this.window.send(flight.id, { carried: built.carried, markOf, isEndOfStream, sentMs: this.outlet.nowMs() })
    rate.spend(built.span.count, built.payload.length)
    this.outlet.publish(built.payload, () => this.puback(flight.id))
  }

  /** Asks with a batch without readings whether the gateway is well. */
  private probe(): void {
    if (this.probeSentMs !== null) return
    const { buffer, builder } = this.options
    this.probeSentMs = this.outlet.nowMs()
    const { payload } = builder.mark(this.taken, buffer.epoch, false)
    this.outlet.publish(payload, () => {
      this.probeSentMs = null
      this.outlet.note({ note: 'acked' })
      this.refusals.probeAcked()
      this.outlet.turnSoon()
    })
  }

  private puback(id: number): void {
    this.outlet.note({ note: 'acked' })
    this.refusals.acked(id)
    this.deleteLater(this.window.ack(id))
  }

  private deleteLater(settled: readonly Flight<Cargo>[]): void {
    if (this.acked.length === 0) this.ackedSinceMs = this.outlet.nowMs()
    this.acked.push(...settled)
    this.outlet.turnSoon()
  }

  private deleteAcked(): void {
    const flights = this.acked
    if (flights.length === 0) return
    const count = flights.reduce((sum, flight) => sum + flight.span.count, 0)
    const carried = flights.flatMap(flight => flight.cargo.carried)
    this.options.buffer.settle(flights[flights.length - 1].span.last, count, carried)
    this.acked = []
    this.outlet.note({ note: 'deleted' })
    if (flights.some(flight => flight.cargo.isEndOfStream)) this.finishStream()
  }

  private finishStream(): void {
    this.hasEnded = true
    this.outlet.note({ note: 'stream-ended' })
  }

  /** Halves a batch that the gateway refuses, or sheds its only reading. */
  private giveWay(id: number, verdict: 'halve' | 'shed'): void {
    const { buffer, builder } = this.options
    const { span } = this.window.all().find(candidate => candidate.id === id)!
    if (verdict === 'halve') {
      const { position, count } = builder.middle(span)
      this.outlet.note({ note: 'halving', readings: span.count })
      this.window.split(id, position, count, NOT_SENT)
      this.refusals.begin(id)
      return
    }
    this.deleteAcked() // everything older is acked, and leaves the buffer first
    const { epoch, base } = buffer.facts(span.last)
    buffer.shed(span, 'refused')
    this.outlet.note({ note: 'refused', epoch, seq: span.last - base })
    this.deleteLater(this.window.remove(id)) // what was acked behind it
    this.refusals.clear()
  }
}
