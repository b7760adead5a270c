/** All that the processor remembers between entries. A function of the log, and of nothing else. */
import { isText, PlainBatch, type Profile, type ProfileLookup, profileDigest } from '@tidemark/protocol'
import { Changes } from './changes.js'
import type { Settings } from './control.js'
import { Device, FEATURES_MAX } from './device.js'
import { asciiText, DeviceLookup } from './device-lookup.js'
import type { Epoch } from './epoch.js'
import type { EventIdStore } from './event-ids.js'
import { type Plan, planFeatures } from './feature-plan.js'
import { FeatureRowWriter } from './feature-rows.js'
import { Features } from './features.js'
import { Fleet } from './fleet.js'
import { readingsLayout } from './layouts.js'
import { Outputs } from './outputs.js'
import type { Order } from './pane.js'
import { type PlainRules, plainRules } from './plain-rules.js'
import { NO_REQUEUE, type RequeueMark } from './requeue.js'
import type { RowLayout } from './rows.js'
import { StateEncoder } from './snapshot.js'

/** What is counted since the state began; shown as metrics. */
export interface Counters {
  messages: number
  undecodable: number
  archived: number
  late: number
  quarantined: number
  duplicates: number
  shed: number
  /** Rows of the quarantine that a requeue has given another fate; requeued messages that were not looked at (requeue.ts). */
  resolved: number
  staleRequeues: number
}

export interface KnownProfile {
  readonly plan: Plan
  readonly layout: RowLayout
  readonly rules: PlainRules
}

/** A device must take a new epoch: its seqs collide with others seen before. */
export interface Notice {
  readonly deviceId: string
  readonly epoch: number
}

const UNKNOWN_FIELDS_MAX = 1000

export class State {
  settings: Settings | null = null
  /** The last entry applied. */
  entry = 0
  ingestMs = 0
  /** Time that the gateway was up, by its ticks, ms: silence while it was down makes nobody idle. */
  uptimeMs = 0
  boundaryEntry = 0
  boundaryMs = 0
  boundaries = 0
  /** Whether something other than ticks came since the last boundary. */
  hasNews = false
  requeued: RequeueMark = NO_REQUEUE
  opaqueBytes = 0
  opaqueExpiredMs = Number.NEGATIVE_INFINITY
  idleCheckedMs = 0
  /** Ingest time of the last tick, or of the start; NaN before the first. */
  tickedMs = Number.NaN
  readonly devices = new Map<string, Device>()
  readonly byIdBytes = new DeviceLookup<Device>()
  /** Snapshots begun, and the last of them. */
  private snapshots = 0
  private encoder: StateEncoder | null = null
  readonly outputs = new Outputs()
  readonly fleet = new Fleet()
  readonly featureRows = new FeatureRowWriter(this.outputs)
  /** Devices with a gap below a seen seq; with corrections to send. */
  readonly withGap = new Set<Device>()
  readonly dirty = new Set<Device>()
  /** Epochs that changed since the last boundary. */
  readonly changed = new Changes()
  readonly counters: Counters = {
    messages: 0,
    undecodable: 0,
    archived: 0,
    late: 0,
    quarantined: 0,
    duplicates: 0,
    shed: 0,
    resolved: 0,
    staleRequeues: 0
  }
  /** By reason. */
  readonly rejects = new Map<string, number>()
  /** Fields that no profile names, by `profile.field`. */
  readonly unknownFields = new Map<string, number>()
  /** By device and epoch. */
  readonly notices = new Map<string, Notice>()
  /** Devices whose configuration was set, or withheld or not any more. */
  readonly configured = new Set<Device>()
  readonly eventIds: EventIdStore
  /** The plain batch read last. */
  readonly plain = new PlainBatch()
  readonly findProfile: ProfileLookup = (name, version) => {
    const known = this.profile(name, version)
    return typeof known === 'string' ? known : known.plan.profile
  }
  private readonly profiles = new Map<string, KnownProfile>()
  private readonly versions = new Map<string, number>()
  /** The profile that was asked for last, version and all. */
  private recent: KnownProfile | null = null

  constructor(eventIds: EventIdStore) {
    this.eventIds = eventIds
  }

  setProfiles(profiles: readonly Profile[]): void {
    const known = new Map(this.profiles)
    this.profiles.clear()
    this.versions.clear()
    this.recent = null
    for (const profile of profiles) {
      const key = `${profile.name}@${profile.version}`
      const same = known.get(key)
      const isSame = same?.plan.digest === profileDigest(profile)
      this.profiles.set(key, isSame ? same : { plan: planFeatures(profile), layout: readingsLayout(profile), rules: plainRules(profile) })
      this.versions.set(profile.name, Math.max(profile.version, this.versions.get(profile.name) ?? 0))
    }
  }

  /** The profiles of the settings in force. */
  get currentProfiles(): Profile[] {
    return Array.from(this.profiles.values(), ({ plan }) => plan.profile)
  }

  /** One profile a name: the latest in force, and where none is, the latest that a device has features of. */
  featureProfiles(): Profile[] {
    const latest = new Map<string, Profile>()
    const take = (profile: Profile) => {
      const known = latest.get(profile.name)
      if (known === undefined || profile.version > known.version) latest.set(profile.name, profile)
    }
    for (const profile of this.currentProfiles) take(profile)
    for (const { features } of this.devices.values())
      for (const { plan } of features) if (!this.versions.has(plan.profile.name)) take(plan.profile)
    return [...latest.values()]
  }

  /** The plan of a profile with this very text, made where none is known. */
  planOf(profile: Profile): Plan {
    const known = this.profiles.get(`${profile.name}@${profile.version}`)
    return known?.plan.digest === profileDigest(profile) ? known.plan : planFeatures(profile)
  }

  /** The profile; its latest version where none is named. */
  profile(name: string, version = this.versions.get(name)): KnownProfile | 'unknown-profile' | 'unknown-profile-version' {
    const recent = this.recent?.plan.profile
    if (recent !== undefined && recent.name === name && recent.version === version) return this.recent!
    if (version === undefined || !this.versions.has(name)) return 'unknown-profile'
    const known = this.profiles.get(`${name}@${version}`)
    if (known !== undefined) this.recent = known
    return known ?? 'unknown-profile-version'
  }

  /** The device, made where it is new; null where there are as many as the settings allow. */
  touchDevice(deviceId: string): Device | null {
    let device = this.devices.get(deviceId)
    if (device === undefined) {
      if (!this.hasRoom) return null
      device = this.addDevice(deviceId)
    }
    return this.touch(device)
  }

  /** The same, by the ID's bytes in an entry; `guess` is probably it. */
  touchDeviceAt(entry: Uint8Array, idStart: number, idEnd: number, guess?: Device): Device | null {
    if (guess !== undefined && isText(guess.deviceId, entry, idStart, idEnd - idStart)) return this.touch(guess)
    const known = this.byIdBytes.find(entry, idStart, idEnd)
    if (known !== undefined) return this.touch(known)
    const device = this.touchDevice(asciiText(entry, idStart, idEnd))
    if (device !== null) this.byIdBytes.add(device)
    return device
  }

  /**
   * Begins a snapshot of the state as it is. Only at a boundary. One that is under way is no longer kept exact.
   */
  beginSnapshot(devicesPerPart?: number): StateEncoder {
    this.encoder = new StateEncoder(this, ++this.snapshots, devicesPerPart)
    return this.encoder
  }

  abandonSnapshot(): void {
    this.encoder = null
  }

  /** To be called before anything of the device changes, its features and epochs included: a snapshot under way may lack it. */
  change(device: Device): void {
    if (device.snapshot !== this.snapshots) this.encoder?.keep(device)
  }

  /** A message of the device has come. */
  touch(device: Device): Device {
    this.change(device)
    device.lastSeenMs = this.uptimeMs
    device.idle = false
    device.seenMs = this.ingestMs
    this.fleet.noteProgress(device)
    return device
  }

  /** Whether one device more is allowed. */
  get hasRoom(): boolean {
    return this.devices.size < (this.settings?.devicesMax ?? 0)
  }

  /** Makes a device that is not known yet. */
  addDevice(deviceId: string): Device {
    const device = new Device(deviceId, this.devices.size)
    device.snapshot = this.snapshots
    device.lastSeenMs = this.uptimeMs
    device.registration.registeredMs = this.ingestMs
    this.devices.set(deviceId, device)
    this.fleet.noteRegistration(device)
    return device
  }

  /**
   * Takes a valid reading into the device's features. `values` holds a number a metric of the plan's profile; NaN is null. `isSettled`:
   * the watermark is going to follow it.
   */
  addToFeatures(device: Device, plan: Plan, order: Order, values: Float64Array, isSettled = false): void {
    const features = this.featuresOf(device, plan)
    if (features === null) {
      this.outputs.markRepair(device.deviceId, plan.profile.name, order.timeMs - 1, order.timeMs + plan.hopMs + plan.reachMs)
      return
    }
    if (isSettled) this.advanceBefore(device, features, order.timeMs)
    features.add(order, features.plan.digest === plan.digest ? values : arranged(values, plan, features.plan), this.sinks(device, features))
    if (features.isDirty || order.timeMs < device.watermarkMs) this.dirty.add(device)
  }

  /**
   * The device's features of the profile: under the plan, or that of a later version in force, so that versions which take turns
   * share panes. null where the device has features of as many profiles as it may.
   */
  private featuresOf(device: Device, plan: Plan): Features | null {
    const { name, version } = plan.profile
    const known = device.featuresOf(name)
    if (known === undefined && device.features.length >= FEATURES_MAX) return null
    if (known?.plan.digest === plan.digest || (known !== undefined && known.plan.profile.version > version && this.isInForce(known.plan)))
      return known
    known?.correct(this.ingestMs, this.sinks(device, known))
    const features = known === undefined ? new Features(plan) : known.under(plan, this.sinks(device, known))
    device.setFeatures(features)
    return features
  }

  private isInForce({ profile, digest }: Plan): boolean {
    return this.profiles.get(`${profile.name}@${profile.version}`)?.plan.digest === digest
  }

  sinks(device: Device, features: Features): FeatureRowWriter {
    return this.featureRows.of(device, features.plan, this.ingestMs)
  }

  raiseWatermark(device: Device, eventTimeMs: number): void {
    if (eventTimeMs <= device.watermarkMs) return
    this.moveWatermark(device, eventTimeMs)
    for (const features of device.features) features.advance(eventTimeMs, this.sinks(device, features))
  }

  /** Raises it where that lets nothing out. */
  moveWatermark(device: Device, eventTimeMs: number): void {
    device.watermarkMs = eventTimeMs
    this.fleet.noteProgress(device)
  }

  /**
   * Lets out what a reading is going to let out, before it is taken in: no such row holds it, and so a pane is old before another
   * begins, and takes no room beside it.
   */
  advanceBefore(device: Device, features: Features, eventTimeMs: number): void {
    if (eventTimeMs > device.watermarkMs) features.advance(eventTimeMs, this.sinks(device, features))
  }

  /** The device says that it has ended: nothing more is expected in its open hops. */
  closeHops(device: Device): void {
    for (const features of device.features) features.close(this.sinks(device, features))
  }

  notice({ deviceId }: Device, { epoch }: Epoch): void {
    this.notices.set(`${deviceId}/${epoch}`, { deviceId, epoch })
  }

  noteChanged(device: Device, epoch: number): void {
    this.changed.note(device, epoch)
  }

  countUnknownField(profile: string, field: string): void {
    const key = `${profile}.${field}`
    const count = this.unknownFields.get(key)
    if (count !== undefined || this.unknownFields.size < UNKNOWN_FIELDS_MAX) this.unknownFields.set(key, (count ?? 0) + 1)
  }
}

/** The values of one plan's metrics in the order of another's. */
function arranged(values: Float64Array, from: Plan, to: Plan): Float64Array {
  return Float64Array.from(to.profile.metrics, metric => {
    const place = from.profile.metrics.findIndex(({ name }) => name === metric.name)
    return place < 0 ? Number.NaN : values[place]
  })
}
