/** Takes in JSON readings of devices that do not run the agent: deduplicated by an opaque event ID, one by one. */
import { type Column, columnOf, decodeJson, type JsonReading, NULL, type Profile, WRONG_TYPE } from '@tidemark/protocol'
import type { Device } from './device.js'
import { EVENT_ID_KEPT_MS, eventIdBytes, PLACES_PER_FRAME, type Position } from './event-ids.js'
import { putMetrics } from './ingest-batch.js'
import { archive, type Message, quarantine } from './message.js'
import type { KnownProfile, State } from './state.js'
import { type Judgement, judgeColumns, judgeEventTime } from './validate.js'

/** The detail of a message that is refused as a whole; an element of an array is refused with another. */
export const UNDECODABLE_JSON = 'neither a JSON object nor an array of them'

export function ingestJson(state: State, message: Message): void {
  const items = decodeJson(message.payload)
  if (items === null) {
    state.counters.undecodable++
    refuseMessage(state, message, { reason: 'undecodable', detail: UNDECODABLE_JSON })
    return
  }
  const device = state.touchDevice(message.deviceId)
  if (device === null) {
    refuseMessage(state, message, { reason: 'device-limit', detail: '' })
    return
  }
  for (const [i, item] of items.entries()) {
    if (!item.ok) refuse(state, message, device, null, item)
    else
      ingestReading(state, message, device, withProfile(item.reading, device), {
        entry: state.entry,
        place: message.frameIndex * PLACES_PER_FRAME + i
      })
  }
  state.noteChanged(device, 0)
}

/** The reading with its profile: its own, or its device's default. */
function withProfile(reading: JsonReading, { registration }: Device): JsonReading {
  return reading.profile !== null || registration.profile === null ? reading : { ...reading, profile: registration.profile }
}

function ingestReading(state: State, message: Message, device: Device, reading: JsonReading, at: Position): void {
  const { eventId } = reading
  if (state.eventIds.has(device.deviceId, eventId, at, state.ingestMs - EVENT_ID_KEPT_MS)) {
    device.touchOpaque().duplicates++
    state.counters.duplicates++
    state.fleet.hours.addOf('duplicates', device, reading.profile ?? '', reading.eventTimeMs, state.ingestMs)
    return
  }
  const bytes = eventIdBytes(device.deviceId, eventId)
  if (state.opaqueBytes + bytes > state.settings!.eventIdBytesMax) {
    refuse(state, message, device, reading, { reason: 'event-id-store-full', detail: '' })
    return
  }
  state.opaqueBytes += bytes
  state.eventIds.add(device.deviceId, eventId, at, state.ingestMs)
  const judged = judgeReading(state, reading)
  if (isFault(judged)) refuse(state, message, device, reading, judged)
  else take(state, device, reading, judged, at)
  if (judgeEventTime(reading.eventTimeMs, state.ingestMs) === null) moveWatermark(state, device, reading.eventTimeMs)
}

interface Again {
  readonly accounted: ReadonlySet<unknown>
  readonly unaccounted: ReadonlySet<unknown>
  /** Ingest time of the message, Unix ms. */
  readonly sinceMs: number
  readonly defaultProfile: string | null
}

/**
 * Judges readings of the message again: those in `accounted`, whose fate is the quarantine since `sinceMs`, and those in `unaccounted`
 * for whose event ID there is room by now. `defaultProfile` was their device's when they were quarantined. Returns the IDs that now have another fate; the others stay as they were.
 */
export function ingestJsonAgain(
  state: State,
  message: Message,
  device: Device,
  { accounted, unaccounted, sinceMs, defaultProfile }: Again
): string[] {
  const resolved = new Set<string>()
  const met = new Set<string>()
  for (const [i, item] of (decodeJson(message.payload) ?? []).entries()) {
    if (!item.ok || met.has(item.reading.eventId)) continue
    const reading = withProfile(item.reading, device)
    const at = { entry: state.entry, place: message.frameIndex * PLACES_PER_FRAME + i }
    met.add(reading.eventId)
    if (accounted.has(reading.eventId)) {
      if (!reinstate(state, device, reading, at, sinceMs)) continue
    } else if (unaccounted.has(reading.eventId) && isNew(state, device, reading, at)) ingestReading(state, message, device, reading, at)
    else continue
    resolved.add(reading.eventId)
    state.fleet.hours.withdraw(device.deviceId, item.reading.profile ?? defaultProfile ?? '', reading.eventTimeMs, sinceMs)
  }
  if (resolved.size > 0) state.noteChanged(device, 0)
  return [...resolved]
}

/** Archives a quarantined reading where it is valid by now, unless its event ID was forgotten and has come again since. */
function reinstate(state: State, device: Device, reading: JsonReading, at: Position, sinceMs: number): boolean {
  const isForgotten = sinceMs < state.ingestMs - EVENT_ID_KEPT_MS
  if (isForgotten && !isNew(state, device, reading, at)) return false
  const judged = judgeReading(state, reading)
  if (isFault(judged)) return false
  if (isForgotten) {
    state.opaqueBytes += eventIdBytes(device.deviceId, reading.eventId)
    state.eventIds.add(device.deviceId, reading.eventId, at, state.ingestMs)
  }
  take(state, device, reading, judged, at)
  device.touchOpaque().quarantined--
  moveWatermark(state, device, reading.eventTimeMs)
  return true
}

/** Whether the event ID is not known, and there is room for it. */
function isNew(
  { eventIds, ingestMs, opaqueBytes, settings }: State,
  { deviceId }: Device,
  { eventId }: JsonReading,
  at: Position
): boolean {
  if (eventIds.has(deviceId, eventId, at, ingestMs - EVENT_ID_KEPT_MS)) return false
  return opaqueBytes + eventIdBytes(deviceId, eventId) <= settings!.eventIdBytesMax
}

/** A valid reading, arranged as its profile says. */
interface Arranged {
  readonly known: KnownProfile
  readonly columns: Column[]
  readonly extra: string | null
}

function isFault(judged: Arranged | Judgement): judged is Judgement {
  return 'reason' in judged
}

function judgeReading(state: State, reading: JsonReading): Arranged | Judgement {
  const known = reading.profile === null ? 'unknown-profile' : state.profile(reading.profile)
  if (typeof known === 'string')
    return { reason: known, detail: reading.profile ?? 'the reading names no profile, and its device has no default' }
  const { columns, extra, unknown } = arrange(state, known.plan.profile, reading)
  const timeFault = judgeEventTime(reading.eventTimeMs, state.ingestMs)
  return timeFault ?? judgeColumns(known.plan.profile, columns, 1)[0] ?? unknown ?? { known, columns, extra }
}

/** The fields as columns of one reading, and what the profile does not name. */
function arrange(
  state: State,
  profile: Profile,
  { fields }: JsonReading
): { columns: Column[]; extra: string | null; unknown: Judgement | null } {
  const left = new Map(fields)
  const columns = profile.metrics.map(metric => {
    const column = columnOf(metric, 1, () => fields.get(metric.name))
    const goesToExtra = profile.evolution === 'flexible' && !metric.required && column.state?.[0] === WRONG_TYPE
    if (!goesToExtra) left.delete(metric.name)
    return goesToExtra ? { ...column, state: new Uint8Array([NULL]) } : column
  })
  for (const name of left.keys()) state.countUnknownField(profile.name, name)
  if (left.size === 0) return { columns, extra: null, unknown: null }
  if (profile.evolution === 'strict')
    return { columns, extra: null, unknown: { reason: 'unknown-metric', detail: [...left.keys()].join(', ') } }
  return { columns, extra: JSON.stringify(Object.fromEntries(left)), unknown: null }
}

function take(state: State, device: Device, reading: JsonReading, { known, columns, extra }: Arranged, at: Position): void {
  const { eventTimeMs, eventId } = reading
  const late = eventTimeMs < device.watermarkMs
  const values = new Float64Array(columns.length)
  const identity = { epoch: 0, seq: 0, eventId }
  archive(state, device, known, { eventTimeMs, identity, late, clock: 'synced', extra }, rows => putMetrics(rows, columns, 0, values))
  state.addToFeatures(device, known.plan, { timeMs: eventTimeMs, epoch: at.entry, seq: at.place }, values)
  device.touchOpaque().archived++
  if (late) device.touchOpaque().late++
}

/** Nothing tells whether older readings are still to come: the watermark stays behind the latest by the allowed lateness. */
function moveWatermark(state: State, device: Device, eventTimeMs: number): void {
  device.touchOpaque().latestEventTimeMs = Math.max(device.opaque.latestEventTimeMs, eventTimeMs)
  state.raiseWatermark(device, device.opaque.latestEventTimeMs - state.settings!.allowedLatenessMs)
}

function refuse(state: State, message: Message, device: Device, reading: JsonReading | null, { reason, detail }: Judgement): void {
  const identity = reading === null ? null : { epoch: 0, seq: 0, eventId: reading.eventId }
  const accounted = reading !== null && reason !== 'event-id-store-full'
  if (accounted) device.touchOpaque().quarantined++
  quarantine(state, message, {
    reason,
    detail,
    accounted,
    profile: reading?.profile ?? null,
    eventTimeMs: reading?.eventTimeMs ?? Number.NaN,
    identity
  })
}

function refuseMessage(state: State, message: Message, { reason, detail }: Judgement): void {
  quarantine(state, message, { reason, detail, accounted: false, profile: null, eventTimeMs: Number.NaN, identity: null })
}
