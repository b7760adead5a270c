/**
 * Makes the payloads of batches from the buffer. What a header says of the buffer is read at the moment of encoding, so a batch
 * that is sent again is encoded again.
 */
import { encodeBatch, type Profile } from '@tidemark/protocol'
import type { BatchFacts } from './buffer-ledger.js'
import type { ReadResult } from './buffer-store.js'
import { type ReadingColumns, sliceReadings } from './chunk.js'
import { BatchSizer, readingsThatFit } from './core/batch-size.js'
import type { Span } from './core/in-flight.js'
import type { CarriedTombstone, DueTombstones } from './tombstone-store.js'

export interface BuiltBatch {
  readonly span: Span
  readonly payload: Uint8Array
  /** Nothing behind it is in the batch, neither as a reading nor in a tombstone. */
  readonly position: number
  readonly carried: readonly CarriedTombstone[]
  /** Whether tombstones of the epoch are left that found no room in it. */
  readonly moreTombstones: boolean
}

/** What batches are made from. */
export interface BatchSource {
  /** Up to `readingsMax` readings behind a position, of one epoch, profile and clock; null where there is none. */
  readAfter(position: number, readingsMax: number, lastPosition?: number): ReadResult | null
  /** What a header says of the buffer; for the epoch of a position, or the current one. */
  facts(position?: number): BatchFacts
  factsOfEpoch(epoch: number): BatchFacts
  /** Tombstones that a batch of the epoch up to a seq must carry, and the first seq of those that find no room in it. */
  tombstonesFor(epoch: number, lastSeq: number): DueTombstones
}

export class BatchBuilder {
  private readonly sizer: BatchSizer

  constructor(
    private readonly buffer: BatchSource,
    private readonly profile: Profile,
    readingsMax: number,
    bytesMax: number
  ) {
    this.sizer = new BatchSizer(readingsMax, bytesMax)
  }

  /**
   * The next batch behind a position; null where nothing is held there, a span where what is there is damaged.
   * @param readingsMax, bytesMax tighter bounds than usual, for now
   */
  next(
    after: number,
    readingsMax = Number.POSITIVE_INFINITY,
    bytesMax = Number.POSITIVE_INFINITY
  ): BuiltBatch | { readonly damaged: Span } | null {
    const read = this.buffer.readAfter(after, Math.min(readingsMax, this.sizer.next(bytesMax)))
    if (read === null) return null
    if (read.kind === 'damaged') return { damaged: read.span }
    let readings = read.readings
    readings = sliceReadings(readings, 0, readingsThatFit(readings.profile, readings.columns, readings.positions.length))
    for (;;) {
      const batch = this.encode(after, readings)
      const fewer = this.sizer.judge(readings.positions.length, batch.payload.length, bytesMax)
      if (fewer === null) return batch
      readings = sliceReadings(readings, 0, fewer)
    }
  }

  /** A batch of exactly the readings in a span, which were read before. */
  again(span: Span): BuiltBatch {
    return this.encode(span.after, this.readSpan(span))
  }

  /** The position behind which the second half of a span's readings lies, and how many lie before it. */
  middle(span: Span): { position: number; count: number } {
    const { positions } = this.readSpan(span)
    const count = Math.floor(positions.length / 2)
    return { position: positions[count - 1], count }
  }

  /** A batch without readings for an epoch: it carries tombstones, or the end of the stream, or only asks whether the gateway is well. */
  mark(after: number, epoch: number, isEndOfStream: boolean): BuiltBatch {
    const facts = this.buffer.factsOfEpoch(epoch)
    const tombstones = this.buffer.tombstonesFor(epoch, facts.highestSampledSeq + 1)
    const payload = encodeBatch({
      ...header(facts, tombstones.nextSeq),
      profile: this.profile,
      seqs: [],
      eventTimesMs: [],
      columns: [],
      tombstones: tombstones.carried,
      ...(isEndOfStream ? { endOfStreamSeq: facts.highestSampledSeq } : {})
    })
    return built({ after, last: after, count: 0 }, payload, facts, tombstones)
  }

  private readSpan(span: Span): ReadingColumns {
    const read = this.buffer.readAfter(span.after, span.count, span.last)
    if (read?.kind !== 'readings' || read.readings.positions.length !== span.count) {
      throw new Error(`the buffer no longer has the ${span.count} readings at positions ${span.after + 1} to ${span.last}`)
    }
    return read.readings
  }

  private encode(after: number, readings: ReadingColumns): BuiltBatch {
    const { positions } = readings
    const count = positions.length
    const facts = this.buffer.facts(positions[0])
    const tombstones = this.buffer.tombstonesFor(facts.epoch, positions[count - 1] - facts.base + 1)
    const payload = encodeBatch({
      ...header(facts, tombstones.nextSeq),
      profile: readings.profile,
      seqs: positions.map(position => position - facts.base),
      eventTimesMs: readings.eventTimesMs,
      columns: readings.columns,
      tombstones: tombstones.carried,
      ...(readings.clock === undefined ? {} : { clock: readings.clock })
    })
    return built({ after, last: positions[count - 1], count }, payload, facts, tombstones)
  }
}

function built(span: Span, payload: Uint8Array, facts: BatchFacts, { carried, nextSeq }: DueTombstones): BuiltBatch {
  const position = Math.max(span.last, ...carried.map(tombstone => tombstone.lastSeq + facts.base))
  return { span, payload, position, carried, moreTombstones: nextSeq !== null }
}

/** The oldest held seq never passes a tombstone that is still to be declared: what it passes is taken for missing. */
function header(facts: BatchFacts, undeclaredSeq: number | null) {
  const { epoch, highestSampledSeq, buffered } = facts
  return { epoch, highestSampledSeq, buffered, oldestHeldSeq: Math.min(facts.oldestHeldSeq, undeclaredSeq ?? Number.POSITIVE_INFINITY) }
}
