/**
 * What changed of the fleet since the last boundary: registrations, and how far each device has come. Nothing is left in it behind a
 * boundary, so it is no part of a snapshot.
 */
import type { Device } from './device.js'
import { type DeviceRow, rowOf } from './registry.js'

/** How far devices have come, one a place. */
export interface DeviceProgress {
  readonly deviceIds: readonly string[]
  /** Unix ms; NaN without a watermark. */
  readonly watermarksMs: Float64Array
  /** Ingest time of the last message, Unix ms; NaN without one. */
  readonly seenMs: Float64Array
  /** 1: idle. */
  readonly idle: Uint8Array
}

/** The fleet's part of a flush. */
export interface FleetFlush {
  /** Ingest time of the boundary, Unix ms. */
  readonly knownAtMs: number
  /** Devices whose registration or status changed. */
  readonly devices: readonly DeviceRow[]
  /** Other devices that have come further. */
  readonly progress: DeviceProgress
}

export class Fleet {
  private readonly registrations = new Set<Device>()
  private readonly moved = new Set<Device>()

  /** The device's registration or status changed. */
  noteRegistration(device: Device): void {
    this.registrations.add(device)
  }

  /** The device has sent something, its watermark rose, or it fell silent. */
  noteProgress(device: Device): void {
    this.moved.add(device)
  }

  take(knownAtMs: number): FleetFlush {
    const devices = Array.from(this.registrations, rowOf)
    const moved = Array.from(this.moved).filter(device => !this.registrations.has(device))
    this.registrations.clear()
    this.moved.clear()
    return { knownAtMs, devices, progress: progressOf(moved) }
  }
}

function progressOf(devices: readonly Device[]): DeviceProgress {
  return {
    deviceIds: devices.map(({ deviceId }) => deviceId),
    watermarksMs: Float64Array.from(devices, ({ watermarkMs }) => (Number.isFinite(watermarkMs) ? watermarkMs : Number.NaN)),
    seenMs: Float64Array.from(devices, ({ registration }) => registration.seenMs ?? Number.NaN),
    idle: Uint8Array.from(devices, ({ idle }) => (idle ? 1 : 0))
  }
}
