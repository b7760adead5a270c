/** Turns a fleet's options into its plan, and refuses what makes no sense, with a word on what would. */
import { EVENT_TIME_MS_MIN } from '@tidemark/protocol'
import { UsageError } from './broker.js'
import type { RunPlan } from './device.js'
import { NO_FAULTS } from './faults.js'
import type { FleetOptions } from './fleet-options.js'
import { DEVICES_MAX, INTERVAL_MS_MAX, MESSAGE_READINGS_MAX, PROCESS_CONNECTIONS_MAX, SKEW_INTERVALS_END, UINT32_MAX } from './limits.js'

/** The plan of a run that begins at `startMs`, unless the options say when. Throws a UsageError for options out of bounds. */
export function planOf(options: FleetOptions, startMs: number): RunPlan {
  const { troubles, backlog } = options
  const plan: RunPlan = {
    seed: options.seed ?? 1,
    firstDevice: options.firstDevice ?? 0,
    devices: options.devices,
    startMs: options.startMs ?? startMs,
    intervalMs: options.intervalMs,
    rates: options.rates ?? NO_FAULTS,
    ...(troubles === undefined ? {} : { troubles }),
    ...(backlog === undefined ? {} : { backlog: { devices: backlog.devices, ms: backlog.ms } })
  }
  requireInteger('the number of devices', plan.devices, 1, DEVICES_MAX)
  requireInteger('the first device', plan.firstDevice, 0, DEVICES_MAX - plan.devices)
  requireInteger('the seed', plan.seed, 0, UINT32_MAX)
  requireInteger('the interval in ms', plan.intervalMs, 1, INTERVAL_MS_MAX)
  requireInteger('the run time in ms', options.forMs, 1, UINT32_MAX)
  requireInteger('the connect rate', options.connectPerS ?? 1, 1, UINT32_MAX)
  const oldestMs = EVENT_TIME_MS_MIN + SKEW_INTERVALS_END * plan.intervalMs + (backlog?.ms ?? 0)
  requireInteger('the start in Unix ms', plan.startMs, oldestMs, Number.MAX_SAFE_INTEGER)
  requireRates(plan)
  requireTransport(options)
  return plan
}

function requireRates({ rates, troubles }: RunPlan): void {
  const { duplicates, late, poison } = rates
  for (const rate of [duplicates, late, poison, ...Object.values(troubles ?? {})]) {
    if (!(rate >= 0 && rate <= 1)) throw new UsageError(`a rate of ${rate} is not in 0..1: 0.01 is one reading in a hundred`)
  }
  if (duplicates + late + poison > 1) throw new UsageError('the rates of duplicates, late readings and poison add up to more than 1')
}

function requireTransport(options: FleetOptions): void {
  const { devices, rates, troubles, backlog, readingsPerMessage = 1, connections = devices, processes } = options
  requireInteger('the number of readings a message', readingsPerMessage, 1, MESSAGE_READINGS_MAX)
  requireInteger('the number of connections', connections, 1, devices)
  if (backlog !== undefined) {
    requireInteger('the number of devices with a backlog', backlog.devices, 0, devices)
    requireInteger('the length of the backlog in ms', backlog.ms, 0, UINT32_MAX)
    if (connections < devices) throw new UsageError('devices with a backlog come back by connections of their own: leave out --connections')
  }
  const hasFaults = rates !== undefined && rates.duplicates + rates.late + rates.poison > 0
  if (options.format === 'json' && (hasFaults || readingsPerMessage > 1))
    throw new UsageError('JSON readings go one a message, without faults')
  const holdsUp = troubles !== undefined && troubles.delays + troubles.silence > 0
  if (readingsPerMessage > 1 && (hasFaults || holdsUp))
    throw new UsageError('faults, delays and silence befall single readings: leave them out, or send one reading a message')
  if (processes === undefined) return
  requireInteger('the number of processes', processes, 1, Math.min(devices, 64))
  if (connections / processes > PROCESS_CONNECTIONS_MAX) {
    const enough = Math.ceil(connections / PROCESS_CONNECTIONS_MAX)
    throw new UsageError(
      `${connections} connections are too many for ${processes} processes, which may hold ${PROCESS_CONNECTIONS_MAX} each: use ${enough}, or leave it out`
    )
  }
}

function requireInteger(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max)
    throw new UsageError(`${what} must be a whole number from ${min} to ${max}, not ${value}`)
}
