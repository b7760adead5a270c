import { z } from 'zod'
import { duration, size } from './config-values.js'
import { BUFFER_BYTES_MIN, RING_BYTES_MIN } from './limits.js'

/** How readings are kept until they are acked: the key `buffer` of the configuration. */
export const bufferSchema = z.strictObject({
  path: z.string().min(1),
  durability: z.enum(['strict', 'spill'], 'must be strict or spill').default('strict'),
  commit_interval: duration(100).default(30_000),
  max_bytes: size(BUFFER_BYTES_MIN, Number.MAX_SAFE_INTEGER).default(2 ** 30),
  max_age: duration(1000).optional(),
  min_free: size(0, Number.MAX_SAFE_INTEGER).default(64 * 2 ** 20),
  when_full: z.enum(['thin', 'drop-oldest', 'drop-newest'], 'must be thin, drop-oldest or drop-newest').default('thin'),
  ring_bytes: size(RING_BYTES_MIN, 2 ** 30).default(4 * 2 ** 20)
})
