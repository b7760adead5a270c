/**
 * Walks one MessagePack value without building it, so that decoding it afterwards is bounded in time and memory and cannot
 * alter a value. @msgpack/msgpack allocates an array as long as its header says before it sees an element, so 128 KiB of nested
 * headers would cost hundreds of megabytes; it rounds integers that a double does not hold, and reads ill-formed UTF-8 as
 * something else. All that is refused here, and so are maps and extension types, which batches do not use.
 * Layout: https://github.com/msgpack/msgpack/blob/master/spec.md
 */

export interface MessagePackBounds {
  /** Most arrays around a value. */
  readonly depthMax: number
  readonly arrayLengthMax: number
  readonly stringBytesMax: number
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The offset just behind the value that begins at `start`; -1 where it is truncated, too large, too deep, of a refused type, an
 * integer beyond 2^53 - 1, or a string that is not UTF-8.
 */
export function endOfValue(bytes: Uint8Array, start: number, bounds: MessagePackBounds): number {
  const open: number[] = [] // elements still to come of each array around this place
  let at = start
  for (;;) {
    const elements = arrayLength(bytes, at)
    at = elements < 0 ? endOfScalar(bytes, at, bounds.stringBytesMax) : at + arrayHeadBytes(bytes[at])
    if (at < 0 || at > bytes.length) return -1
    if (elements > 0) {
      if (elements > bounds.arrayLengthMax || elements > bytes.length - at || open.length >= bounds.depthMax) return -1
      open.push(elements)
      continue
    }
    while (open.length > 0 && --open[open.length - 1] === 0) open.pop()
    if (open.length === 0) return at
  }
}

/** The number of elements of the array that begins at `at`, Infinity where it is cut off; -1 where none begins there. */
function arrayLength(bytes: Uint8Array, at: number): number {
  const head = bytes[at]
  if (head >= 0x90 && head <= 0x9f) return head & 0x0f
  return head === 0xdc || head === 0xdd ? bigEndian(bytes, at + 1, arrayHeadBytes(head) - 1) : -1
}

function arrayHeadBytes(head: number): number {
  return head === 0xdc ? 3 : head === 0xdd ? 5 : 1
}

/** Just behind the value that is no array; -1 or past the end where it is refused. */
function endOfScalar(bytes: Uint8Array, start: number, stringBytesMax: number): number {
  if (start >= bytes.length) return -1
  const head = bytes[start]
  const at = start + 1
  if (head <= 0x7f || head >= 0xe0 || head === 0xc0 || head === 0xc2 || head === 0xc3) return at // fixint, nil, booleans
  if (head <= 0x9f) return -1 // maps; arrays are not seen here
  if (head <= 0xbf) return endOfString(bytes, at, head & 0x1f)
  switch (head) {
    case 0xc4:
    case 0xc5:
    case 0xc6: {
      const lengthBytes = 1 << (head - 0xc4)
      return at + lengthBytes + bigEndian(bytes, at, lengthBytes)
    }
    case 0xcc:
    case 0xd0:
      return at + 1
    case 0xcd:
    case 0xd1:
      return at + 2
    case 0xca:
    case 0xce:
    case 0xd2:
      return at + 4
    case 0xcb:
      return at + 8
    case 0xcf:
      return bigEndian(bytes, at, 8) <= Number.MAX_SAFE_INTEGER ? at + 8 : -1
    case 0xd3:
      return isSafeInt64(bytes, at) ? at + 8 : -1
    case 0xd9:
    case 0xda:
    case 0xdb: {
      const lengthBytes = 1 << (head - 0xd9)
      const length = bigEndian(bytes, at, lengthBytes)
      return length <= stringBytesMax ? endOfString(bytes, at + lengthBytes, length) : -1
    }
    default:
      return -1 // maps, extension types, and the code that MessagePack never uses
  }
}

function endOfString(bytes: Uint8Array, start: number, length: number): number {
  const end = start + length
  if (end > bytes.length) return -1
  let at = start
  while (at < end && bytes[at] < 0x80) at++
  if (at === end) return end
  try {
    utf8.decode(bytes.subarray(at, end))
    return end
  } catch {
    return -1
  }
}

/** Whether a double holds the int64, and no other, exactly. */
function isSafeInt64(bytes: Uint8Array, at: number): boolean {
  if (at + 8 > bytes.length) return false
  const value = new DataView(bytes.buffer, bytes.byteOffset + at, 8).getBigInt64(0)
  return value >= -9_007_199_254_740_991n && value <= 9_007_199_254_740_991n
}

/** An unsigned integer of `size` bytes; Infinity where they are not all there. Above 2^53 it is rounded. */
function bigEndian(bytes: Uint8Array, at: number, size: number): number {
  if (at + size > bytes.length) return Number.POSITIVE_INFINITY
  let value = 0
  for (let i = 0; i < size; i++) value = value * 256 + bytes[at + i]
  return value
}
