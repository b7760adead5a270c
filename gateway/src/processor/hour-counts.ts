/**
 * What became of readings, per device, profile and hour of event time, since the last boundary: the catalog adds it up. Column by
 * column, since an hour of a large fleet is a row for each device. Nothing is left in it behind a boundary.
 */
import { EVENT_TIME_AHEAD_MS_MAX, EVENT_TIME_MS_MIN } from '@tidemark/protocol'
import type { Device } from './device.js'
import type { DeviceDictionary } from './device-dictionary.js'
import type { Span } from './spans.js'

const HOUR_MS = 3_600_000

/** So many (device, profile, hour) make a boundary of their own. */
export const HOUR_COUNTS_MAX = 500_000

const CAPACITY_MIN = 256

const SHED_SPAN_MS_MAX = 31 * 24 * HOUR_MS

/**
 * `received`: readings that arrived, copies not counted. `quarantined` and `late` are among them. `duplicates`: the copies.
 * `shed`: seqs that a tombstone declares.
 */
export const COUNTS = ['received', 'quarantined', 'late', 'duplicates', 'shed'] as const

export type CountName = (typeof COUNTS)[number]

/** One (device, profile, hour) a place. */
export interface HourCountColumns {
  /** The dictionary of `profile`. */
  readonly profiles: readonly string[]
  /** Places in `Flush.deviceIds`. */
  readonly device: Int32Array
  readonly profile: Int32Array
  /** Start of the hour, Unix ms. */
  readonly hoursMs: Float64Array
  readonly counts: Readonly<Record<CountName, Float64Array>>
}

export class HourCounts {
  /** Places in use. */
  size = 0
  private capacity = 0
  private readonly profiles = new Map<string, number>()
  private device = new Int32Array(0)
  private profile = new Int32Array(0)
  private hoursMs = new Float64Array(0)
  /** A hash table of places, at most half full; -1: free. */
  private slots = new Int32Array(0)
  /** Names by place in the dictionary. */
  private profileNames: string[] = []
  private round = 0
  private counts = emptyCounts(0)
  /** How many places the last round took: room for so many is made at once. */
  private placesExpected = 0

  constructor(private readonly devices: DeviceDictionary) {}

  /** Counts readings of the hour that the event time says, where it says one. */
  add(name: CountName, deviceId: string, profile: string, eventTimeMs: number, ingestMs: number, readings = 1): void {
    if (!isPlausible(eventTimeMs, ingestMs)) return
    const place = this.placeOf(this.devices.placeOfId(deviceId), profile, hourOf(eventTimeMs)) // first: it may make the columns anew
    this.counts[name][place] += readings
  }

  /** The same for a device that is known: where it was counted last is kept with it. */
  addOf(name: CountName, device: Device, profile: string, eventTimeMs: number, ingestMs: number, readings = 1): void {
    const { countPlace: last } = device
    if (device.countedIn === this.round && this.profileNames[this.profile[last]] === profile) {
      const hourMs = this.hoursMs[last]
      if (eventTimeMs >= hourMs && eventTimeMs < hourMs + HOUR_MS && isPlausible(eventTimeMs, ingestMs)) {
        this.counts[name][last] += readings
        return
      }
    }
    if (!isPlausible(eventTimeMs, ingestMs)) return
    const place = this.placeOf(this.devices.placeOf(device), profile, hourOf(eventTimeMs))
    device.countedIn = this.round
    device.countPlace = place
    this.counts[name][place] += readings
  }

  /** Takes back what was counted when a reading was quarantined at `quarantinedMs`: a requeue has given it another fate. */
  withdraw(deviceId: string, profile: string, eventTimeMs: number, quarantinedMs: number): void {
    if (!isPlausible(eventTimeMs, quarantinedMs)) return
    const place = this.placeOf(this.devices.placeOfId(deviceId), profile, hourOf(eventTimeMs))
    this.counts.received[place]--
    this.counts.quarantined[place]--
  }

  /** Spreads shed seqs evenly over the time between their neighbours; where that is too long, all count in its first hour. */
  addShed(deviceId: string, profile: string, seqs: number, { fromMs, toMs }: Span): void {
    const lastHourMs = toMs - fromMs > SHED_SPAN_MS_MAX ? hourOf(fromMs) : hourOf(toMs)
    let counted = 0
    for (let hourMs = hourOf(fromMs); hourMs <= lastHourMs; hourMs += HOUR_MS) {
      const share = hourMs === lastHourMs ? 1 : (hourMs + HOUR_MS - fromMs) / (toMs - fromMs)
      const through = Math.floor(seqs * share)
      if (through > counted) {
        const place = this.placeOf(this.devices.placeOfId(deviceId), profile, hourMs)
        this.counts.shed[place] += through - counted
      }
      counted = through
    }
  }

  /** What was counted, and none of it is kept: not the room that it took either. */
  take(): HourCountColumns {
    const { size, counts } = this
    const taken = {
      profiles: this.profileNames,
      device: this.device.slice(0, size),
      profile: this.profile.slice(0, size),
      hoursMs: this.hoursMs.slice(0, size),
      counts: {
        received: counts.received.slice(0, size),
        quarantined: counts.quarantined.slice(0, size),
        late: counts.late.slice(0, size),
        duplicates: counts.duplicates.slice(0, size),
        shed: counts.shed.slice(0, size)
      }
    }
    this.placesExpected = size
    this.size = 0
    this.profiles.clear()
    this.profileNames = []
    this.round++
    this.makeRoom(0)
    return taken
  }

  /** Where the device (its place in the dictionary), profile and hour are counted. */
  private placeOf(device: number, profile: string, hourMs: number): number {
    const profileIndex = indexIn(this.profiles, profile)
    this.profileNames[profileIndex] = profile
    if (this.size === this.capacity) this.makeRoom(Math.max(CAPACITY_MIN, 2 * this.capacity, powerAtLeast(this.placesExpected)))
    const slot = this.slotOf(device, profileIndex, hourMs)
    if (this.slots[slot] < 0) this.slots[slot] = this.addPlace(device, profileIndex, hourMs)
    return this.slots[slot]
  }

  /** The slot that holds the place, or that is free for it. */
  private slotOf(device: number, profile: number, hourMs: number): number {
    const { slots } = this
    const mask = slots.length - 1
    const mixed = Math.imul(Math.imul(device, 31) + profile, 0x9e3779b1) ^ Math.imul(hourMs / HOUR_MS, 0x85ebca6b)
    for (let slot = (mixed ^ (mixed >>> 15)) & mask; ; slot = (slot + 1) & mask) {
      const place = slots[slot]
      if (place < 0 || (this.device[place] === device && this.profile[place] === profile && this.hoursMs[place] === hourMs)) return slot
    }
  }

  private addPlace(device: number, profileIndex: number, hourMs: number): number {
    const place = this.size++
    this.device[place] = device
    this.profile[place] = profileIndex
    this.hoursMs[place] = hourMs
    return place
  }

  /** `capacity`: 0 or a power of two, no less than the places in use. */
  private makeRoom(capacity: number): void {
    this.capacity = capacity
    const grown = emptyCounts(capacity)
    for (const name of COUNTS) grown[name].set(this.counts[name].subarray(0, this.size))
    this.counts = grown
    this.device = withRoom(this.device.subarray(0, this.size), capacity)
    this.profile = withRoom(this.profile.subarray(0, this.size), capacity)
    const hoursMs = new Float64Array(capacity)
    hoursMs.set(this.hoursMs.subarray(0, this.size))
    this.hoursMs = hoursMs
    this.slots = new Int32Array(2 * capacity).fill(-1)
    for (let place = 0; place < this.size; place++) this.slots[this.slotOf(this.device[place], this.profile[place], hoursMs[place])] = place
  }
}

/** A quarantined reading may claim any time: one that it cannot have was measured in no hour. */
export function isPlausible(eventTimeMs: number, ingestMs: number): boolean {
  return eventTimeMs >= EVENT_TIME_MS_MIN && eventTimeMs <= ingestMs + EVENT_TIME_AHEAD_MS_MAX // NaN fails both
}

function hourOf(timeMs: number): number {
  return Math.floor(timeMs / HOUR_MS) * HOUR_MS
}

function indexIn(dictionary: Map<string, number>, text: string): number {
  let index = dictionary.get(text)
  if (index === undefined) {
    index = dictionary.size
    dictionary.set(text, index)
  }
  return index
}

function powerAtLeast(count: number): number {
  return count <= 1 ? count : 2 ** (32 - Math.clz32(count - 1))
}

function emptyCounts(capacity: number): Record<CountName, Float64Array<ArrayBuffer>> {
  const column = () => new Float64Array(capacity)
  return { received: column(), quarantined: column(), late: column(), duplicates: column(), shed: column() }
}

function withRoom(values: Int32Array, capacity: number): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(capacity)
  grown.set(values)
  return grown
}
