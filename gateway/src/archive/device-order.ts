import { sortedByRank } from './row-order.js'

/** Brings rows into the order of their devices' IDs: tables whose keys begin with them are then gone through once, page by page. */
export class DeviceOrder {
  /** By place in the dictionary: the rank of the ID. */
  private readonly ranks: Int32Array

  constructor(deviceIds: readonly string[]) {
    const ranks = new Map([...deviceIds].sort().map((deviceId, rank) => [deviceId, rank]))
    this.ranks = Int32Array.from(deviceIds, deviceId => ranks.get(deviceId)!)
  }

  /** The rows in order. `device`: by row, the device's place in the dictionary. */
  rowsOf(device: Int32Array): Int32Array {
    return sortedByRank(device.map(place => this.ranks[place])).order
  }
}
