/** Strings that come again and again in messages: known by their bytes, so that each is made once and compares fast. */

const SLOTS = 4096

/** Longer strings are made anew each time. */
const CACHED_BYTES_MAX = 64

export class TextCache {
  private readonly texts = new Array<string>(SLOTS).fill('')

  /** The string of `length` bytes at `start`; null where one of them is no ASCII. */
  ascii(bytes: Uint8Array, start: number, length: number): string | null {
    if (length > CACHED_BYTES_MAX) return asciiOf(bytes, start, length)
    let hash = 0x811c9dc5
    for (let i = 0; i < length; i++) hash = Math.imul(hash ^ bytes[start + i], 0x01000193)
    const slot = (hash ^ (hash >>> 15)) & (SLOTS - 1)
    const known = this.texts[slot]
    if (isText(known, bytes, start, length)) return known
    const text = asciiOf(bytes, start, length)
    if (text !== null) this.texts[slot] = text
    return text
  }
}

/** Whether the `length` bytes at `start` are the characters of `text`, which is ASCII. */
export function isText(text: string, bytes: Uint8Array, start: number, length: number): boolean {
  if (text.length !== length) return false
  for (let i = 0; i < length; i++) if (text.charCodeAt(i) !== bytes[start + i]) return false
  return true
}

function asciiOf(bytes: Uint8Array, start: number, length: number): string | null {
  let text = ''
  for (let i = start; i < start + length; i++) {
    if (bytes[i] >= 0x80) return null
    text += String.fromCharCode(bytes[i])
  }
  return text
}
