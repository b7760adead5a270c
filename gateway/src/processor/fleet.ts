/**
 * What changed of the fleet since the last boundary: registrations, how far each device has come, what became of readings by hour.
 * Nothing is left in it behind a boundary, so it is no part of a snapshot.
 */
import type { Changes } from './changes.js'
import type { Device } from './device.js'
import { DeviceDictionary } from './device-dictionary.js'
import { type HourCountColumns, HourCounts } from './hour-counts.js'
import { type DeviceRow, rowOf } from './registry.js'
import type { UnseenReport } from './spans.js'

/** How far devices have come, one a place. */
export interface DeviceProgress {
  /** Places in `Flush.deviceIds`. */
  readonly device: Int32Array
  /** Unix ms; NaN without a watermark. */
  readonly watermarksMs: Float64Array
  /** Ingest time of the last message, Unix ms; NaN without one. */
  readonly seenMs: Float64Array
  /** 1: idle. */
  readonly idle: Uint8Array
  /** 1: it has ended. */
  readonly ended: Uint8Array
}

/** Unseen seqs of an epoch of a device: they stand in place of what an earlier report said above `keepThrough`. */
export interface EpochUnseen extends UnseenReport {
  readonly deviceId: string
  readonly epoch: number
}

/** Readings of a profile and an hour of event time that no file holds yet. */
export interface WaitingHour {
  readonly profile: string
  /** Start of the hour, Unix ms. */
  readonly hourMs: number
  readonly rows: number
}

/** The fleet's part of a flush. */
export interface FleetFlush {
  /** Ingest time of the boundary, Unix ms. */
  readonly knownAtMs: number
  /** Devices whose registration or status changed. */
  readonly devices: readonly DeviceRow[]
  /** Other devices that have come further. */
  readonly progress: DeviceProgress
  readonly hours: HourCountColumns
  readonly unseen: readonly EpochUnseen[]
  /** All of them, as of the boundary. */
  readonly waiting: readonly WaitingHour[]
}

export class Fleet {
  readonly devices = new DeviceDictionary()
  readonly hours = new HourCounts(this.devices)
  private readonly registrations = new Set<Device>()
  private readonly moved: Device[] = []
  private round = 0

  /** The device's registration or status changed. */
  noteRegistration(device: Device): void {
    this.registrations.add(device)
  }

  /** The device has sent something, its watermark rose, or it fell silent. */
  noteProgress(device: Device): void {
    if (device.movedIn === this.round) return
    device.movedIn = this.round
    this.moved.push(device)
  }

  /** Whether a boundary would tell something: a device that fell silent, or passed a gap, does so by ticks alone. */
  get hasNews(): boolean {
    return this.registrations.size > 0 || this.moved.length > 0
  }

  /** `changed`: the epochs that changed since the last boundary. */
  take(knownAtMs: number, changed: Changes, waiting: readonly WaitingHour[]): FleetFlush {
    const devices = Array.from(this.registrations, rowOf)
    const { registrations } = this
    const moved = registrations.size === 0 ? [...this.moved] : this.moved.filter(device => !registrations.has(device))
    this.registrations.clear()
    this.moved.length = 0
    this.round++
    return { knownAtMs, devices, progress: this.progressOf(moved), hours: this.hours.take(), unseen: unseenOf(changed), waiting }
  }

  private progressOf(moved: readonly Device[]): DeviceProgress {
    const { length } = moved
    const place = new Int32Array(length)
    const [watermarksMs, seenMs] = [new Float64Array(length), new Float64Array(length)]
    const [idle, ended] = [new Uint8Array(length), new Uint8Array(length)]
    for (let i = 0; i < length; i++) {
      const device = moved[i]
      place[i] = this.devices.placeOf(device)
      watermarksMs[i] = Number.isFinite(device.watermarkMs) ? device.watermarkMs : Number.NaN
      seenMs[i] = device.seenMs
      idle[i] = device.idle ? 1 : 0
      ended[i] = device.hasEnded ? 1 : 0
    }
    return { device: place, watermarksMs, seenMs, idle, ended }
  }
}

function unseenOf(changed: Changes): EpochUnseen[] {
  const unseen: EpochUnseen[] = []
  for (const device of changed.devices) {
    changed.visitEpochs(device, epoch => {
      const report = device.epoch(epoch)?.reportUnseen() ?? null
      if (report !== null) unseen.push({ deviceId: device.deviceId, epoch, ...report })
    })
  }
  return unseen
}
