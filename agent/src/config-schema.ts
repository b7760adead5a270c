import { isDeviceId, READINGS_PER_BATCH_MAX } from '@tidemark/protocol'
import { z } from 'zod'
import { cron, duration, size, urlOf } from './config-values.js'
import { BATCH_BYTES_MAX, BUFFER_BYTES_MIN, IN_FLIGHT_MAX, SOURCES_MAX } from './limits.js'
import { csvSource, liveSourceSchemas } from './sources/source-schemas.js'

/** The shape of the agent's configuration file, with its defaults. */

const url = urlOf(['mqtt:', 'mqtts:'], 'write mqtt://HOST:PORT, or mqtts:// for TLS')

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
    source: z.discriminatedUnion('type', [csvSource, ...liveSourceSchemas]).optional(),
    sources: z.array(z.discriminatedUnion('type', liveSourceSchemas)).min(1).max(SOURCES_MAX).optional(),
    interval: duration(10).optional(),
    schedule: cron.optional(),
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
  .refine(
    config => (config.source === undefined) !== (config.sources === undefined),
    'name one source, or several as sources, and not both'
  )
  .refine(config => config.interval === undefined || config.schedule === undefined, 'give an interval, or a schedule, and not both')

export type ConfigFile = z.output<typeof configSchema>
