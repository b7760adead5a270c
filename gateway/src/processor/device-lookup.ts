/** Finds devices by the bytes of their IDs, as they lie in an entry, so that no string is made for each message. */
import { isText } from '@tidemark/protocol'
import type { Device } from './device.js'

const SLOTS_MIN = 1024

/** A hash table with open addressing, at most half full. Holds what was added; devices never go. */
export class DeviceLookup {
  private slots = new Array<Device | undefined>(SLOTS_MIN).fill(undefined)
  private count = 0

  find(bytes: Uint8Array, start: number, end: number): Device | undefined {
    const { slots } = this
    const mask = slots.length - 1
    const length = end - start
    for (let slot = hashOf(bytes, start, end) & mask; ; slot = (slot + 1) & mask) {
      const device = slots[slot]
      if (device === undefined || isText(device.deviceId, bytes, start, length)) return device
    }
  }

  /** Adds a device that is not in it yet. */
  add(device: Device): void {
    if (++this.count * 2 > this.slots.length) this.grow()
    place(this.slots, device)
  }

  private grow(): void {
    const slots = new Array<Device | undefined>(this.slots.length * 2).fill(undefined)
    for (const device of this.slots) if (device !== undefined) place(slots, device)
    this.slots = slots
  }
}

function place(slots: (Device | undefined)[], device: Device): void {
  const mask = slots.length - 1
  const bytes = Uint8Array.from(device.deviceId, character => character.charCodeAt(0))
  let slot = hashOf(bytes, 0, bytes.length) & mask
  while (slots[slot] !== undefined) slot = (slot + 1) & mask
  slots[slot] = device
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
  return (hash ^ (hash >>> 15)) >>> 0
}
