/** A reading as JSON, as a device without an agent sends it: for brokers and subscribers that know no batches. */
import { type Device, newReadingColumns, PROFILE, type RunPlan, writeReading } from './device.js'
import { NUMERIC_METRICS } from './machine.js'

const reading = newReadingColumns(1)
const NAMES = PROFILE.metrics.slice(0, NUMERIC_METRICS).map(metric => metric.name)
const IS_BOOLEAN = PROFILE.metrics.slice(0, NUMERIC_METRICS).map(metric => metric.type === 'bool')

/** The event ID of a reading in JSON: epoch and seq, unique per device. */
export function jsonEventId(device: Device, seq: number): string {
  return `${device.epoch}-${seq}`
}

/** One object. Metrics that the device does not have are left out. */
export function jsonReading(plan: RunPlan, device: Device, seq: number): string {
  writeReading(plan, device, seq, reading, 0)
  let text = `{"event_id":"${jsonEventId(device, seq)}","event_time":${reading.eventTimesMs[0]},"profile":"${PROFILE.name}"`
  for (let m = 0; m < NUMERIC_METRICS; m++) {
    const value = reading.metrics[m][0]
    if (!Number.isNaN(value)) text += `,"${NAMES[m]}":${IS_BOOLEAN[m] ? value === 1 : value}`
  }
  return `${text},"location":"${device.machine.location}"}`
}
