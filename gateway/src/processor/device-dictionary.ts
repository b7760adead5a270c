/** The IDs of the devices that the next boundary tells of, in the order in which they came up. Empty behind a boundary. */
import type { Device } from './device.js'
import { DevicePlaces } from './device-places.js'

export class DeviceDictionary {
  private deviceIds: string[] = []
  private readonly known = new DevicePlaces()
  /** Places of IDs that no device was named with. */
  private readonly others = new Map<string, number>()

  /** The device's place. A device may have two: one by itself, one by its ID alone. */
  placeOf({ place, deviceId }: Device): number {
    let index = this.known.get(place)
    if (index < 0) {
      index = this.deviceIds.push(deviceId) - 1
      this.known.set(place, index)
    }
    return index
  }

  placeOfId(deviceId: string): number {
    let index = this.others.get(deviceId)
    if (index === undefined) {
      index = this.deviceIds.push(deviceId) - 1
      this.others.set(deviceId, index)
    }
    return index
  }

  take(): string[] {
    const { deviceIds } = this
    this.deviceIds = []
    this.known.clear()
    this.others.clear()
    return deviceIds
  }
}
