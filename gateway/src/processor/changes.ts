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

  /** Visits each epoch that changed of one of `devices`. */
  visitEpochs({ changedEpoch, otherChanges }: Device, visit: (epoch: number) => void): void {
    visit(changedEpoch)
    otherChanges?.forEach(visit)
  }

  clear(): void {
    this.round++
    this.devices.length = 0
  }
}
