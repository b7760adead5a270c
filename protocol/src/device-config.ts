import { z } from 'zod'
import { DURATION_PATTERN, durationMs } from './duration.js'
import { STATUS_BYTES_MAX } from './limits.js'
import { parseRate } from './rate.js'

/**
 * What the gateway sets of a device, retained on its config topic. What is left out is as the device's own configuration has it,
 * so an empty object takes everything back.
 */

const duration = (leastMs: number, mostMs: number) =>
  z
    .string()
    .regex(DURATION_PATTERN, 'write a number and ms, s, m, h or d, like 5s')
    .refine(text => !DURATION_PATTERN.test(text) || (durationMs(text) >= leastMs && durationMs(text) <= mostMs), {
      message: `must be between ${leastMs} ms and ${mostMs} ms`
    })

const DAY_MS = 86_400_000

/** How much an agent logs, the most first. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

const settings = {
  interval: duration(10, 366 * DAY_MS)
    .optional()
    .describe('between two readings'),
  commit_interval: duration(100, DAY_MS)
    .optional()
    .describe('how long a reading may stay unacked and unwritten, where durability is spill'),
  max_rate: z
    .string()
    .refine(text => parseRate(text) !== null, 'write readings a second, like 500/s, or bytes, like 64KiB/s')
    .optional()
    .describe('how fast it publishes'),
  log_level: z.enum(LOG_LEVELS).optional()
}

/** What can be set, without a revision. */
export const deviceConfigSettingsSchema = z.strictObject(settings)

export type DeviceConfigSettings = z.output<typeof deviceConfigSettingsSchema>

/** As it travels: `revision` is what the device names when it answers. */
export const deviceConfigSchema = z.strictObject({ revision: z.int().min(0), ...settings })

export type DeviceConfig = z.output<typeof deviceConfigSchema>

/** Longest reason of a refusal, in UTF-16 code units. */
export const CONFIG_REFUSAL_LENGTH_MAX = 256

/** A configuration; or why the bytes are none, with the revision that they name, 0 where they name none. */
export type DeviceConfigAnswer =
  | { readonly ok: true; readonly config: DeviceConfig }
  | { readonly ok: false; readonly revision: number; readonly refused: string }

/** Reads a config message. Total: any bytes give a configuration or a reason. */
export function decodeDeviceConfig(payload: Uint8Array): DeviceConfigAnswer {
  if (payload.length > STATUS_BYTES_MAX) return refusal(0, `longer than ${STATUS_BYTES_MAX} bytes`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
  } catch {
    return refusal(0, 'is no JSON')
  }
  const parsed = deviceConfigSchema.safeParse(value)
  if (parsed.success) return { ok: true, config: parsed.data }
  const revision = z.object({ revision: z.int().min(0) }).safeParse(value)
  const [{ path, message }] = parsed.error.issues
  return refusal(revision.success ? revision.data.revision : 0, path.length === 0 ? message : `${path.join('.')}: ${message}`)
}

function refusal(revision: number, reason: string): DeviceConfigAnswer {
  return { ok: false, revision, refused: reason.slice(0, CONFIG_REFUSAL_LENGTH_MAX) }
}
