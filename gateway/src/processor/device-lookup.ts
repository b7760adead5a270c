/** Finds devices by the bytes of their IDs, as they lie in an entry, so that no string is made for each message. */
import { isText } from '@tidemark/protocol'

const SLOTS_MIN = 1024

export interface Identified {
  readonly deviceId: string
}

/** A hash table with open addressing, at most half full. Holds what was added; devices never go. */
export class DeviceLookup<Device extends Identified> {
  private slots = new Array<Device | undefined>(SLOTS_MIN).fill(undefined)
  /** By slot, the hash of the ID there: others need not be looked at. */
  private hashes = new Int32Array(SLOTS_MIN)
  private count = 0

  find(bytes: Uint8Array, start: number, end: number): Device | undefined {
    const { slots, hashes } = this
    const mask = hashes.length - 1
    const hash = hashOf(bytes, start, end)
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const device = slots[slot]
      if (device === undefined || (hashes[slot] === hash && isText(device.deviceId, bytes, start, end - start))) return device
    }
  }

  /** Probably the device, found without looking at any; it may be another. */
  guess(bytes: Uint8Array, start: number, end: number): Device | undefined {
    const { slots, hashes } = this
    const mask = hashes.length - 1
    const hash = hashOf(bytes, start, end)
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) if (hashes[slot] === hash || slots[slot] === undefined) return slots[slot]
  }

  /** Adds a device that is not in it yet. */
  add(device: Device): void {
    if (++this.count * 2 > this.slots.length) this.grow()
    this.place(device, hashOfText(device.deviceId))
  }

  private grow(): void {
    const { slots: before, hashes } = this
    this.slots = new Array<Device | undefined>(before.length * 2).fill(undefined)
    this.hashes = new Int32Array(before.length * 2)
    for (const [slot, device] of before.entries()) if (device !== undefined) this.place(device, hashes[slot])
  }

  private place(device: Device, hash: number): void {
    const mask = this.slots.length - 1
    let slot = hash & mask
    while (this.slots[slot] !== undefined) slot = (slot + 1) & mask
    this.slots[slot] = device
    this.hashes[slot] = hash
  }
}

export function asciiText(bytes: Uint8Array, start: number, end: number): string {
  let text = ''
  for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i])
  return text
}

/** FNV-1a, its high bits folded in. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193)
  return hash ^ (hash >>> 15)
}

/** The same of an ID. */
function hashOfText(deviceId: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < deviceId.length; i++) hash = Math.imul(hash ^ deviceId.charCodeAt(i), 0x01000193)
  return hash ^ (hash >>> 15)
}
