import { type Column, PAYLOAD_BYTES_MAX, type Profile } from '@tidemark/protocol'

/** How many readings go into one batch or chunk. Pure. */

/** Header, framing and 64 tombstones, in bytes. */
const AROUND_BYTES = 8 * 1024
/** A seq step and a time step of at most 9 bytes each. */
const STEPS_BYTES = 18
/** A number: 8 bytes, a head, a share of the bits that say which are present. */
const NUMBER_BYTES = 10
const TEXT_HEAD_BYTES = 5

/** Upper bound of what a reading of the profile takes on the wire without its text, in bytes. */
export function readingBytesMax(profile: Profile): number {
  return STEPS_BYTES + profile.metrics.length * NUMBER_BYTES
}

/** Bytes of UTF-8 of a text, at most; exact for ASCII. */
export function textBytesMax(text: string): number {
  let bytes = TEXT_HEAD_BYTES
  for (let i = 0; i < text.length; i++) bytes += text.charCodeAt(i) < 0x80 ? 1 : 3
  return bytes
}

/** How many of the leading readings certainly fit in a payload, at least 1: what the protocol refuses is never even encoded. */
export function readingsThatFit(profile: Profile, columns: readonly Column[], count: number): number {
  const texts = columns.filter(column => column.kind === 'string')
  let bytes = AROUND_BYTES
  for (let i = 0; i < count; i++) {
    bytes += readingBytesMax(profile)
    for (const column of texts) bytes += textBytesMax(column.values[i])
    if (bytes > PAYLOAD_BYTES_MAX) return Math.max(1, i)
  }
  return count
}

/** Learns from each batch how many readings the next may hold, so that few are encoded in vain. */
export class BatchSizer {
  private bytesPerReading = 0

  constructor(
    private readonly readingsMax: number,
    private readonly bytesMax: number
  ) {}

  /** How many readings to try, at least 1. */
  next(bytesMax = Number.POSITIVE_INFINITY): number {
    if (this.bytesPerReading === 0) return this.readingsMax
    return Math.max(1, Math.min(this.readingsMax, Math.floor(Math.min(this.bytesMax, bytesMax) / this.bytesPerReading)))
  }

  /** Half of `count` where the batch came out too large and can be split; null where it can be sent. */
  judge(count: number, payloadBytes: number, bytesMax = Number.POSITIVE_INFINITY): number | null {
    if (payloadBytes > Math.min(this.bytesMax, bytesMax) && count > 1) return Math.floor(count / 2)
    // Small batches are mostly header and say little about the bytes of a reading.
    if (count >= 20) this.bytesPerReading = payloadBytes / count
    return null
  }
}
