import { isDeviceId, LOG_LEVELS } from '@tidemark/protocol'
import { z } from 'zod'
import { bufferSchema } from './config-buffer.js'
import { gatewaySchema, publishSchema } from './config-gateway.js'
import { cron, duration } from './config-values.js'
import { SOURCES_MAX } from './limits.js'
import { csvSource, liveSourceSchemas } from './sources/source-schemas.js'

/** The shape of the agent's configuration file, with its defaults. */

export const configSchema = z
  .strictObject({
    device_id: z.string().refine(isDeviceId, 'must be 1 to 64 letters, digits, dots, underscores or hyphens'),
    gateway: gatewaySchema,
    profile: z.string().optional(),
    profile_file: z.string().optional(),
    buffer: bufferSchema,
    source: z.discriminatedUnion('type', [csvSource, ...liveSourceSchemas]).optional(),
    sources: z.array(z.discriminatedUnion('type', liveSourceSchemas)).min(1).max(SOURCES_MAX).optional(),
    interval: duration(1).optional(),
    schedule: cron.optional(),
    publish: publishSchema.prefault({}),
    log_level: z.enum(LOG_LEVELS).default('info')
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
  .refine(config => config.buffer.durability === 'strict' || config.source?.type !== 'csv', {
    message: 'must be strict where a recording is replayed: its position is committed with its readings',
    path: ['buffer', 'durability']
  })

export type ConfigFile = z.output<typeof configSchema>
