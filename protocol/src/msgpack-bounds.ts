/**
 * Walks one MessagePack value without building it, so that decoding it afterwards is bounded in time and memory.
 * @msgpack/msgpack allocates an array as long as its header says before it sees an element; 128 KiB of nested headers
 * would cost hundreds of megabytes. Maps and extension types, which batches do not use, are refused.
 * Layout: https://github.com/msgpack/msgpack/blob/master/spec.md
 */

export interface MessagePackBounds {
  readonly depthMax: number
  readonly arrayLengthMax: number
  readonly stringBytesMax: number
}

/** The offset just behind the value that begins at `start`; -1 where it is truncated, too large, too deep or of a refused type. */
export function endOfValue(bytes: Uint8Array, start: number, bounds: MessagePackBounds): number {
  const open: number[] = [] // elements still to come of each array around this place
  let at = start
  for (;;) {
    if (at >= bytes.length) return -1
    const head = bytes[at++]
    let elements = -1
    if (head <= 0x7f || head >= 0xe0 || head === 0xc0 || head === 0xc2 || head === 0xc3) {
      // fixint, nil, booleans: no bytes behind the head
    } else if (head >= 0xa0 && head <= 0xbf) at += head & 0x1f
    else if (head >= 0x90 && head <= 0x9f) elements = head & 0x0f
    else if (head === 0xcc || head === 0xd0) at += 1
    else if (head === 0xcd || head === 0xd1) at += 2
    else if (head === 0xca || head === 0xce || head === 0xd2) at += 4
    else if (head === 0xcb || head === 0xcf || head === 0xd3) at += 8
    else if (head >= 0xc4 && head <= 0xc6) at = behindBytes(bytes, at, 1 << (head - 0xc4), bytes.length)
    else if (head >= 0xd9 && head <= 0xdb) at = behindBytes(bytes, at, 1 << (head - 0xd9), bounds.stringBytesMax)
    else if (head === 0xdc || head === 0xdd) {
      const size = head === 0xdc ? 2 : 4
      elements = bigEndian(bytes, at, size)
      at += size
    } else return -1
    if (at < 0 || at > bytes.length) return -1
    if (elements >= 0) {
      if (elements > bounds.arrayLengthMax || elements > bytes.length - at || open.length >= bounds.depthMax) return -1
      open.push(elements)
    } else if (open.length > 0) open[open.length - 1]--
    while (open.length > 0 && open[open.length - 1] === 0) {
      open.pop()
      if (open.length > 0) open[open.length - 1]--
    }
    if (open.length === 0) return at
  }
}

function behindBytes(bytes: Uint8Array, at: number, lengthSize: number, lengthMax: number): number {
  const length = bigEndian(bytes, at, lengthSize)
  return length > lengthMax ? -1 : at + lengthSize + length
}

/** An unsigned integer of `size` bytes; Infinity where they are not all there. */
function bigEndian(bytes: Uint8Array, at: number, size: number): number {
  if (at + size > bytes.length) return Number.POSITIVE_INFINITY
  let value = 0
  for (let i = 0; i < size; i++) value = value * 256 + bytes[at + i]
  return value
}
