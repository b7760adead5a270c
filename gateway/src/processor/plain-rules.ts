/** A profile's rules for readings whose values have the right types already, compiled: what validate.ts judges, without its reasons. */
import { EVENT_TIME_AHEAD_MS_MAX, EVENT_TIME_MS_MIN, type PlainBatch, type Profile } from '@tidemark/protocol'

export interface PlainRules {
  /** Of each metric: its range, and whether it must be there. A string's range is of its length. */
  readonly min: Float64Array
  readonly max: Float64Array
  readonly isRequired: readonly boolean[]
  readonly isText: readonly boolean[]
}

export function plainRules({ metrics }: Profile): PlainRules {
  return {
    min: Float64Array.from(metrics, ({ min }) => min ?? Number.NEGATIVE_INFINITY),
    max: Float64Array.from(metrics, ({ max }) => max ?? Number.POSITIVE_INFINITY),
    isRequired: metrics.map(({ required }) => required),
    isText: metrics.map(({ type }) => type === 'string')
  }
}

/** Whether nothing at all is wrong with any reading of the batch, its event times included. */
export function isSound(batch: PlainBatch, { min, max, isRequired, isText }: PlainRules, ingestMs: number): boolean {
  const { count, eventTimesMs } = batch
  const latestMs = ingestMs + EVENT_TIME_AHEAD_MS_MAX
  for (let i = 0; i < count; i++) if (eventTimesMs[i] < EVENT_TIME_MS_MIN || eventTimesMs[i] > latestMs) return false
  for (let m = 0; m < min.length; m++) {
    const isFine = isText[m]
      ? areLengths(batch.texts[m], count, min[m], max[m], isRequired[m])
      : areIn(batch.values, m * count, count, min[m], max[m], isRequired[m])
    if (!isFine) return false
  }
  return true
}

function areIn(values: Float64Array, first: number, count: number, min: number, max: number, isRequired: boolean): boolean {
  for (let i = first; i < first + count; i++) {
    const value = values[i]
    if (!(value >= min && value <= max) && (isRequired || !Number.isNaN(value))) return false
  }
  return true
}

function areLengths(texts: readonly (string | null)[], count: number, min: number, max: number, isRequired: boolean): boolean {
  for (let i = 0; i < count; i++) {
    const text = texts[i]
    if (text === null ? isRequired : text.length < min || text.length > max) return false
  }
  return true
}
