/** What is remembered of one device: its epochs, its watermark, its features. */
import { Epoch } from './epoch.js'
import type { EpochSnapshot } from './epoch-snapshot.js'
import type { Features } from './features.js'
import { newRegistration, type Registration, restoredRegistration } from './registry.js'

/** Epochs whose seqs are tracked for a device at a boundary (between boundaries, four times as many); the least recently used goes first. */
export const EPOCHS_MAX = 1024

/** Epochs that are known to be forgotten; a reading of one is quarantined. The oldest are dropped. */
const FORGOTTEN_MAX = 16_384

const NOTHING_OPAQUE: OpaqueCounts = Object.freeze({
  archived: 0,
  quarantined: 0,
  duplicates: 0,
  late: 0,
  latestEventTimeMs: Number.NEGATIVE_INFINITY
})

/** Most profiles a device has features of; the features of others are left to a repair from the archive. */
export const FEATURES_MAX = 16

/** Readings with opaque event IDs. */
export interface OpaqueCounts {
  archived: number
  quarantined: number
  duplicates: number
  late: number
  /** The latest event time, Unix ms. */
  latestEventTimeMs: number
}

export interface DeviceSnapshot {
  deviceId: string
  watermarkMs: number
  lastSeenMs: number
  seenMs: number
  idle: boolean
  registration: Registration
  forgotten: number[]
  /** Absent where it never sent an opaque event ID. */
  opaque?: OpaqueCounts
  epochs: EpochSnapshot[]
}

export class Device {
  readonly deviceId: string
  /** How many devices were known before it. */
  readonly place: number
  /** The number of the snapshot that holds it as it is now, or is not to hold it. */
  snapshot = 0
  /** No reading before it is expected any more. Never backwards. Unix ms. */
  watermarkMs: number
  /** Uptime at which its last message came, ms. */
  lastSeenMs: number
  /** Ingest time of its last message of any kind, Unix ms; NaN: it never sent one. */
  seenMs: number
  idle: boolean
  readonly registration: Registration
  /** For `Changes`: the round in which it changed last, the first epoch that did, and the others. */
  changedIn = -1
  changedEpoch = 0
  otherChanges: Set<number> | null = null
  /** For `Fleet`: the round in which it came further last. */
  movedIn = -1
  /** For `HourCounts`: the round in which its readings were counted last, and the place. */
  countedIn = -1
  countPlace = 0
  /** At most one a profile's name. */
  features: readonly Features[] = []
  private opaqueCounts: OpaqueCounts | null
  /** The epoch that was used last. */
  private latest: Epoch | null = null
  /** All epochs, where there are several; the last used last. */
  private epochs: Map<number, Epoch> | null = null
  private forgotten: Set<number> | null

  constructor(deviceId: string, place: number, snapshot?: DeviceSnapshot) {
    this.deviceId = deviceId
    this.place = place
    this.watermarkMs = snapshot?.watermarkMs ?? Number.NEGATIVE_INFINITY
    this.lastSeenMs = snapshot?.lastSeenMs ?? 0
    this.seenMs = snapshot?.seenMs ?? Number.NaN
    this.idle = snapshot?.idle ?? false
    this.registration = snapshot === undefined ? newRegistration(0) : restoredRegistration(snapshot.registration)
    this.opaqueCounts = snapshot?.opaque ?? null
    this.forgotten = snapshot === undefined || snapshot.forgotten.length === 0 ? null : new Set(snapshot.forgotten)
    for (const epoch of snapshot?.epochs ?? []) this.keep(new Epoch(epoch.epoch, epoch))
  }

  get opaque(): Readonly<OpaqueCounts> {
    return this.opaqueCounts ?? NOTHING_OPAQUE
  }

  /** The counts, to be changed. */
  touchOpaque(): OpaqueCounts {
    this.opaqueCounts ??= { ...NOTHING_OPAQUE }
    return this.opaqueCounts
  }

  /** The features of a profile of that name. */
  featuresOf(profile: string): Features | undefined {
    const { features } = this
    for (let i = 0; i < features.length; i++) if (features[i].plan.profile.name === profile) return features[i]
    return undefined
  }

  /** Keeps the features, in place of those of the same profile's name. */
  setFeatures(features: Features): void {
    const { name } = features.plan.profile
    const isKnown = this.featuresOf(name) !== undefined
    this.features = isKnown ? this.features.map(each => (each.plan.profile.name === name ? features : each)) : [...this.features, features]
  }

  /** The epoch that was used last. */
  get latestEpoch(): Epoch | null {
    return this.latest
  }

  /** The epoch, made where it is new; null where it was forgotten. */
  touchEpoch(number: number): Epoch | null {
    const { latest } = this
    if (latest !== null && latest.epoch === number) return latest
    const known = this.epochs?.get(number)
    if (known !== undefined) {
      this.epochs!.delete(number) // to the end: last used
      this.epochs!.set(number, known)
      this.latest = known
      return known
    }
    if (this.forgotten?.has(number)) return null
    const epoch = new Epoch(number)
    this.keep(epoch)
    if (this.epochs !== null && this.epochs.size > 4 * EPOCHS_MAX) {
      const [oldest] = this.epochs.keys()
      this.forget(oldest)
    }
    return epoch
  }

  /** Keeps the epochs used last, and those held; called at a boundary, when the ledger of those that go has been written. */
  forgetOldEpochs(isHeld: (epoch: number) => boolean): void {
    if (this.epochs === null) return
    for (const epoch of this.epochs.keys()) {
      if (this.epochs.size <= EPOCHS_MAX) return
      if (!isHeld(epoch)) this.forget(epoch)
    }
  }

  epoch(number: number): Epoch | undefined {
    return this.latest?.epoch === number ? this.latest : this.epochs?.get(number)
  }

  allEpochs(): Iterable<Epoch> {
    if (this.epochs !== null) return this.epochs.values()
    return this.latest === null ? [] : [this.latest]
  }

  /** Whether it said that it ends, and everything up to there is settled; no longer when it has gone on, under whatever epoch. */
  get hasEnded(): boolean {
    if (this.opaque.archived + this.opaque.quarantined > 0) return false // nothing says that those end
    return this.latest?.isClosed ?? false
  }

  toSnapshot(): DeviceSnapshot {
    const { deviceId, watermarkMs, lastSeenMs, seenMs, idle, registration, opaqueCounts } = this
    return {
      deviceId,
      watermarkMs,
      lastSeenMs,
      seenMs,
      idle,
      registration,
      ...(opaqueCounts !== null && { opaque: opaqueCounts }),
      forgotten: [...(this.forgotten ?? [])],
      epochs: Array.from(this.allEpochs(), epoch => epoch.toSnapshot())
    }
  }

  private keep(epoch: Epoch): void {
    if (this.latest !== null) {
      this.epochs ??= new Map([[this.latest.epoch, this.latest]])
      this.epochs.set(epoch.epoch, epoch)
    }
    this.latest = epoch
  }

  private forget(epoch: number): void {
    this.epochs!.delete(epoch)
    this.forgotten ??= new Set()
    this.forgotten.add(epoch)
    if (this.forgotten.size > FORGOTTEN_MAX) {
      const [first] = this.forgotten
      this.forgotten.delete(first)
    }
  }
}
