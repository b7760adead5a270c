/**
 * Strings on their way to the wire. What leaves here is well-formed UTF-8 of at most STRING_BYTES_MAX bytes: a lone surrogate,
 * which UTF-8 cannot express, becomes U+FFFD.
 */
import { STRING_BYTES_MAX } from './limits.js'

const LONE_SURROGATE = /\p{Surrogate}/u
const LONE_SURROGATES = /\p{Surrogate}/gu
const utf8 = new TextEncoder()

/** Whether every surrogate in `text` has its partner. */
export function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text)
}

/** `text` as it travels. Throws a RangeError where it is too long. */
export function textForWire(text: string): string {
  if (text.length * 3 > STRING_BYTES_MAX && utf8.encode(text).length > STRING_BYTES_MAX) {
    throw new RangeError(`a string in a batch has at most ${STRING_BYTES_MAX} bytes of UTF-8; one begins "${text.slice(0, 32)}"`)
  }
  return isWellFormed(text) ? text : text.replace(LONE_SURROGATES, '\ufffd')
}
