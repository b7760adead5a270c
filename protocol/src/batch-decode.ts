import { Decoder } from '@msgpack/msgpack'
import { BATCH_VERSION, type Batch, type BatchHeader, type ExtraColumn, type Tombstone } from './batch.js'
import type { Column } from './column.js'
import { decodeColumn } from './column-codec.js'
import { isEventInteger } from './event-id.js'
import {
  METRICS_PER_PROFILE_MAX,
  NAME_LENGTH_MAX,
  NESTING_DEPTH_MAX,
  PAYLOAD_BYTES_MAX,
  READINGS_PER_BATCH_MAX,
  STRING_BYTES_MAX,
  TOMBSTONES_PER_BATCH_MAX
} from './limits.js'
import { endOfValue } from './msgpack-bounds.js'
import type { Profile } from './profile.js'
import type { RejectReason } from './reject.js'

/** Finds a profile: the reasons say whether its name or only its version is unknown. */
export type ProfileLookup = (name: string, version: number) => Profile | 'unknown-profile' | 'unknown-profile-version'

/** Largest magnitude of a time that a Date can hold, in Unix ms (ECMA-262, 21.4.1.1). */
const TIME_MS_MAX = 8.64e15

const BOUNDS = { depthMax: NESTING_DEPTH_MAX, arrayLengthMax: READINGS_PER_BATCH_MAX, stringBytesMax: STRING_BYTES_MAX }
const decoder = new Decoder({ useBigInt64: false })

/**
 * Reads a batch. Total: any bytes give a batch (perhaps with a `reject` reason for all its readings), or null where not even
 * the header can be read; in time and memory bounded by limits.ts.
 */
export function decodeBatch(payload: Uint8Array, profileOf: ProfileLookup): Batch | null {
  if (payload.length > PAYLOAD_BYTES_MAX) return null
  const headerEnd = endOfValue(payload, 0, BOUNDS)
  const header = headerEnd < 0 ? null : readHeader(decodeValue(payload.subarray(0, headerEnd)))
  if (header === null) return null
  const bodyEnd = endOfValue(payload, headerEnd, BOUNDS)
  const body = bodyEnd === payload.length ? decodeValue(payload.subarray(headerEnd)) : undefined
  return Array.isArray(body) && body.length >= 2 && body.length <= 6 ? readBody(header, body, profileOf) : rejected(header.header, 'columns-damaged')
}

interface HeaderOnWire {
  readonly header: BatchHeader
  readonly baseEventTimeMs: number
}

/** The value, or undefined where the decoder refuses it; `endOfValue` has bounded what it may cost. */
function decodeValue(bytes: Uint8Array): unknown {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

function readHeader(wire: unknown): HeaderOnWire | null {
  if (!Array.isArray(wire) || wire.length < 10 || wire.length > 11 || wire[0] !== BATCH_VERSION) return null
  const [, profile, profileVersion, epoch, held, sampled, buffered, firstSeq, baseEventTimeMs, count, steps] = wire as unknown[]
  if (typeof profile !== 'string' || profile.length > NAME_LENGTH_MAX) return null
  if (!isEventInteger(profileVersion) || !isEventInteger(epoch) || !isEventInteger(firstSeq)) return null
  if (!isCount(held) || held >= firstSeq || !isCount(sampled) || !isCount(buffered) || !isTime(baseEventTimeMs)) return null
  if (!isCount(count) || count > READINGS_PER_BATCH_MAX) return null
  const seqs = readSeqs(firstSeq, count, steps)
  const highestSampledSeq = firstSeq + sampled - 1
  if (seqs === null || !Number.isSafeInteger(highestSampledSeq) || (count > 0 && seqs[count - 1] > highestSampledSeq)) return null
  return {
    header: { profile, profileVersion, epoch, oldestHeldSeq: firstSeq - held, highestSampledSeq, buffered, seqs },
    baseEventTimeMs
  }
}

function readSeqs(firstSeq: number, count: number, steps: unknown): Float64Array | null {
  const seqs = new Float64Array(count)
  if (count > 0) seqs[0] = firstSeq
  if (steps === undefined) {
    for (let i = 1; i < count; i++) seqs[i] = firstSeq + i
    return seqs
  }
  if (!Array.isArray(steps) || steps.length !== count - 1) return null
  for (let i = 1; i < count; i++) {
    if (!isEventInteger(steps[i - 1])) return null
    seqs[i] = seqs[i - 1] + steps[i - 1]
    if (!Number.isSafeInteger(seqs[i])) return null
  }
  return seqs
}

function readBody({ header, baseEventTimeMs }: HeaderOnWire, body: readonly unknown[], profileOf: ProfileLookup): Batch {
  const count = header.seqs.length
  const eventTimesMs = readTimes(baseEventTimeMs, count, body[0])
  const tombstones = readTombstones(body[2])
  const extra = readExtra(body[5], count)
  const [clock, end] = [body[3] ?? 0, body[4] ?? null]
  if (eventTimesMs === null || tombstones === null || extra === null) return rejected(header, 'columns-damaged')
  if ((clock !== 0 && clock !== 1) || (end !== null && !isEventInteger(end))) return rejected(header, 'columns-damaged')
  const rest = { header, eventTimesMs, tombstones, clock: clock === 1 ? 'estimated' : 'synced', endOfStreamSeq: end, extra } as const
  const profile = profileOf(header.profile, header.profileVersion)
  if (typeof profile === 'string') return { ...rest, reject: profile, columns: [] }
  const columns = readColumns(profile, count, body[1])
  return columns === null ? rejected(header, 'columns-damaged') : { ...rest, reject: null, columns }
}

function readTimes(baseMs: number, count: number, wire: unknown): Float64Array | null {
  const times = new Float64Array(count)
  if (count > 0) times[0] = baseMs
  const each = typeof wire === 'number' ? wire : null
  if (each === null && !(Array.isArray(wire) && wire.length === Math.max(0, count - 1))) return null
  for (let i = 1; i < count; i++) {
    times[i] = times[i - 1] + (each ?? (wire as number[])[i - 1])
    if (!isTime(times[i])) return null
  }
  return times
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

function readTombstones(wire: unknown): Tombstone[] | null {
  if (wire === null || wire === undefined) return []
  if (!Array.isArray(wire) || wire.length > TOMBSTONES_PER_BATCH_MAX) return null
  const tombstones: Tombstone[] = []
  for (const element of wire) {
    if (!Array.isArray(element) || element.length !== 4) return null
    const [firstSeq, lastSeq, keepEvery, reason] = element as unknown[]
    if (!isEventInteger(firstSeq) || !isEventInteger(lastSeq) || firstSeq > lastSeq) return null
    if (!isCount(keepEvery) || keepEvery === 1 || typeof reason !== 'string' || !/^[a-z-]{1,32}$/.test(reason)) return null
    tombstones.push({ firstSeq, lastSeq, keepEvery, reason })
  }
  return tombstones
}

function readExtra(wire: unknown, count: number): ExtraColumn[] | null {
  if (wire === null || wire === undefined) return []
  if (!Array.isArray(wire) || wire.length > METRICS_PER_PROFILE_MAX) return null
  const extra: ExtraColumn[] = []
  for (const element of wire) {
    if (!Array.isArray(element) || element.length !== 2) return null
    const [name, values] = element as unknown[]
    if (typeof name !== 'string' || name.length > NAME_LENGTH_MAX || !Array.isArray(values) || values.length !== count) return null
    if (!values.every(value => value === null || ['number', 'boolean', 'string'].includes(typeof value))) return null
    extra.push({ name, values })
  }
  return extra
}

function rejected(header: BatchHeader, reject: RejectReason): Batch {
  return { header, reject, eventTimesMs: null, columns: [], tombstones: [], clock: 'synced', endOfStreamSeq: null, extra: [] }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && Math.abs(value) <= TIME_MS_MAX
}
