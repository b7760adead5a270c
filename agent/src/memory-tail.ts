/**
 * Readings in memory that are not on disk (yet): with `spill` those that hope to be acked first, and while the disk cannot be
 * written all new ones. In the order of their positions, which are behind all that is on disk.
 */
import { columnsOf, type Profile } from '@tidemark/protocol'
import type { PlacedReading, ReadingColumns } from './chunk.js'
import { readingBytesMax, textBytesMax } from './core/batch-size.js'

export interface TailReading extends PlacedReading {
  readonly profile: Profile
  /** Monotonic ms at which it was sampled. */
  readonly sinceMs: number
}

/** What a reading takes in memory beside its values, in bytes. An estimate, for the bound. */
const OVERHEAD_BYTES = 160

export class MemoryTail {
  private readings: TailReading[] = []
  /** Index of the oldest: what is dropped leaves the array now and then, not one by one. */
  private start = 0
  private heldBytes = 0

  get count(): number {
    return this.readings.length - this.start
  }

  /** An estimate. */
  get bytes(): number {
    return this.heldBytes
  }

  get oldest(): TailReading | null {
    return this.readings[this.start] ?? null
  }

  all(): readonly TailReading[] {
    return this.readings.slice(this.start)
  }

  push(reading: TailReading): void {
    this.readings.push(reading)
    this.heldBytes += bytesOf(reading)
  }

  /** How many lie at or before a position. */
  countThrough(position: number): number {
    return this.indexBehind(position) - this.start
  }

  dropThrough(position: number): void {
    const end = this.indexBehind(position)
    for (; this.start < end; this.start++) this.heldBytes -= bytesOf(this.readings[this.start])
    if (this.start === this.readings.length) this.clear()
    else if (this.start > 1000 && this.start > this.readings.length / 2) {
      this.readings = this.readings.slice(this.start)
      this.start = 0
    }
  }

  /** Drops the oldest behind a position until that many bytes are free, and returns them. */
  dropOldest(after: number, bytes: number): TailReading[] {
    const from = this.indexBehind(after)
    let end = from
    for (let left = bytes; left > 0 && end < this.readings.length; end++) left -= bytesOf(this.readings[end])
    const dropped = this.readings.splice(from, end - from)
    for (const reading of dropped) this.heldBytes -= bytesOf(reading)
    return dropped
  }

  clear(): void {
    this.readings = []
    this.start = 0
    this.heldBytes = 0
  }

  /** Up to `readingsMax` readings of one profile at positions in (after, last]; null where there is none. */
  readAfter(after: number, readingsMax: number, last: number): ReadingColumns | null {
    const from = this.indexBehind(after)
    const profile = this.readings[from]?.profile
    const part: TailReading[] = []
    for (let i = from; i < this.readings.length && part.length < readingsMax; i++) {
      const reading = this.readings[i]
      if (reading.position > last || reading.profile !== profile) break
      part.push(reading)
    }
    if (part.length === 0) return null
    return {
      profile,
      positions: Float64Array.from(part, reading => reading.position),
      eventTimesMs: Float64Array.from(part, reading => reading.eventTimeMs),
      columns: columnsOf(
        profile,
        part.map(reading => reading.values)
      )
    }
  }

  private indexBehind(position: number): number {
    let low = this.start
    let high = this.readings.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.readings[middle].position > position) high = middle
      else low = middle + 1
    }
    return low
  }
}

function bytesOf({ profile, values }: TailReading): number {
  let bytes = OVERHEAD_BYTES + readingBytesMax(profile)
  for (const value of values) if (typeof value === 'string') bytes += textBytesMax(value)
  return bytes
}
