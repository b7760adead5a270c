/** Batches of many readings of one device. Pure: the plan, the device and the seqs say what is in them. */
import { type Column, encodeBatch, NULL } from '@tidemark/protocol'
import { type Device, newReadingColumns, PROFILE, type RunPlan, trueTimeMs, writeReading } from './device.js'
import { HISTORY_BATCH_READINGS } from './limits.js'
import type { BufferState } from './publication.js'

const readings = newReadingColumns(HISTORY_BATCH_READINGS)

/** The payload with the readings [firstSeq, lastSeq]: at most `HISTORY_BATCH_READINGS`. */
export function historyBatch(plan: RunPlan, device: Device, firstSeq: number, lastSeq: number, state: BufferState): Uint8Array {
  const count = lastSeq - firstSeq + 1
  for (let row = 0; row < count; row++) writeReading(plan, device, firstSeq + row, readings, row)
  const columns = readings.metrics.map((values): Column => numericColumn(values.subarray(0, count)))
  columns.push({ kind: 'string', values: new Array<string>(count).fill(device.machine.location), state: null })
  const [seqs, eventTimesMs] = [readings.seqs.subarray(0, count), readings.eventTimesMs.subarray(0, count)]
  return encodeBatch({ profile: PROFILE, epoch: device.epoch, ...state, seqs, eventTimesMs, columns })
}

/** The highest seq that has been taken at a time; 0: none yet. */
export function highestSeqAt(plan: RunPlan, device: Device, timeMs: number): number {
  return Math.max(0, Math.floor((timeMs - trueTimeMs(plan, device, 1)) / plan.intervalMs) + 1)
}

function numericColumn(values: Float64Array): Column {
  const isNull = values.some(Number.isNaN)
  return { kind: 'numeric', values, state: isNull ? Uint8Array.from(values, value => (Number.isNaN(value) ? NULL : 0)) : null }
}
