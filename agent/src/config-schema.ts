import { DURATION_PATTERN, durationMs, isDeviceId, READINGS_PER_BATCH_MAX } from '@tidemark/protocol'
import { z } from 'zod'
import { BATCH_BYTES_MAX, BUFFER_BYTES_MIN, IN_FLIGHT_MAX } from './limits.js'

/** The shape of the agent's configuration file, with its defaults. */

const SIZE_UNIT_BYTES = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const
const SIZE = /^(\d{1,12})(B|KB|MB|GB|KiB|MiB|GiB)$/

/** A size as people write it, in bytes: a whole number and B, KB, MB, GB, KiB, MiB or GiB. Throws a RangeError for anything else. */
export function sizeBytes(text: string): number {
  const match = SIZE.exec(text)
  if (match === null) throw new RangeError(`"${text}" is no size: write a number and KiB, MiB or GiB, like 64KiB`)
  return Number(match[1]) * SIZE_UNIT_BYTES[match[2] as keyof typeof SIZE_UNIT_BYTES]
}

/** A duration, in ms. */
const duration = (leastMs: number) =>
  z
    .string()
    .regex(DURATION_PATTERN, 'write a number and ms, s, m, h or d, like 5s')
    .transform(durationMs)
    .refine(ms => ms >= leastMs, `must be at least ${leastMs} ms`)

/** A size, in bytes. */
const size = (min: number, max: number) =>
  z
    .union([z.string().regex(SIZE).transform(sizeBytes), z.int()], 'write a number and KiB, MiB or GiB, like 64KiB')
    .refine(bytes => bytes >= min && bytes <= max, `must be between ${min} and ${max} bytes`)

const url = z.string().superRefine((text, context) => {
  const parsed = URL.canParse(text) ? new URL(text) : null
  if (parsed === null || !['mqtt:', 'mqtts:'].includes(parsed.protocol) || parsed.hostname === '') {
    context.addIssue({ code: 'custom', message: 'write mqtt://HOST:PORT, or mqtts:// for TLS' })
  }
})

const zone = z.string().refine(isZone, 'is no IANA time zone; write UTC or one like Europe/Berlin')

const systemSource = z.strictObject({
  type: z.literal('system'),
  disk: z.string().min(1).default('/'),
  root: z.string().min(1).default('/')
})

const csvSource = z.strictObject({
  type: z.literal('csv'),
  path: z.string().min(1),
  delimiter: z.string().min(1).max(4).default(','),
  decimal: z.enum(['.', ',']).default('.'),
  time: z.strictObject({ column: z.string().min(1), zone: zone.default('UTC'), format: z.string().min(1).default('auto') }),
  columns: z.record(z.string(), z.string()).default({}),
  speed: z.union([z.literal('max'), z.number().positive()], 'must be max, or a factor: 1 is as recorded').default('max')
})

const simulatedSource = z.strictObject({
  type: z.literal('simulated'),
  seed: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(1),
  readings: z.int().min(1).optional()
})

const backoff = z
  .strictObject({ min: duration(1).default(500), max: duration(1).default(300_000) })
  .refine(range => range.min <= range.max, 'min must not be above max')

export const configSchema = z
  .strictObject({
    device_id: z.string().refine(isDeviceId, 'must be 1 to 64 letters, digits, dots, underscores or hyphens'),
    gateway: z.strictObject({ url }),
    profile: z.string().optional(),
    profile_file: z.string().optional(),
    buffer: z.strictObject({
      path: z.string().min(1),
      durability: z.literal('strict', 'must be strict').default('strict'),
      max_bytes: size(BUFFER_BYTES_MIN, Number.MAX_SAFE_INTEGER).default(2 ** 30)
    }),
    source: z.discriminatedUnion('type', [systemSource, csvSource, simulatedSource]),
    interval: duration(10).optional(),
    publish: z
      .strictObject({
        in_flight: z.int().min(1).max(IN_FLIGHT_MAX).default(8),
        batch_readings: z.int().min(1).max(READINGS_PER_BATCH_MAX).default(500),
        batch_bytes: size(256, BATCH_BYTES_MAX).default(64 * 1024),
        backoff: backoff.prefault({})
      })
      .prefault({}),
    log_level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info')
  })
  .refine(
    config => (config.profile === undefined) !== (config.profile_file === undefined),
    'name a built-in profile, or a profile_file, and not both'
  )

export type ConfigFile = z.output<typeof configSchema>

function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}
