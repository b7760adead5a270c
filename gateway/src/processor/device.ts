/** What is remembered of one device: its epochs, its watermark, its features. */
import { Epoch } from './epoch.js'
import type { EpochSnapshot } from './epoch-snapshot.js'
import type { Features } from './features.js'
import { newRegistration, type Registration } from './registry.js'

/** Epochs whose seqs are tracked for a device at a boundary (between boundaries, four times as many); the least recently used goes first. */
export const EPOCHS_MAX = 1024

/** Epochs that are known to be forgotten; a reading of one is quarantined. The oldest are dropped. */
const FORGOTTEN_MAX = 16_384

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
  idle: boolean
  registration: Registration
  forgotten: number[]
  opaque: OpaqueCounts
  epochs: EpochSnapshot[]
}

export class Device {
  readonly deviceId: string
  /** No reading before it is expected any more. Never backwards. Unix ms. */
  watermarkMs: number
  /** Uptime at which its last message came, ms. */
  lastSeenMs: number
  idle: boolean
  readonly registration: Registration
  /** The epoch that was noted as changed last, and in which boundary's count: most messages change the same one again. */
  notedEpoch = -1
  notedIn = -1
  readonly opaque: OpaqueCounts
  /** By profile name. */
  readonly features = new Map<string, Features>()
  private readonly epochs = new Map<number, Epoch>()
  private readonly forgotten: Set<number>

  constructor(deviceId: string, snapshot?: DeviceSnapshot) {
    this.deviceId = deviceId
    this.watermarkMs = snapshot?.watermarkMs ?? Number.NEGATIVE_INFINITY
    this.lastSeenMs = snapshot?.lastSeenMs ?? 0
    this.idle = snapshot?.idle ?? false
    this.registration = snapshot?.registration ?? newRegistration(0)
    this.opaque = snapshot?.opaque ?? { archived: 0, quarantined: 0, duplicates: 0, late: 0, latestEventTimeMs: Number.NEGATIVE_INFINITY }
    this.forgotten = new Set(snapshot?.forgotten)
    for (const epoch of snapshot?.epochs ?? []) this.epochs.set(epoch.epoch, new Epoch(epoch.epoch, epoch))
  }

  /** The epoch, made where it is new; null where it was forgotten. */
  touchEpoch(number: number): Epoch | null {
    const known = this.epochs.get(number)
    if (known !== undefined) {
      if (this.epochs.size > 1) {
        this.epochs.delete(number) // to the end: last used
        this.epochs.set(number, known)
      }
      return known
    }
    if (this.forgotten.has(number)) return null
    const epoch = new Epoch(number)
    this.epochs.set(number, epoch)
    const [oldest] = this.epochs.keys()
    if (this.epochs.size > 4 * EPOCHS_MAX) this.forget(oldest)
    return epoch
  }

  /** Keeps the epochs used last, and those held; called at a boundary, when the ledger of those that go has been written. */
  forgetOldEpochs(isHeld: (epoch: number) => boolean): void {
    for (const epoch of this.epochs.keys()) {
      if (this.epochs.size <= EPOCHS_MAX) return
      if (!isHeld(epoch)) this.forget(epoch)
    }
  }

  epoch(number: number): Epoch | undefined {
    return this.epochs.get(number)
  }

  allEpochs(): Iterable<Epoch> {
    return this.epochs.values()
  }

  /** Whether it said that it ends, and everything up to there is settled; no longer when it has gone on, under whatever epoch. */
  get hasEnded(): boolean {
    if (this.opaque.archived + this.opaque.quarantined > 0) return false // nothing says that those end
    let last: Epoch | undefined
    for (const epoch of this.epochs.values()) last = epoch
    return last?.isClosed ?? false
  }

  toSnapshot(): DeviceSnapshot {
    const { deviceId, watermarkMs, lastSeenMs, idle, registration, opaque } = this
    return {
      deviceId,
      watermarkMs,
      lastSeenMs,
      idle,
      registration,
      opaque,
      forgotten: [...this.forgotten],
      epochs: Array.from(this.epochs.values(), e => e.toSnapshot())
    }
  }

  private forget(epoch: number): void {
    this.epochs.delete(epoch)
    this.forgotten.add(epoch)
    if (this.forgotten.size > FORGOTTEN_MAX) {
      const [first] = this.forgotten
      this.forgotten.delete(first)
    }
  }
}
