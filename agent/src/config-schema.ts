import { isDeviceId } from '@tidemark/protocol'
import { z } from 'zod'
import { bufferSchema } from './config-buffer.js'
import { gatewaySchema, publishSchema } from './config-gateway.js'
import { duration } from './config-units.js'

/** The shape of the agent's configuration file, with its defaults. */

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

export const configSchema = z
  .strictObject({
    device_id: z.string().refine(isDeviceId, 'must be 1 to 64 letters, digits, dots, underscores or hyphens'),
    gateway: gatewaySchema,
    profile: z.string().optional(),
    profile_file: z.string().optional(),
    buffer: bufferSchema,
    source: z.discriminatedUnion('type', [systemSource, csvSource, simulatedSource]),
    interval: duration(10).optional(),
    publish: publishSchema.prefault({}),
    log_level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info')
  })
  .refine(
    config => (config.profile === undefined) !== (config.profile_file === undefined),
    'name a built-in profile, or a profile_file, and not both'
  )
  .refine(config => config.buffer.durability === 'strict' || config.source.type !== 'csv', {
    message: 'must be strict where a recording is replayed: its position is committed with its readings',
    path: ['buffer', 'durability']
  })

export type ConfigFile = z.output<typeof configSchema>

function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}
