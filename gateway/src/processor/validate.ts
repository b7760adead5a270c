import {
  type Column,
  EVENT_TIME_AHEAD_MS_MAX,
  EVENT_TIME_MS_MIN,
  type Metric,
  NULL,
  type Profile,
  type RejectReason,
  WRONG_TYPE
} from '@tidemark/protocol'

/** Why a reading is refused, and the metric or time that it is refused for. */
export interface Judgement {
  readonly reason: RejectReason
  readonly detail: string
}

/** Judges an event time against the ingest time. Bad data is an answer, not an exception: never throws. */
export function judgeEventTime(eventTimeMs: number, ingestMs: number): Judgement | null {
  if (eventTimeMs < EVENT_TIME_MS_MIN) return { reason: 'event-time-too-old', detail: `${eventTimeMs} ms is before the year 2000` }
  if (eventTimeMs <= ingestMs + EVENT_TIME_AHEAD_MS_MAX) return null
  return { reason: 'event-time-in-future', detail: `${eventTimeMs - ingestMs} ms ahead of the ingest time` }
}

/**
 * Judges all readings of a batch, column by column: the first metric at fault, per reading, or null. Where a metric says
 * `on_out_of_range: null`, a value out of its range is made null: the column in `columns` is replaced.
 */
export function judgeColumns(profile: Profile, columns: Column[], count: number): (Judgement | null)[] {
  const judgements = new Array<Judgement | null>(count).fill(null)
  for (const [m, metric] of profile.metrics.entries()) {
    const outOfRange: number[] = []
    const column = columns[m]
    for (let i = 0; i < count; i++) {
      const reason = faultOf(metric, column, i)
      if (reason === null || judgements[i] !== null) continue
      if (reason === 'metric-out-of-range' && metric.on_out_of_range === 'null' && !metric.required) outOfRange.push(i)
      else
        judgements[i] = { reason, detail: reason === 'metric-missing' ? `${metric.name} is null` : `${metric.name}: ${column.values[i]}` }
    }
    if (outOfRange.length > 0) columns[m] = withNulls(column, outOfRange)
  }
  return judgements
}

function faultOf(metric: Metric, column: Column, i: number): RejectReason | null {
  const state = column.state === null ? 0 : column.state[i]
  if (state === WRONG_TYPE) return 'metric-wrong-type'
  if (state === NULL) return metric.required ? 'metric-missing' : null
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = metric
  if (column.kind === 'string') {
    const { length } = column.values[i]
    return length >= min && length <= max ? null : 'metric-out-of-range'
  }
  const value = column.values[i]
  if (!Number.isFinite(value)) return 'metric-not-finite'
  if (metric.type === 'int' && !Number.isSafeInteger(value)) return 'metric-wrong-type'
  return value >= min && value <= max ? null : 'metric-out-of-range'
}

function withNulls(column: Column, at: readonly number[]): Column {
  const state = column.state === null ? new Uint8Array(column.values.length) : column.state.slice()
  for (const i of at) state[i] = NULL
  return { ...column, state }
}
