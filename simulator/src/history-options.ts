/** What a history is told to do, and what it tells: while it is sent and when it is over. */
import { EVENT_TIME_MS_MIN } from '@tidemark/protocol'
import { UsageError } from './broker.js'
import type { RunPlan } from './device.js'
import { NO_FAULTS } from './faults.js'
import { DEVICES_MAX, HISTORY_DAYS_MAX, INTERVAL_MS_MAX, UINT32_MAX } from './limits.js'
import { type Run, runToJson } from './run-file.js'

export interface HistoryOptions {
  /** mqtt://host:port */
  readonly url: string
  readonly devices: number
  /** How much time the history covers. */
  readonly forMs: number
  /** Event time at which it begins, Unix ms. */
  readonly startMs: number
  readonly intervalMs: number
  /** How often a device sends what it has, in event time. */
  readonly publishEveryMs: number
  readonly seed: number
  /** Share of days on which an outage of a device begins, in [0, 1]. */
  readonly outages: number
  /** Event time over real time; Infinity: as fast as PUBACKs come. */
  readonly speed: number
  /** Called with the event time that each step has reached, before anything of it is sent. */
  readonly setClock?: (timeMs: number) => void
  readonly connectPerS?: number
  /** Aborted: ends the streams where they are. */
  readonly signal?: AbortSignal
}

export interface HistoryProgress {
  /** Of the readings, in [0, 1]. */
  readonly share: number
  /** Acked. */
  readonly readings: number
  readonly connected: number
  readonly readingsPerS: number
}

export interface HistoryReport {
  readonly devices: number
  /** Acked. */
  readonly readings: number
  readonly batches: number
  /** Batches that hold more than a device measures from one sending to the next: what it kept while it was out of reach. */
  readonly backlogBatches: number
  /** Devices that ended their stream. */
  readonly ended: number
  readonly disconnects: number
  /** Of all payloads. */
  readonly bytes: number
  /** How far the history came, Unix ms. */
  readonly endMs: number
  readonly seconds: number
  readonly run: Run
}

/** The report in the form that `--out` writes: what `verify` and `labels` read is in it, too. */
export function historyToJson(report: HistoryReport) {
  const { devices, readings, batches, backlogBatches, ended, disconnects, bytes, endMs, seconds, run } = report
  const told = {
    devices,
    readings,
    batches,
    backlog_batches: backlogBatches,
    ended,
    disconnects,
    payload_bytes: bytes,
    end_ms: endMs,
    seconds
  }
  return { ...runToJson(run), report: told }
}

/** Throws a UsageError for options out of bounds. */
export function historyPlanOf(options: HistoryOptions): RunPlan {
  const { seed, devices, startMs, intervalMs, publishEveryMs, forMs, outages, speed } = options
  requireWhole('the number of devices', devices, 1, DEVICES_MAX)
  requireWhole('the seed', seed, 0, UINT32_MAX)
  requireWhole('the interval in ms', intervalMs, 1, INTERVAL_MS_MAX)
  requireWhole('the time between two sendings in ms', publishEveryMs, 1, HISTORY_DAYS_MAX * 86_400_000)
  requireWhole('the length of the history in ms', forMs, intervalMs, HISTORY_DAYS_MAX * 86_400_000)
  requireWhole('the start in Unix ms', startMs, EVENT_TIME_MS_MIN, Number.MAX_SAFE_INTEGER)
  if (!(outages >= 0 && outages <= 1)) throw new UsageError(`a rate of ${outages} is not in 0..1: 0.1 is an outage every ten days`)
  if (!(speed > 0)) throw new UsageError(`the speed must be more than 0, or max, not ${speed}`)
  return { seed, firstDevice: 0, devices, startMs, intervalMs, rates: NO_FAULTS }
}

function requireWhole(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max)
    throw new UsageError(`${what} must be a whole number from ${min} to ${max}, not ${value}`)
}
