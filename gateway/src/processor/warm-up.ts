/**
 * Looks at what the messages of an entry are going to need, before the first of them is taken in: their devices lie scattered in
 * memory, and reading many at once lets a CPU fetch them side by side instead of waiting for one after another. Changes nothing.
 */
import { FrameCursor } from '../log/frames.js'
import type { Device } from './device.js'
import type { DeviceLookup } from './device-lookup.js'
import type { Epoch } from './epoch.js'
import type { Features } from './features.js'

/** Devices looked at in one go: what they need must fit a cache. */
const DEVICES_AT_ONCE = 512

export class WarmUp {
  private readonly devices: Device[] = []
  private readonly epochs: Epoch[] = []
  private readonly features: Features[] = []
  /** What was read, so that no compiler finds the reading idle. */
  seen = 0

  /** `frames` is an entry. */
  run(frames: Uint8Array, lookup: DeviceLookup): void {
    const { devices, epochs, features } = this
    let count = 0
    for (const cursor = new FrameCursor(frames); cursor.next() && count < DEVICES_AT_ONCE; ) {
      if (cursor.kind !== 'batch') continue
      const device = lookup.find(cursor.bytes, cursor.idStart, cursor.idEnd)
      if (device !== undefined) devices[count++] = device
    }
    if (count < 8) return
    let seen = 0
    let withEpoch = 0
    let withFeatures = 0
    for (let i = 0; i < count; i++) {
      const device = devices[i]
      seen += device.watermarkMs + device.seenMs
      const { latestEpoch } = device
      if (latestEpoch !== null) epochs[withEpoch++] = latestEpoch
      if (device.features.length > 0) features[withFeatures++] = device.features[0]
    }
    for (let i = 0; i < withEpoch; i++) seen += epochs[i].counts.archived + epochs[i].highestSampledSeq
    for (let i = 0; i < withFeatures; i++) seen += features[i].block.length
    for (let i = 0; i < withFeatures; i++)
      seen += features[i].block[0] + features[i].block[8] + features[i].block[16] + features[i].block[24]
    for (let i = 0; i < withFeatures; i++) seen += features[i].warm()
    this.seen = seen
  }
}
