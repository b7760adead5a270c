import { DURATION_PATTERN, durationMs, parseRate } from '@tidemark/protocol'
import { z } from 'zod'

/** How values are written in the configuration file, whatever key they belong to. */

const SIZE_UNIT_BYTES = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const
const SIZE = /^(\d{1,12})(B|KB|MB|GB|KiB|MiB|GiB)$/

/** A size as people write it, in bytes: a whole number and B, KB, MB, GB, KiB, MiB or GiB. Throws a RangeError for anything else. */
export function sizeBytes(text: string): number {
  const match = SIZE.exec(text)
  if (match === null) throw new RangeError(`"${text}" is no size: write a number and KiB, MiB or GiB, like 64KiB`)
  return Number(match[1]) * SIZE_UNIT_BYTES[match[2] as keyof typeof SIZE_UNIT_BYTES]
}

/** A duration, in ms. */
export const duration = (leastMs: number) =>
  z
    .string()
    .regex(DURATION_PATTERN, 'write a number and ms, s, m, h or d, like 5s')
    .transform(durationMs)
    .refine(ms => ms >= leastMs, `must be at least ${leastMs} ms`)

/** A size, in bytes. */
export const size = (min: number, max: number) =>
  z
    .union([z.string().regex(SIZE).transform(sizeBytes), z.int()], 'write a number and KiB, MiB or GiB, like 64KiB')
    .refine(bytes => bytes >= min && bytes <= max, `must be between ${min} and ${max} bytes`)

/** Readings or bytes a second. */
export const rate = z
  .string()
  .refine(text => parseRate(text) !== null, 'write readings a second, like 500/s, or bytes, like 64KiB/s')
  .transform(text => parseRate(text)!)

/** A URL with a host, of one of these protocols. */
export const urlOf = (protocols: readonly string[], message: string) =>
  z.string().refine(text => {
    const parsed = URL.canParse(text) ? new URL(text) : null
    return parsed !== null && protocols.includes(parsed.protocol) && parsed.hostname !== ''
  }, message)

/** An IANA time zone. */
export const zone = z.string().refine(isZone, 'is no IANA time zone; write UTC or one like Europe/Berlin')

/** Whether a schedule can be run is judged by node-cron, which is loaded only where there is one. */
export const cron = z.string().min(1).max(120)

/** A path inside JSON, like `AM2301.Temperature` or `values[0].x`; a dot in a key is written `\\.`. */
export const jsonPath = z.string().min(1).max(256)

function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}
