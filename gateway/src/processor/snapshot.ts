/**
 * The processor's state as of a flush boundary, as parts: MessagePack, arrays of doubles as their bytes (little-endian). The first
 * part holds all but the devices, the others some devices each, in any order.
 *
 * No pause is longer than a part takes: the entries behind the boundary go on between parts, and a device that is about to
 * change is encoded before it does (`keep`). So the parts together are the state as of the boundary, exactly.
 */
import { decode, Encoder } from '@msgpack/msgpack'
import type { Profile } from '@tidemark/protocol'
import type { Settings } from './control.js'
import { Device, type DeviceSnapshot } from './device.js'
import type { EventIdStore } from './event-ids.js'
import type { Plan } from './feature-plan.js'
import { Features } from './features.js'
import type { RequeueMark } from './requeue.js'
import type { RowsSnapshot } from './rows.js'
import { type Counters, State } from './state.js'

/** Raise it when a snapshot of an earlier version can no longer be read. */
const SNAPSHOT_VERSION = 2

/** Devices in a part: so many take a few ms. */
export const DEVICES_PER_PART = 64

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

interface HeadPart {
  version: number
  settings: Settings | null
  scalars: number[]
  counters: Counters
  rejects: [string, number][]
  unknownFields: [string, number][]
  current: Profile[]
  devices: number
  /** Devices by place. */
  withGap: number[]
  dirty: number[]
  rows: RowsSnapshot[]
  requeued: RequeueMark
}

interface DevicesPart {
  /** Profiles that features were made under, those not named in a part before; `features` counts them through all parts. */
  plans: Profile[]
  /** A `PackedDevice` each. */
  devices: Uint8Array[]
}

interface PackedDevice {
  place: number
  device: DeviceSnapshot
  features: { plan: number; block: Float64Array }[]
}

const encoder = new Encoder({ ignoreUndefined: true })

/** Encodes a state part by part, beginning at a boundary: what has changed since one is not part of it. */
export class StateEncoder {
  private head: Uint8Array | null
  private readonly left: Iterator<Device>
  private readonly devices: number
  private visited = 0
  private readonly plans: Plan[] = []
  private plansWritten = 0
  /** Encoded, in no part yet. */
  private packed: Uint8Array[] = []

  constructor(
    state: State,
    private readonly number: number,
    private readonly devicesPerPart = DEVICES_PER_PART
  ) {
    this.devices = state.devices.size
    this.left = state.devices.values()
    this.head = encodeHead(state)
  }

  /** The next part; null when all are out. */
  next(): Uint8Array | null {
    if (this.head !== null) {
      const { head } = this
      this.head = null
      return head
    }
    // devices that came behind the boundary follow the others in the map, and are not visited
    while (this.packed.length < this.devicesPerPart && this.visited < this.devices) {
      this.visited++
      this.keep(this.left.next().value!)
    }
    return this.packed.length === 0 ? null : this.takePart()
  }

  /** Encodes the device as it is, if that was not done yet. */
  keep(device: Device): void {
    if (device.snapshot === this.number) return
    device.snapshot = this.number
    const features = device.features.map(each => ({ plan: this.placeOf(each.plan), block: each.block }))
    this.packed.push(encoder.encode({ place: device.place, device: device.toSnapshot(), features } satisfies PackedDevice))
  }

  private takePart(): Uint8Array {
    const part: DevicesPart = { plans: this.plans.slice(this.plansWritten).map(plan => plan.profile), devices: this.packed }
    this.plansWritten = this.plans.length
    this.packed = []
    return encoder.encode(part)
  }

  private placeOf(plan: Plan): number {
    const place = this.plans.findIndex(({ digest }) => digest === plan.digest)
    return place >= 0 ? place : this.plans.push(plan) - 1
  }
}

function encodeHead(state: State): Uint8Array {
  const head: HeadPart = {
    version: SNAPSHOT_VERSION,
    settings: state.settings,
    scalars: SCALARS.map(name => state[name]),
    counters: state.counters,
    rejects: [...state.rejects],
    unknownFields: [...state.unknownFields],
    current: state.currentProfiles,
    devices: state.devices.size,
    withGap: Array.from(state.withGap, ({ place }) => place),
    dirty: Array.from(state.dirty, ({ place }) => place),
    rows: state.outputs.toSnapshot(),
    requeued: state.requeued
  }
  return encoder.encode(head)
}

/** Throws where the parts are no state, or one of another version. */
export function decodeState(parts: Iterable<Uint8Array>, eventIds: EventIdStore): State {
  const state = new State(eventIds)
  let devices: Device[] | null = null
  let head: HeadPart | null = null
  const plans: Plan[] = []
  for (const part of parts) {
    if (head === null || devices === null) {
      head = decode(part) as HeadPart
      if (head.version !== SNAPSHOT_VERSION) {
        throw new Error(`the snapshot has version ${head.version}; this gateway reads ${SNAPSHOT_VERSION}`)
      }
      restoreHead(state, head)
      devices = new Array<Device>(head.devices)
      continue
    }
    const { plans: more, devices: packed } = decode(part) as DevicesPart
    for (const profile of more) plans.push(state.planOf(profile))
    for (const bytes of packed) restoreDevice(devices, plans, decode(bytes) as PackedDevice)
  }
  if (head === null || devices === null) throw new Error('the snapshot is empty')
  for (const [place, device] of devices.entries()) {
    if (device === undefined) throw new Error(`the snapshot lacks device ${place} of ${devices.length}`)
    state.devices.set(device.deviceId, device)
  }
  const rows = head.rows.map(each => ({ ...each, columns: each.columns.map((column, c) => columnValues(each, column, c)) }))
  state.outputs.restore(rows, deviceId => state.devices.get(deviceId)!.place)
  for (const place of head.withGap) state.withGap.add(devices[place])
  for (const place of head.dirty) state.dirty.add(devices[place])
  return state
}

function restoreHead(state: State, head: HeadPart): void {
  state.settings = head.settings
  for (const [i, name] of SCALARS.entries()) state[name] = head.scalars[i]
  Object.assign(state.counters, head.counters)
  state.requeued = head.requeued
  for (const [reason, count] of head.rejects) state.rejects.set(reason, count)
  for (const [field, count] of head.unknownFields) state.unknownFields.set(field, count)
  state.setProfiles(head.current)
}

function restoreDevice(devices: Device[], plans: readonly Plan[], { place, device: snapshot, features }: PackedDevice): void {
  const device = new Device(snapshot.deviceId, place, snapshot)
  devices[place] = device
  for (const { plan, block } of features) device.setFeatures(new Features(plans[plan], float64s(block)))
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
