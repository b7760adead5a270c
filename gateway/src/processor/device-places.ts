/** Which place in a dictionary each device's ID has, by the device's own place: in a map while they are few, then in an array. */

const FEW_MAX = 4096

export class DevicePlaces {
  private readonly few = new Map<number, number>()
  private many: Int32Array | null = null

  /** -1: it has none yet. */
  get(device: number): number {
    const { many } = this
    if (many === null) return this.few.get(device) ?? -1
    return device < many.length ? many[device] : -1
  }

  set(device: number, place: number): void {
    if (this.many === null) {
      this.few.set(device, place)
      if (this.few.size > FEW_MAX) this.spread()
      return
    }
    if (device >= this.many.length) this.many = grown(this.many, device)
    this.many[device] = place
  }

  clear(): void {
    this.few.clear()
    this.many = null
  }

  private spread(): void {
    this.many = grown(new Int32Array(0), FEW_MAX)
    for (const [device, place] of this.few) this.set(device, place)
    this.few.clear()
  }
}

/** A copy that has a place for the device, and for others to come. */
function grown(places: Int32Array, device: number): Int32Array {
  const copy = new Int32Array(2 ** (32 - Math.clz32(device))).fill(-1)
  copy.set(places)
  return copy
}
