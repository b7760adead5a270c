/**
 * A virtual device: who it is and what its readings hold. Everything is a pure function of the plan of the run, the device's index and
 * the seq, at constant cost; nothing is remembered from one reading to the next.
 */
import { decimalsOf, ROTATING_MACHINE } from '@tidemark/protocol'
import { type Fault, type FaultRates, faultAt, faultSize, skewIntervals } from './faults.js'
import { FUTURE_EVENT_TIME_MS } from './limits.js'
import { type Machine, METRIC, machineOf, measure, NUMERIC_METRICS } from './machine.js'
import { mix, STREAM } from './prng.js'
import { clockSkewMs, type TroubleRates } from './troubles.js'

export const PROFILE = ROTATING_MACHINE

/** What all readings of a run follow from. */
export interface RunPlan {
  /** Integer in [0, 2^32). */
  readonly seed: number
  /** The run has the devices with indices in [firstDevice, firstDevice + devices). */
  readonly firstDevice: number
  readonly devices: number
  /** Event time at which the run begins: that of seq 1 of its first device. Unix ms. */
  readonly startMs: number
  readonly intervalMs: number
  readonly rates: FaultRates
  /** Default: none. */
  readonly troubles?: TroubleRates
  /** Default: none. */
  readonly backlog?: Backlog
}

/** Some devices were out of reach before the run: they have been measuring for `ms` and come with all of that. */
export interface Backlog {
  /** How many of the run's devices; they are spread evenly over it. */
  readonly devices: number
  readonly ms: number
}

export interface Device {
  readonly index: number
  readonly id: string
  readonly epoch: number
  /** How far its readings lie behind those of the run's first device, in ms; in [0, interval). */
  readonly phaseMs: number
  /** Readings that it took before the run began: its first so many seqs. */
  readonly backlogReadings: number
  /** By how much its clock is ahead. */
  readonly skewMs: number
  readonly machine: Machine
}

/** Where `writeReading` puts readings: one element a reading in every array. Null metrics are NaN. */
export interface ReadingColumns {
  readonly seqs: Float64Array
  readonly eventTimesMs: Float64Array
  /** The numeric metrics of the profile, in its order (`METRIC`). */
  readonly metrics: readonly Float64Array[]
}

export function deviceId(index: number): string {
  return `sim-${String(index).padStart(6, '0')}`
}

export function deviceOf(plan: RunPlan, index: number): Device {
  return {
    index,
    id: deviceId(index),
    epoch: epochOf(plan.seed, index, plan.startMs),
    phaseMs: phaseMs(plan, index),
    backlogReadings: backlogReadings(plan, index),
    skewMs: clockSkewMs(plan.seed, plan.troubles?.skew ?? 0, index),
    machine: machineOf(plan.seed, index)
  }
}

/**
 * The epoch of a device in a run: 53 bits, never 0. It depends on the start, because another run is another life of the device's
 * buffer: with the same epoch its readings would be taken for duplicates.
 */
export function epochOf(seed: number, index: number, startMs: number): number {
  const lanes = new Uint32Array(4)
  mix(lanes, seed, index, startMs % 2 ** 32, STREAM.epoch + 256 * Math.floor(startMs / 2 ** 32))
  return Math.max(1, (lanes[0] & 0x1fffff) * 2 ** 32 + lanes[1])
}

/** The phases of a run's devices spread evenly over the interval. */
export function phaseMs(plan: RunPlan, index: number): number {
  return Math.floor(((index - plan.firstDevice) * plan.intervalMs) / plan.devices)
}

/** How many readings a device has when the run begins. */
export function backlogReadings(plan: RunPlan, index: number): number {
  if (plan.backlog === undefined) return 0
  const i = index - plan.firstDevice
  const { devices, ms } = plan.backlog
  const isChosen = Math.floor(((i + 1) * devices) / plan.devices) > Math.floor((i * devices) / plan.devices)
  return isChosen ? Math.floor(ms / plan.intervalMs) : 0
}

/** The fault of a reading. What was taken before the run has none. */
export function faultOf(plan: RunPlan, device: Device, seq: number): Fault {
  return seq <= device.backlogReadings ? 'none' : faultAt(plan.seed, plan.rates, device.index, seq - device.backlogReadings)
}

/** When a reading is truly taken: the time that its machine has. Its event time is this, but for a fault of the clock. */
export function trueTimeMs(plan: RunPlan, device: Device, seq: number): number {
  return plan.startMs + device.phaseMs + (seq - 1 - device.backlogReadings) * plan.intervalMs
}

export function eventTimeMs(plan: RunPlan, device: Device, seq: number, fault: Fault): number {
  const trueMs = trueTimeMs(plan, device, seq)
  if (fault === 'clock-back') return trueMs + device.skewMs - skewIntervals(plan.seed, device.index, seq) * plan.intervalMs
  if (fault === 'future') return FUTURE_EVENT_TIME_MS + (trueMs - plan.startMs)
  return trueMs + device.skewMs
}

export function newReadingColumns(rows: number): ReadingColumns {
  return {
    seqs: new Float64Array(rows),
    eventTimesMs: new Float64Array(rows),
    metrics: Array.from({ length: NUMERIC_METRICS }, () => new Float64Array(rows))
  }
}

/** 10^decimals of each numeric metric: values are rounded to that, as on the wire. */
const SCALES = PROFILE.metrics.slice(0, NUMERIC_METRICS).map(metric => 10 ** (decimalsOf(metric) ?? 0))

/** What a broken sensor shows: beyond the range of its metric. */
const BROKEN = [
  { metric: METRIC.temperature, value: 850 },
  { metric: METRIC.vibration, value: 327.67 },
  { metric: METRIC.pressure, value: -1 },
  { metric: METRIC.rpm, value: 65_535 }
]

const scaled = new Float64Array(NUMERIC_METRICS)

/**
 * The numeric metrics of a reading as the wire has them, were it without a fault: whole numbers, each its metric's value times
 * 10^decimals; NaN is null. The array is the same at every call.
 */
export function scaledMetrics(plan: RunPlan, device: Device, seq: number): Float64Array {
  measure(device.machine, trueTimeMs(plan, device, seq), seq, scaled)
  for (let m = 0; m < NUMERIC_METRICS; m++) scaled[m] = Math.round(scaled[m] * SCALES[m])
  return scaled
}

/** Writes reading `seq` of the device into row `row`, its values as the archive must hold them, and returns its fault. */
export function writeReading(plan: RunPlan, device: Device, seq: number, into: ReadingColumns, row: number): Fault {
  const fault = faultOf(plan, device, seq)
  into.seqs[row] = seq
  into.eventTimesMs[row] = eventTimeMs(plan, device, seq, fault)
  scaledMetrics(plan, device, seq)
  for (let m = 0; m < NUMERIC_METRICS; m++) into.metrics[m][row] = scaled[m] / SCALES[m]
  if (fault === 'out-of-range') {
    const broken = BROKEN[Math.floor(faultSize(plan.seed, device.index, seq) * BROKEN.length)]
    into.metrics[broken.metric][row] = broken.value
  }
  return fault
}
