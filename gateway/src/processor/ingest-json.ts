/** Takes in JSON readings of devices that do not run the agent: deduplicated by an opaque event ID, one by one. */
import { type Column, columnOf, decodeJson, type JsonReading, NULL, type Profile, WRONG_TYPE } from '@tidemark/protocol'
import type { Device } from './device.js'
import { EVENT_ID_KEPT_MS, eventIdBytes, PLACES_PER_FRAME, type Position } from './event-ids.js'
import { putMetrics } from './ingest-batch.js'
import { archive, type Message, quarantine } from './message.js'
import type { KnownProfile, State } from './state.js'
import { type Judgement, judgeColumns, judgeEventTime } from './validate.js'

export function ingestJson(state: State, message: Message): void {
  const items = decodeJson(message.payload)
  if (items === null) {
    state.counters.undecodable++
    refuseMessage(state, message, { reason: 'undecodable', detail: 'neither a JSON object nor an array of them' })
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
    device.opaque.duplicates++
    state.counters.duplicates++
    state.fleet.hours.add('duplicates', device.deviceId, reading.profile ?? '', reading.eventTimeMs, state.ingestMs)
    return
  }
  const bytes = eventIdBytes(device.deviceId, eventId)
  if (state.opaqueBytes + bytes > state.settings!.eventIdBytesMax) {
    refuse(state, message, device, reading, { reason: 'event-id-store-full', detail: '' })
    return
  }
  state.opaqueBytes += bytes
  state.eventIds.add(device.deviceId, eventId, at, state.ingestMs)
  const known = reading.profile === null ? 'unknown-profile' : state.profile(reading.profile)
  const timeFault = judgeEventTime(reading.eventTimeMs, state.ingestMs)
  if (typeof known === 'string') {
    refuse(state, message, device, reading, {
      reason: known,
      detail: reading.profile ?? 'the reading names no profile, and its device has no default'
    })
  } else {
    const { columns, extra, unknown } = arrange(state, known.plan.profile, reading)
    const fault = timeFault ?? judgeColumns(known.plan.profile, columns, 1)[0] ?? unknown
    if (fault !== null) refuse(state, message, device, reading, fault)
    else take(state, device, known, reading, columns, extra, at)
  }
  if (timeFault === null) moveWatermark(state, device, reading.eventTimeMs)
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

function take(
  state: State,
  device: Device,
  known: KnownProfile,
  reading: JsonReading,
  columns: Column[],
  extra: string | null,
  at: Position
): void {
  const { eventTimeMs, eventId } = reading
  const late = eventTimeMs < device.watermarkMs
  const values = new Float64Array(columns.length)
  const identity = { epoch: 0, seq: 0, eventId }
  archive(state, device, known, { eventTimeMs, identity, late, clock: 'synced', extra }, rows => putMetrics(rows, columns, 0, values))
  state.addToFeatures(device, known.plan, { timeMs: eventTimeMs, epoch: at.entry, seq: at.place }, values)
  device.opaque.archived++
  if (late) device.opaque.late++
}

/** Nothing tells whether older readings are still to come: the watermark stays behind the latest by the allowed lateness. */
function moveWatermark(state: State, device: Device, eventTimeMs: number): void {
  device.opaque.latestEventTimeMs = Math.max(device.opaque.latestEventTimeMs, eventTimeMs)
  state.raiseWatermark(device, device.opaque.latestEventTimeMs - state.settings!.allowedLatenessMs)
}

function refuse(state: State, message: Message, device: Device, reading: JsonReading | null, { reason, detail }: Judgement): void {
  const identity = reading === null ? null : { epoch: 0, seq: 0, eventId: reading.eventId }
  const accounted = reading !== null && reason !== 'event-id-store-full'
  if (accounted) device.opaque.quarantined++
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
