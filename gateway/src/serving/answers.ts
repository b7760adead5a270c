/** What the serving routes answer with: columns as the archive names them, times RFC 3339, UTC. */
import { z } from 'zod'
import { deviceIdSchema } from '../processor/registry.js'
import type { Cell } from '../processor/row-table.js'
import type { FeatureCells } from './messages.js'

const time = z.iso.datetime()
const cell = z.union([z.number(), z.boolean(), z.string()]).nullable()

const asOfEntry = {
  entry: z.int().describe('the entry of the log as of which this was read'),
  ingest_time: time.describe('its ingest time: what came later is not in here')
}

export const readingSchema = z
  .object({
    profile: z.string(),
    event_time: time,
    ingest_time: time,
    epoch: z.union([z.number(), z.string()]).nullable().describe('with seq: the event ID of an agent; null for an opaque one'),
    seq: z.union([z.number(), z.string()]).nullable(),
    event_id: z.string().nullable().describe('opaque'),
    late: z.boolean(),
    clock: z.string().nullable().describe('synced or estimated'),
    profile_version: z.int(),
    extra: z.string().nullable().optional().describe('JSON: fields that the profile does not name; not where metrics are named')
  })
  .catchall(cell)
  .describe('the metrics stand beside, by name')

export const readingsSchema = z.object({
  device_id: deviceIdSchema,
  from: time,
  to: time,
  ...asOfEntry,
  readings: z.array(readingSchema).describe('by event time, epoch, seq, event ID'),
  next: z.string().nullable().describe('give it as after to go on; null: that was all. There may be more, even behind few readings')
})

export const featureRowSchema = z
  .object({
    profile: z.string(),
    device_id: z.string(),
    as_of: time.describe("the end of the row's windows"),
    known_at: time.describe('since when it was known'),
    computed_at: time,
    revision: z.int(),
    provisional: z.boolean(),
    event_count: z.int(),
    coverage: z.number().nullable(),
    processor_version: z.int()
  })
  .catchall(cell)
  .describe('features and flags stand beside, by name')

export const latestSchema = z.object({
  device_id: z.string(),
  ...asOfEntry,
  rows: z.array(featureRowSchema).describe('the latest row of each profile of the device; empty: there is none yet')
})

export const asOfSchema = z.object({
  profile: z.string().nullable().describe('null: there are no feature rows at all'),
  ...asOfEntry,
  rows: z
    .array(
      z.object({
        device_id: z.string(),
        time,
        age_ms: z.number().nullable().describe('time - as_of'),
        features: featureRowSchema.nullable().describe('null: nothing was available then')
      })
    )
    .describe('in the order of the request')
})

export type ReadingJson = z.output<typeof readingSchema>
export type FeatureRowJson = z.output<typeof featureRowSchema>

const FEATURE_TIMES = ['as_of', 'known_at', 'computed_at']
const READING_TIMES = ['event_time', 'ingest_time']

export function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}

/** Throws where the row lacks a column: that is our mistake. */
export function featureRowJson(row: FeatureCells): FeatureRowJson {
  return featureRowSchema.parse(withTimes(row, FEATURE_TIMES))
}

export function readingJson(row: FeatureCells): ReadingJson {
  return readingSchema.parse(withTimes(row, READING_TIMES))
}

function withTimes(row: FeatureCells, names: readonly string[]): Record<string, Cell> {
  return { ...row, ...Object.fromEntries(names.map(name => [name, isoTime(Number(row[name]))])) }
}
