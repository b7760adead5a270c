/** What must become of each row of a recording, by its profile's rules and nothing that the gateway says. */
import { EVENT_TIME_AHEAD_MS_MAX, EVENT_TIME_MS_MIN, type Metric, type Profile, quantize, type Value } from '@tidemark/protocol'
import type { Recording } from './recording.js'

/** `shed`: the time cannot be read, so the agent declares the row as dropped. */
export type Fate = 'archived' | 'quarantined' | 'shed'

export interface ExpectedRow {
  /** The k-th row is the k-th reading of the device's only epoch. */
  readonly seq: number
  readonly fate: Fate
  /** Unix ms; NaN where the row is shed. */
  readonly eventTimeMs: number
  /** As recorded, but null where the profile makes a value out of range null. */
  readonly recorded: readonly Value[]
  /** As archived: rounded to the metrics' resolutions. */
  readonly values: readonly Value[]
}

/** `nowMs`: about when the rows are ingested, Unix ms. */
export function expectRows(recording: Recording, profile: Profile, nowMs: number): ExpectedRow[] {
  return recording.rows.map((row, i) => {
    if (row.eventTimeMs === null) return { seq: i + 1, fate: 'shed', eventTimeMs: Number.NaN, recorded: row.values, values: row.values }
    const rounded = row.values.map((value, m) => (typeof value === 'number' ? quantize(value, profile.metrics[m]) : value))
    const faults = profile.metrics.map((metric, m) => faultOf(rounded[m], metric))
    const inTime = row.eventTimeMs >= EVENT_TIME_MS_MIN && row.eventTimeMs <= nowMs + EVENT_TIME_AHEAD_MS_MAX
    const keep = (value: Value, m: number) => (faults[m] === 'becomes-null' ? null : value)
    return {
      seq: i + 1,
      fate: inTime && !faults.includes('refused') ? 'archived' : 'quarantined',
      eventTimeMs: row.eventTimeMs,
      recorded: row.values.map(keep),
      values: rounded.map(keep)
    }
  })
}

function faultOf(value: Value, metric: Metric): 'refused' | 'becomes-null' | null {
  if (value === null) return metric.required ? 'refused' : null
  if (typeof value === 'boolean') return null
  if (typeof value === 'number' && !(metric.type === 'int' ? Number.isSafeInteger(value) : Number.isFinite(value))) return 'refused'
  const measured = typeof value === 'string' ? value.length : value
  const isInRange = measured >= (metric.min ?? Number.NEGATIVE_INFINITY) && measured <= (metric.max ?? Number.POSITIVE_INFINITY)
  return isInRange ? null : metric.on_out_of_range === 'null' ? 'becomes-null' : 'refused'
}
