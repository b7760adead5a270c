/**
 * MessagePack values written into a buffer of the caller's: those forms that a batch of one reading takes, the shortest that hold the
 * value, as @msgpack/msgpack writes them. Each function returns where the next value begins.
 */

export const NIL = 0xc0
export const FALSE = 0xc2
export const TRUE = 0xc3

/** The head of an array of at most 15 elements. */
export function writeArrayHead(into: Uint8Array, at: number, elements: number): number {
  into[at] = 0x90 + elements
  return at + 1
}

/** A string of at most 31 ASCII characters. */
export function writeShortText(into: Uint8Array, at: number, text: string): number {
  into[at] = 0xa0 + text.length
  for (let i = 0; i < text.length; i++) into[at + 1 + i] = text.charCodeAt(i)
  return at + 1 + text.length
}

/** A whole number in [-2^31, 2^53). */
export function writeInteger(into: Uint8Array, at: number, value: number): number {
  if (value >= 0 ? value < 0x80 : value >= -0x20) {
    into[at] = value // modulo 256: what two's complement makes of a negative one
    return at + 1
  }
  if (value < 0) return writeNegative(into, at, value)
  if (value < 0x100) {
    into[at] = 0xcc
    into[at + 1] = value
    return at + 2
  }
  if (value < 0x10000) {
    into[at] = 0xcd
    into[at + 1] = value >>> 8
    into[at + 2] = value
    return at + 3
  }
  if (value < 0x100000000) {
    into[at] = 0xce
    return writeUint32(into, at + 1, value)
  }
  into[at] = 0xcf
  return writeUint32(into, writeUint32(into, at + 1, Math.floor(value / 0x100000000)), value % 0x100000000)
}

function writeNegative(into: Uint8Array, at: number, value: number): number {
  if (value >= -0x80) {
    into[at] = 0xd0
    into[at + 1] = value
    return at + 2
  }
  if (value >= -0x8000) {
    into[at] = 0xd1
    into[at + 1] = value >> 8
    into[at + 2] = value
    return at + 3
  }
  into[at] = 0xd2
  return writeUint32(into, at + 1, value)
}

function writeUint32(into: Uint8Array, at: number, value: number): number {
  into[at] = value >>> 24
  into[at + 1] = value >>> 16
  into[at + 2] = value >>> 8
  into[at + 3] = value
  return at + 4
}
