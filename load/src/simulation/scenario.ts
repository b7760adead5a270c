/**
 * What a seed stands for: devices, settings, and which faults are at work, how often. Faults are switched on and off as a whole
 * (swarm testing): a run with few kinds of fault goes deep where a run with all of them would drown.
 */

import type { Settings } from '@tidemark/gateway/dist/processor/control.js'
import { type Profile, profileSchema } from '@tidemark/protocol'
import { Draw, STREAM } from './draw.js'

/** Short hops and windows, so that a run of minutes has rows, corrections and repairs. `serial` names the physical reading. */
export const PROBE: Profile = profileSchema.parse({
  name: 'probe',
  interval: '5s',
  hop: '10s',
  corrections: '1m',
  metrics: [
    { name: 'serial', type: 'int', min: 0, required: true },
    { name: 'temperature', unit: 'degC', min: 0, max: 200, required: true, resolution: 0.01 },
    { name: 'vibration', unit: 'mm/s', min: 0, max: 100 },
    { name: 'place', type: 'string', max: 16 }
  ],
  features: [
    { name: 'readings_1m', metric: 'serial', aggregate: 'count', window: '1m' },
    { name: 'temp_mean_1m', metric: 'temperature', aggregate: 'mean', window: '1m' },
    { name: 'temp_std_1m', metric: 'temperature', aggregate: 'std', window: '1m' },
    { name: 'vibration_max_1m', metric: 'vibration', aggregate: 'max', window: '1m' },
    { name: 'temp_sum_2m', metric: 'temperature', aggregate: 'sum', window: '2m', hop: '30s' },
    { name: 'serial_last_1m', metric: 'serial', aggregate: 'last', window: '1m' },
    { name: 'temp_rate', metric: 'temperature', aggregate: 'rate', window: '1m', per: '1m' }
  ],
  flags: [
    { name: 'temp_anomaly', flag: 'deviates', metric: 'temperature', mean: 'temp_mean_1m', std: 'temp_std_1m', factor: 3 },
    { name: 'vibration_spike', flag: 'exceeds', metric: 'vibration', of: 'vibration_max_1m', factor: 2 }
  ]
})

export const INTERVAL_MS = 5000

export interface AgentScenario {
  readonly deviceId: string
  readonly readings: number
  readonly inFlightMax: number
  readonly batchReadingsMax: number
  /** Readings that the buffer holds; more are dropped and declared. */
  readonly heldMax: number
  /** Chance a crash point kills the agent. */
  readonly crash: number
  /** Chance a sample steps the wall clock. */
  readonly clockStep: number
  /** How far the wall clock is off at the start, ms. */
  readonly clockOffsetMs: number
  /** Chance that a sample finds the machine moved: a new epoch. */
  readonly move: number
  /** Chance that a sample finds the buffer replaced by an image of it. */
  readonly restore: number
  /** Chance that a value is out of its range. */
  readonly poison: number
  /** Chance that a reading is one that the front's peer refuses for ever. */
  readonly refused: number
}

export interface NetworkScenario {
  readonly delayMsMax: number
  /** A peer between, like a bridging broker: messages may overtake, double and vanish. */
  readonly isBridged: boolean
  readonly drop: number
  readonly duplicate: number
  /** Chance that a message is the last of its connection. */
  readonly cut: number
  /** Chance that a lost device stays offline for minutes. */
  readonly outage: number
}

export interface GatewayScenario {
  /** Mean time between crashes, ms; Infinity: none. */
  readonly crashEveryMs: number
  /** Chance that a record of the log is followed by a crash at once; four times that for a step of the archive. */
  readonly crashAtWrite: number
  /** Of stops, the share that is clean. */
  readonly cleanStops: number
  readonly clockStep: number
  readonly refuseAppend: number
  readonly slowDisk: number
  readonly damageSnapshot: number
}

export interface Scenario {
  readonly seed: number
  readonly startMs: number
  readonly agents: readonly AgentScenario[]
  readonly jsonDevices: readonly string[]
  readonly hasPoison: boolean
  readonly network: NetworkScenario
  readonly gateway: GatewayScenario
  readonly settings: Settings
}

export function scenarioOf(seed: number): Scenario {
  const draw = new Draw(seed, STREAM.scenario)
  const maybe = (probability: number, value: () => number) => (draw.chance(probability) ? value() : 0)
  const isBridged = draw.chance(0.25)
  const agents = Array.from({ length: draw.between(2, 3) }, (_, i) => agentOf(draw, `agent-${i + 1}`, isBridged))
  return {
    seed,
    startMs: Date.UTC(2026, 10, 24, 13, draw.pick([0, 57, 58])),
    agents,
    jsonDevices: draw.chance(0.5) ? ['json-1'] : [],
    hasPoison: draw.chance(0.3),
    network: {
      delayMsMax: draw.pick([20, 500, 5000]),
      isBridged,
      drop: isBridged ? maybe(0.5, () => 0.05) : 0,
      duplicate: isBridged ? maybe(0.7, () => 0.1) : 0,
      cut: maybe(0.7, () => draw.pick([0.02, 0.05, 0.15])),
      outage: maybe(0.6, () => 0.3)
    },
    gateway: {
      crashEveryMs: draw.chance(0.7) ? draw.pick([30_000, 90_000, 200_000]) : Number.POSITIVE_INFINITY,
      crashAtWrite: maybe(0.5, () => 0.01),
      cleanStops: draw.pick([0, 0.2]),
      clockStep: maybe(0.2, () => 0.01),
      refuseAppend: maybe(0.2, () => 0.05),
      slowDisk: maybe(0.4, () => 0.1),
      damageSnapshot: maybe(0.4, () => 0.5)
    },
    settings: settingsOf(draw)
  }
}

function agentOf(draw: Draw, deviceId: string, isBridged: boolean): AgentScenario {
  const maybe = (probability: number, value: number) => (draw.chance(probability) ? value : 0)
  const clockStep = maybe(0.3, 0.05)
  return {
    deviceId,
    readings: draw.between(30, 70),
    inFlightMax: draw.pick([1, 2, 8]),
    batchReadingsMax: draw.pick([1, 3, 10, 40]),
    heldMax: draw.chance(0.3) ? draw.between(3, 12) : 1000,
    crash: maybe(0.5, draw.pick([0.01, 0.05])),
    clockStep,
    clockOffsetMs: draw.chance(0.2) ? draw.pick([240_000, 3_600_000, -600_000]) : 0,
    move: maybe(0.15, 0.03),
    // An image is told from the life that it came from by later event times; so neither clock nor order may be at fault too.
    restore: clockStep === 0 && !isBridged ? maybe(0.15, 0.03) : 0,
    poison: maybe(0.4, 0.08),
    refused: maybe(0.1, 0.02)
  }
}

function settingsOf(draw: Draw): Settings {
  return {
    flushIntervalMs: draw.pick([15_000, 40_000]),
    flushRows: draw.pick([60, 1000]),
    smallHourRows: draw.pick([0, 8]),
    smallHourWaitMs: 60_000,
    snapshotEvery: draw.pick([3, 5]),
    idleTimeoutMs: 40_000,
    gapTimeoutMs: 30_000,
    allowedLatenessMs: 20_000,
    correctionIntervalMs: draw.pick([0, 15_000]),
    devicesMax: 64,
    eventIdBytesMax: 1_000_000
  }
}
