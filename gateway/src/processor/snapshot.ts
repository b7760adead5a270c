/** The processor's state as bytes, taken at a flush boundary: MessagePack, arrays of doubles as their bytes (little-endian). */
import { decode, encode } from '@msgpack/msgpack'
import type { Profile } from '@tidemark/protocol'
import type { Settings } from './control.js'
import { Device, type DeviceSnapshot } from './device.js'
import type { EventIdStore } from './event-ids.js'
import type { Plan } from './feature-plan.js'
import { Features, type FeaturesSnapshot } from './features.js'
import { NO_REQUEUE, type RequeueMark } from './requeue.js'
import type { RowsSnapshot } from './rows.js'
import { type Counters, State } from './state.js'

/** Raise it when a snapshot of an earlier version can no longer be read. */
const SNAPSHOT_VERSION = 1

const SCALARS = [
  'entry',
  'ingestMs',
  'uptimeMs',
  'boundaryEntry',
  'boundaryMs',
  'boundaries',
  'opaqueBytes',
  'opaqueExpiredMs',
  'idleCheckedMs',
  'tickedMs'
] as const

interface Packed {
  version: number
  settings: Settings | null
  scalars: number[]
  counters: Counters
  rejects: [string, number][]
  unknownFields: [string, number][]
  current: Profile[]
  /** Profiles that features were made under; `features` names them by place. */
  plans: Profile[]
  devices: { device: DeviceSnapshot; features: { plan: number; state: FeaturesSnapshot }[] }[]
  withGap: string[]
  dirty: string[]
  rows: RowsSnapshot[]
  /** Absent where an earlier version wrote the snapshot. */
  requeued?: RequeueMark
}

/** Only at a boundary: what has changed since one is not part of it. */
export function encodeState(state: State): Uint8Array {
  const plans: Plan[] = []
  const placeOf = (plan: Plan) => {
    const place = plans.findIndex(({ digest }) => digest === plan.digest)
    return place >= 0 ? place : plans.push(plan) - 1
  }
  const devices = Array.from(state.devices.values(), device => ({
    device: device.toSnapshot(),
    features: Array.from(device.features.values(), features => ({ plan: placeOf(features.plan), state: features.toSnapshot() }))
  }))
  const packed: Packed = {
    version: SNAPSHOT_VERSION,
    settings: state.settings,
    scalars: SCALARS.map(name => state[name]),
    counters: state.counters,
    rejects: [...state.rejects],
    unknownFields: [...state.unknownFields],
    current: state.currentProfiles,
    plans: plans.map(plan => plan.profile),
    devices,
    withGap: Array.from(state.withGap, device => device.deviceId),
    dirty: Array.from(state.dirty, device => device.deviceId),
    rows: state.outputs.toSnapshot(),
    requeued: state.requeued
  }
  return encode(packed, { ignoreUndefined: true })
}

/** Throws where the bytes are no snapshot, or one of another version. */
export function decodeState(bytes: Uint8Array, eventIds: EventIdStore): State {
  const packed = decode(bytes) as Packed
  if (packed.version !== SNAPSHOT_VERSION)
    throw new Error(`the snapshot has version ${packed.version}; this gateway reads ${SNAPSHOT_VERSION}`)
  const state = new State(eventIds)
  state.settings = packed.settings
  for (const [i, name] of SCALARS.entries()) state[name] = packed.scalars[i]
  Object.assign(state.counters, packed.counters)
  state.requeued = packed.requeued ?? NO_REQUEUE
  for (const [reason, count] of packed.rejects) state.rejects.set(reason, count)
  for (const [field, count] of packed.unknownFields) state.unknownFields.set(field, count)
  state.setProfiles(packed.current)
  const plans = packed.plans.map(profile => state.planOf(profile))
  for (const { device: snapshot, features } of packed.devices) {
    const device = new Device(snapshot.deviceId, snapshot)
    state.devices.set(device.deviceId, device)
    if (snapshot.registration === undefined) state.fleet.noteRegistration(device) // of a version before the registry
    for (const { plan, state: of } of features) {
      const tables = of.tables.map(table => ({ ...table, data: float64s(table.data) }))
      device.features.set(plans[plan].profile.name, new Features(plans[plan], { ...of, tables }))
    }
  }
  for (const deviceId of packed.withGap) state.withGap.add(state.devices.get(deviceId)!)
  for (const deviceId of packed.dirty) state.dirty.add(state.devices.get(deviceId)!)
  state.outputs.restore(packed.rows.map(rows => ({ ...rows, columns: rows.columns.map((column, c) => columnValues(rows, column, c)) })))
  return state
}

/** MessagePack gives typed arrays back as bytes. */
function columnValues(rows: RowsSnapshot, column: unknown, c: number): RowsSnapshot['columns'][number] {
  const { type } = rows.layout.columns[c]
  if (type === 'bytes') return column as (Uint8Array | null)[]
  return type === 'string' ? new Int32Array(new Uint8Array(column as Uint8Array).buffer) : float64s(column)
}

function float64s(bytes: unknown): Float64Array {
  return new Float64Array(new Uint8Array(bytes as Uint8Array).buffer)
}
