import { type ClockQuality, type Column, columnsOf, decodeBatch, encodeBatch, type Profile, type Value, valueAt } from '@tidemark/protocol'
import { readingBytesMax, textBytesMax } from './core/batch-size.js'
import { CHUNK_BYTES_MAX, READINGS_PER_COMMIT_MAX } from './limits.js'

/**
 * A chunk is what one row of the buffer holds: readings at nearly consecutive positions, packed like a batch on the wire, so
 * that there is one columnar format. Its seqs are positions relative to the chunk's first (which is 1): identities are given
 * when a batch is made. Holes are positions whose reading was shed before it was stored.
 */

/** A reading with its place in the buffer. */
export interface PlacedReading {
  readonly position: number
  /** Unix ms. */
  readonly eventTimeMs: number
  /** One a metric, in the profile's order. */
  readonly values: readonly Value[]
}

/** Readings by columns; `positions` strictly rise. `clock`: how good the event times are; absent: synced. */
export interface ReadingColumns {
  readonly clock?: ClockQuality
  readonly profile: Profile
  readonly positions: Float64Array
  readonly eventTimesMs: Float64Array
  readonly columns: readonly Column[]
}

export interface Chunk {
  readonly firstPosition: number
  readonly lastPosition: number
  readonly count: number
  readonly payload: Uint8Array
}

/** The readings in as few chunks as their bounds allow. */
export function packChunks(profile: Profile, readings: readonly PlacedReading[]): Chunk[] {
  const chunks: Chunk[] = []
  let start = 0
  let bytes = 0
  for (const [i, reading] of readings.entries()) {
    const readingBytes = reading.values.reduce<number>(
      (sum, value) => sum + (typeof value === 'string' ? textBytesMax(value) : 0),
      readingBytesMax(profile)
    )
    if (i > start && (bytes + readingBytes > CHUNK_BYTES_MAX || i - start >= READINGS_PER_COMMIT_MAX)) {
      chunks.push(packChunk(profile, readings.slice(start, i)))
      start = i
      bytes = 0
    }
    bytes += readingBytes
  }
  if (start < readings.length) chunks.push(packChunk(profile, readings.slice(start)))
  return chunks
}

function packChunk(profile: Profile, readings: readonly PlacedReading[]): Chunk {
  const firstPosition = readings[0].position
  const lastPosition = readings[readings.length - 1].position
  const payload = encodeBatch({
    profile,
    epoch: 1,
    oldestHeldSeq: 1,
    highestSampledSeq: lastPosition - firstPosition + 1,
    buffered: readings.length,
    seqs: readings.map(reading => reading.position - firstPosition + 1),
    eventTimesMs: readings.map(reading => reading.eventTimeMs),
    columns: columnsOf(
      profile,
      readings.map(reading => reading.values)
    )
  })
  return { firstPosition, lastPosition, count: readings.length, payload }
}

/** The readings of a chunk; null where its bytes are damaged. */
export function unpackChunk(profile: Profile, firstPosition: number, payload: Uint8Array): ReadingColumns | null {
  const batch = decodeBatch(payload, () => profile)
  if (batch === null || batch.reject !== null || batch.eventTimesMs === null) return null
  const positions = batch.header.seqs.map(seq => firstPosition + seq - 1)
  return { profile, positions, eventTimesMs: batch.eventTimesMs, columns: batch.columns }
}

/** The readings one by one. */
export function readingsOf({ profile, positions, eventTimesMs, columns }: ReadingColumns): PlacedReading[] {
  return Array.from(positions, (position, i) => ({
    position,
    eventTimeMs: eventTimesMs[i],
    values: profile.metrics.map((metric, m) => valueAt(columns[m], metric, i))
  }))
}

/** The readings at indexes [start, end). Views where possible. */
export function sliceReadings(readings: ReadingColumns, start: number, end: number): ReadingColumns {
  if (start === 0 && end === readings.positions.length) return readings
  return {
    ...readings,
    positions: readings.positions.subarray(start, end),
    eventTimesMs: readings.eventTimesMs.subarray(start, end),
    columns: readings.columns.map(column => sliceColumn(column, start, end))
  }
}

/** The readings of several parts of one profile, in their order. */
export function joinReadings(parts: readonly ReadingColumns[]): ReadingColumns {
  if (parts.length === 1) return parts[0]
  const { profile } = parts[0]
  return {
    ...parts[0],
    positions: joinNumbers(parts.map(part => part.positions)),
    eventTimesMs: joinNumbers(parts.map(part => part.eventTimesMs)),
    columns: profile.metrics.map((_, m) => joinColumns(parts.map(part => part.columns[m])))
  }
}

function sliceColumn(column: Column, start: number, end: number): Column {
  const state = column.state?.subarray(start, end) ?? null
  return column.kind === 'string'
    ? { kind: 'string', values: column.values.slice(start, end), state }
    : { kind: 'numeric', values: column.values.subarray(start, end), state }
}

function joinNumbers(parts: readonly Float64Array[]): Float64Array {
  const joined = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    joined.set(part, at)
    at += part.length
  }
  return joined
}

function joinColumns(parts: readonly Column[]): Column {
  const state = joinStates(parts)
  if (parts[0].kind === 'string')
    return { kind: 'string', values: parts.flatMap(part => (part.kind === 'string' ? part.values : [])), state }
  return { kind: 'numeric', values: joinNumbers(parts.flatMap(part => (part.kind === 'numeric' ? [part.values] : []))), state }
}

function joinStates(parts: readonly Column[]): Uint8Array | null {
  if (parts.every(part => part.state === null)) return null
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.values.length, 0))
  let at = 0
  for (const part of parts) {
    if (part.state !== null) joined.set(part.state, at)
    at += part.values.length
  }
  return joined
}
