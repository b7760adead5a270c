/** Which epochs of which devices changed since the last boundary, in the order in which they first did. Empty behind a boundary. */
import type { Device } from './device.js'

export class Changes {
  readonly devices: Device[] = []
  private round = 0

  note(device: Device, epoch: number): void {
    if (device.changedIn !== this.round) {
      device.changedIn = this.round
      device.changedEpoch = epoch
      device.otherChanges = null
      this.devices.push(device)
    } else if (device.changedEpoch !== epoch) {
      device.otherChanges ??= new Set()
      device.otherChanges.add(epoch)
    }
  }

  /** Of one of `devices`. */
  *epochsOf({ changedEpoch, otherChanges }: Device): Generator<number> {
    yield changedEpoch
    if (otherChanges !== null) yield* otherChanges
  }

  clear(): void {
    this.round++
    this.devices.length = 0
  }
}
