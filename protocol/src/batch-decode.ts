/**
 * Reads a batch. A payload is two MessagePack values, header and body, so that the readings can be accounted by the first when
 * the second is damaged. Each part of the body is read by itself: one that is damaged sets `reject`, the others are kept, since a
 * device that was acked will not send its tombstones or its end of stream again.
 */
import { Decoder } from '@msgpack/msgpack'
import type { Batch, ClockQuality, ExtraColumn, Tombstone } from './batch.js'
import { type HeaderOnWire, readHeader } from './batch-header.js'
import { endOfStreamFault, extraFault, isTime, tombstonesFault } from './batch-parts.js'
import type { Column } from './column.js'
import { decodeColumn } from './column-codec.js'
import { NESTING_DEPTH_MAX, PAYLOAD_BYTES_MAX, READINGS_PER_BATCH_MAX, STRING_BYTES_MAX } from './limits.js'
import { endOfValue } from './msgpack-bounds.js'
import type { Profile } from './profile.js'

/** Finds a profile: the reasons say whether its name or only its version is unknown. */
export type ProfileLookup = (name: string, version: number) => Profile | 'unknown-profile' | 'unknown-profile-version'

const BOUNDS = { depthMax: NESTING_DEPTH_MAX, arrayLengthMax: READINGS_PER_BATCH_MAX, stringBytesMax: STRING_BYTES_MAX }
const decoder = new Decoder({ useBigInt64: false })

/**
 * The batch (perhaps with a `reject` reason for all its readings), or null where not even the header can be read. Total: any
 * bytes give one or the other, in time and memory bounded by limits.ts.
 */
export function decodeBatch(payload: Uint8Array, profileOf: ProfileLookup): Batch | null {
  if (payload.length > PAYLOAD_BYTES_MAX) return null
  const headerEnd = endOfValue(payload, 0, BOUNDS)
  const header = headerEnd < 0 ? null : readHeader(decodeValue(payload.subarray(0, headerEnd)))
  if (header === null) return null
  const bodyEnd = endOfValue(payload, headerEnd, BOUNDS)
  const body = bodyEnd === payload.length ? decodeValue(payload.subarray(headerEnd)) : null
  return readBody(header, Array.isArray(body) && body.length >= 2 && body.length <= 6 ? body : NO_BODY, profileOf)
}

/** Stands for a body that cannot be read: nothing in it is absent, everything is damaged. */
const NO_BODY: readonly unknown[] = [false, false, false, false, false, false]

/** The value, or null where the decoder refuses it; `endOfValue` has bounded what it may cost. */
function decodeValue(bytes: Uint8Array): unknown {
  try {
    return decoder.decode(bytes)
  } catch {
    return null
  }
}

function readBody({ header, baseEventTimeMs }: HeaderOnWire, body: readonly unknown[], profileOf: ProfileLookup): Batch {
  const count = header.seqs.length
  const profile = profileOf(header.profile, header.profileVersion)
  const eventTimesMs = readTimes(baseEventTimeMs, count, body[0])
  const columns = typeof profile === 'string' ? [] : readColumns(profile, count, body[1])
  const tombstones = readTombstones(body[2], header.highestSampledSeq)
  const clock = readClock(body[3])
  const end = readEndOfStream(body[4], header.highestSampledSeq)
  const extra = readExtra(body[5], count)
  const isSound = eventTimesMs !== null && columns !== null && tombstones !== null && clock !== null && end !== undefined && extra !== null
  const reject = !isSound ? 'columns-damaged' : typeof profile === 'string' ? profile : null
  return {
    header,
    reject,
    eventTimesMs,
    columns: reject === null ? (columns ?? []) : [],
    tombstones: tombstones ?? [],
    clock: clock ?? 'synced',
    endOfStreamSeq: end ?? null,
    extra: extra ?? []
  }
}

function readTimes(baseMs: number, count: number, wire: unknown): Float64Array | null {
  const each = isTimeStep(wire) ? wire : null
  if (each === null && !(Array.isArray(wire) && wire.length === Math.max(0, count - 1))) return null
  const times = new Float64Array(count)
  if (count > 0) times[0] = baseMs
  for (let i = 1; i < count; i++) {
    const step: unknown = each ?? (wire as unknown[])[i - 1]
    if (!isTimeStep(step)) return null
    times[i] = times[i - 1] + step
    if (!isTime(times[i])) return null
  }
  return times
}

function isTimeStep(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value)
}

function readColumns(profile: Profile, count: number, wire: unknown): Column[] | null {
  if (!Array.isArray(wire)) return null
  if (count === 0) return wire.length === 0 ? [] : null
  if (wire.length !== profile.metrics.length) return null
  const columns: Column[] = []
  for (const [m, metric] of profile.metrics.entries()) {
    const column = decodeColumn(metric, count, wire[m])
    if (column === null) return null
    columns.push(column)
  }
  return columns
}

function readTombstones(wire: unknown, highestSampledSeq: number): Tombstone[] | null {
  if (wire === null || wire === undefined) return []
  if (!Array.isArray(wire)) return null
  const tombstones: Tombstone[] = []
  for (const element of wire) {
    if (!Array.isArray(element) || element.length !== 4) return null
    const [firstSeq, lastSeq, keepEvery, reason] = element as unknown[]
    if (typeof firstSeq !== 'number' || typeof lastSeq !== 'number' || typeof keepEvery !== 'number' || typeof reason !== 'string')
      return null
    tombstones.push({ firstSeq, lastSeq, keepEvery: keepEvery + 0, reason })
  }
  return tombstonesFault(tombstones, highestSampledSeq) === null ? tombstones : null
}

function readClock(wire: unknown): ClockQuality | null {
  if (wire === null || wire === undefined || wire === 0) return 'synced'
  return wire === 1 ? 'estimated' : null
}

/** undefined where it is damaged, null where there is none. */
function readEndOfStream(wire: unknown, highestSampledSeq: number): number | null | undefined {
  if (wire === null || wire === undefined) return null
  return typeof wire === 'number' && endOfStreamFault(wire, highestSampledSeq) === null ? highestSampledSeq : undefined
}

function readExtra(wire: unknown, count: number): ExtraColumn[] | null {
  if (wire === null || wire === undefined) return []
  if (!Array.isArray(wire)) return null
  const extra: ExtraColumn[] = []
  for (const element of wire) {
    if (!Array.isArray(element) || element.length !== 2) return null
    const [name, values] = element as unknown[]
    if (typeof name !== 'string' || !Array.isArray(values)) return null
    extra.push({ name, values })
  }
  return extraFault(extra, count) === null ? extra : null
}
