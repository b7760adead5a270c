import { z } from 'zod'
import { CONFIG_REFUSAL_LENGTH_MAX } from './device-config.js'
import { STATUS_BYTES_MAX } from './limits.js'
import { parseRate } from './rate.js'

/** Longest `problem` of a status, in UTF-16 code units. */
export const STATUS_PROBLEM_LENGTH_MAX = 256

/**
 * What a device says of itself on its status topic, retained: a birth when it connects, a death as its MQTT will. A death
 * carries the session of its birth, so that an old session's death cannot bury a new birth.
 */
export const statusSchema = z.discriminatedUnion('state', [
  z.object({
    state: z.literal('online'),
    session: z.string().min(1).max(64),
    epoch: z.int().min(1),
    agent: z.string().max(64),
    profiles: z.array(z.object({ name: z.string().max(64), version: z.int().min(1), digest: z.string().max(64) })).max(64),
    /** The last configuration that came down, and why it was not applied where it was not. */
    config: z.object({ revision: z.int().min(0), refused: z.string().max(CONFIG_REFUSAL_LENGTH_MAX).optional() }).optional(),
    /** What is wrong with the device itself, such as a disk that cannot be written. */
    problem: z.string().max(STATUS_PROBLEM_LENGTH_MAX).optional()
  }),
  z.object({ state: z.literal('offline'), session: z.string().min(1).max(64) })
])

export type Status = z.output<typeof statusSchema>

/** What the gateway tells a device on its ack topic; at least one of these. */
export const ackSchema = z
  .object({
    /** This epoch's seqs collide with others seen before: take a new one. */
    epoch_spent: z.int().min(1).optional(),
    /** Publish no faster than this until the connection ends or another is granted; null: as fast as you like. */
    max_rate: z
      .string()
      .refine(text => parseRate(text) !== null)
      .nullable()
      .optional(),
    /** The gateway's time when it answers a birth, Unix ms: a device without a clock of its own can go by it. */
    time_ms: z.int().min(0).optional()
  })
  .refine(ack => ack.epoch_spent !== undefined || ack.max_rate !== undefined || ack.time_ms !== undefined)

export type Ack = z.output<typeof ackSchema>

/** A status, or null where the bytes are none. */
export function decodeStatus(payload: Uint8Array): Status | null {
  return decodeSmallJson(payload, statusSchema)
}

/** An ack, or null where the bytes are none. */
export function decodeAck(payload: Uint8Array): Ack | null {
  return decodeSmallJson(payload, ackSchema)
}

function decodeSmallJson<T>(payload: Uint8Array, schema: z.ZodType<T>): T | null {
  if (payload.length > STATUS_BYTES_MAX) return null
  try {
    return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)))
  } catch {
    return null
  }
}
