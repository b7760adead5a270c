/** What a fleet is told to do, and what it tells: while it runs and when it is over. */
import { EVENT_TIME_MS_MIN } from '@tidemark/protocol'
import { UsageError } from './broker.js'
import type { RunPlan } from './device.js'
import { type FaultRates, NO_FAULTS } from './faults.js'
import type { Quantiles } from './latency.js'
import { DEVICES_MAX, INTERVAL_MS_MAX, SKEW_INTERVALS_END, UINT32_MAX } from './limits.js'
import type { Run } from './run-file.js'

export interface FleetOptions {
  /** mqtt://host:port */
  readonly url: string
  readonly devices: number
  readonly intervalMs: number
  /** How long it samples, from the moment when all are connected. */
  readonly forMs: number
  /** Default 1. */
  readonly seed?: number
  /** Index of the first device, so that several processes can share a fleet. Default 0. */
  readonly firstDevice?: number
  /** Event time of the first reading, Unix ms. Default: when sampling begins. */
  readonly startMs?: number
  /** Default: no faults. */
  readonly rates?: FaultRates
  /** New connections a second. Default 1000. */
  readonly connectPerS?: number
  /** How long it may take until all is acked once sampling is over. Default one minute. */
  readonly drainMsMax?: number
  /** Aborted: stops sampling early, drains and ends as if its time were over. */
  readonly signal?: AbortSignal
}

export type FleetPhase = 'connecting' | 'sampling' | 'draining' | 'done'

/** Where a fleet is; told twice a second. */
export interface FleetProgress {
  readonly phase: FleetPhase
  /** Of the sampling, in [0, 1]. */
  readonly share: number
  readonly devices: number
  readonly connected: number
  readonly sampled: number
  readonly published: number
  readonly acked: number
  /** PUBLISHes that wait for their PUBACK. */
  readonly inFlight: number
  /** Readings acked a second, of late. */
  readonly readingsPerS: number
  readonly pubackMs: Quantiles
}

/** What a fleet did. `readings` are counted once each, PUBLISHes as they were sent, redeliveries apart. */
export interface FleetReport {
  readonly devices: number
  /** Readings. */
  readonly sampled: number
  /** PUBLISHes: readings, duplicates, undecodable messages. */
  readonly published: number
  /** PUBLISHes acked. */
  readonly acked: number
  /** Readings that were not acked when the fleet gave up; 0 when all went well. */
  readonly unacked: number
  /** Devices that ended their stream and said goodbye: all of them when all went well. */
  readonly ended: number
  readonly duplicatesSent: number
  readonly heldBackSent: number
  readonly lateSent: number
  readonly poisonSent: number
  readonly redelivered: number
  readonly disconnects: number
  readonly payloadBytes: number
  /** From the time at which a reading was due to its PUBACK. */
  readonly pubackMs: Quantiles
  /** Readings sampled a second. */
  readonly rate: number
  /** What `verifyArchive` needs. */
  readonly run: Run
}

/** The report in the form that `--json` writes. */
export function reportToJson(report: FleetReport) {
  return {
    devices: report.devices,
    sampled: report.sampled,
    published: report.published,
    acked: report.acked,
    unacked: report.unacked,
    ended: report.ended,
    duplicates_sent: report.duplicatesSent,
    held_back_sent: report.heldBackSent,
    late_sent: report.lateSent,
    poison_sent: report.poisonSent,
    redelivered: report.redelivered,
    disconnects: report.disconnects,
    payload_bytes: report.payloadBytes,
    puback_ms: report.pubackMs,
    rate: report.rate
  }
}

/** The plan of a run that begins at `startMs`, unless the options say when. Throws a UsageError for options out of bounds. */
export function planOf(options: FleetOptions, startMs: number): RunPlan {
  const plan: RunPlan = {
    seed: options.seed ?? 1,
    firstDevice: options.firstDevice ?? 0,
    devices: options.devices,
    startMs: options.startMs ?? startMs,
    intervalMs: options.intervalMs,
    rates: options.rates ?? NO_FAULTS
  }
  const { duplicates, late, poison } = plan.rates
  requireInteger('the number of devices', plan.devices, 1, DEVICES_MAX)
  requireInteger('the first device', plan.firstDevice, 0, DEVICES_MAX - plan.devices)
  requireInteger('the seed', plan.seed, 0, UINT32_MAX)
  requireInteger('the interval in ms', plan.intervalMs, 1, INTERVAL_MS_MAX)
  requireInteger('the run time in ms', options.forMs, 1, UINT32_MAX)
  requireInteger('the connect rate', options.connectPerS ?? 1, 1, UINT32_MAX)
  requireInteger('the start in Unix ms', plan.startMs, EVENT_TIME_MS_MIN + SKEW_INTERVALS_END * plan.intervalMs, Number.MAX_SAFE_INTEGER)
  for (const rate of [duplicates, late, poison]) {
    if (!(rate >= 0 && rate <= 1)) throw new UsageError(`a rate of ${rate} is not in 0..1: 0.01 is one reading in a hundred`)
  }
  if (duplicates + late + poison > 1) throw new UsageError('the rates of duplicates, late readings and poison add up to more than 1')
  return plan
}

function requireInteger(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max)
    throw new UsageError(`${what} must be a whole number from ${min} to ${max}, not ${value}`)
}
