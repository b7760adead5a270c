/**
 * Looks at what the messages of an entry are going to need, before the first of them is taken in: their devices lie scattered in
 * memory, and a CPU fetches many side by side while it would wait for one after another. Changes nothing.
 *
 * Each loop reads one thing of every device, and nothing that another read of the same loop must lead to: hence so many loops.
 */
import { FrameCursor } from '../log/frames.js'
import type { DecodedEntry } from './decoded.js'
import type { Device } from './device.js'
import type { DeviceLookup } from './device-lookup.js'
import type { Epoch } from './epoch.js'
import type { Features } from './features.js'

/** Messages looked at: what they need must fit a cache. */
const MESSAGES_MAX = 512

/** Fewer are not worth the while. */
const MESSAGES_MIN = 8

export class WarmUp {
  /** By the index of the frame: probably the device of a batch. */
  private readonly devices = new Array<Device | undefined>(MESSAGES_MAX).fill(undefined)
  private readonly epochs = new Array<Epoch | null>(MESSAGES_MAX).fill(null)
  private readonly features = new Array<Features | undefined>(MESSAGES_MAX).fill(undefined)
  private count = 0
  /** What was read, so that no compiler finds the reading idle. */
  seen = 0

  /** `frames` is an entry. */
  run(frames: Uint8Array, lookup: DeviceLookup<Device>): void {
    this.look(this.findDevices(frames, lookup))
  }

  /** The same for an entry that was decoded ahead. */
  runDecoded(decoded: DecodedEntry): void {
    this.look(decoded.findDevices(this.devices))
  }

  private look(count: number): void {
    this.count = count
    if (this.count >= MESSAGES_MIN) this.seen = this.readDevices() + this.readEpochs() + this.readFeatures()
  }

  /** Probably the device of the batch at that index of the entry that was looked at last; undefined where nothing is known. */
  deviceAt(frameIndex: number): Device | undefined {
    return frameIndex < this.count ? this.devices[frameIndex] : undefined
  }

  private findDevices(frames: Uint8Array, lookup: DeviceLookup<Device>): number {
    const { devices } = this
    let count = 0
    for (const cursor = new FrameCursor(frames); count < MESSAGES_MAX && cursor.next(); count++)
      devices[count] = cursor.kind === 'batch' ? lookup.guess(cursor.bytes, cursor.idStart, cursor.idEnd) : undefined
    return count
  }

  private readDevices(): number {
    const { devices, epochs, features, count } = this
    let seen = 0
    for (let i = 0; i < count; i++) {
      const device = devices[i]
      epochs[i] = device === undefined ? null : device.latestEpoch
      features[i] = device === undefined ? undefined : device.features[0]
    }
    for (let i = 0; i < count; i++) {
      const device = devices[i]
      if (device !== undefined) seen += device.watermarkMs + device.deviceId.charCodeAt(0)
    }
    return seen
  }

  private readEpochs(): number {
    const { epochs, count } = this
    let seen = 0
    for (let i = 0; i < count; i++) {
      const epoch = epochs[i]
      if (epoch !== null) seen += epoch.counts.archived
    }
    return seen
  }

  private readFeatures(): number {
    const { features, count } = this
    let seen = 0
    for (let i = 0; i < count; i++) {
      const each = features[i]
      if (each !== undefined) seen += each.readHead()
    }
    for (let i = 0; i < count; i++) {
      const each = features[i]
      if (each !== undefined) seen += each.readOpenPanes()
    }
    return seen
  }
}
