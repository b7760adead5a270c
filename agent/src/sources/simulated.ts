/**
 * A rotating machine that does not exist: a load cycle, temperatures that lag behind it, a bearing that wears.
 * Reading n is a function of the seed, the interval and n; the state that carries over is the position, so a restart goes on where
 * it was.
 */
import type { Value } from '@tidemark/protocol'
import type { LiveSource, Measured } from './source.js'

/** Which machine, and how often it is looked at. */
export interface Machine {
  readonly seed: number
  readonly intervalMs: number
}

export interface SimulatedConfig extends Machine {
  /** End after so many readings; null: never. */
  readonly readings: number | null
}

/** What carries over from one reading to the next. */
export interface MachineState {
  /** Readings given so far. */
  readonly n: number
  /** degC */
  readonly temperature: number
  /** degC */
  readonly oilTemperature: number
  /** h */
  readonly operatingHours: number
}

/** The metrics that this source can give. */
export const SIMULATED_METRICS: readonly string[] = [
  'temperature',
  'vibration',
  'pressure',
  'rpm',
  'power_consumption',
  'motor_current',
  'oil_temperature',
  'operating_hours',
  'maintenance_flag',
  'location'
]

const AMBIENT_DEGC = 22
const WINDING_LAG_S = 900
const OIL_LAG_S = 2400
const SHIFT_S = 8 * 3600
const BEARING_LIFE_H = 4000
const SERVICE_EVERY_H = 500

/** @param metrics those that it is to give */
export function openSimulated(config: SimulatedConfig, metrics: readonly string[]): LiveSource {
  let state = coldMachine(config.seed)
  const isOver = () => config.readings !== null && state.n >= config.readings
  return {
    key: `simulated:${config.seed}`,
    metrics,
    resume(position) {
      state = JSON.parse(position)
      return !isOver()
    },
    async measure() {
      const measured = measure(state, config)
      state = advance(state, config)
      const values = new Map(metrics.map(name => [name, measured[name]]))
      return { values, problems: [], position: JSON.stringify(state), isLast: isOver() } satisfies Measured
    },
    close: async () => {}
  }
}

/** The machine of a seed before it is switched on. */
export function coldMachine(seed: number): MachineState {
  return { n: 0, temperature: AMBIENT_DEGC, oilTemperature: AMBIENT_DEGC, operatingHours: Math.floor(noise(seed, 0, 9) * 3000) }
}

/** The state one interval later. */
export function advance(state: MachineState, config: Machine): MachineState {
  const seconds = config.intervalMs / 1000
  const load = loadAt(state.n, config)
  const towards = (from: number, to: number, lagS: number) => to + (from - to) * Math.exp(-seconds / lagS)
  return {
    n: state.n + 1,
    temperature: towards(state.temperature, AMBIENT_DEGC + 62 * load, WINDING_LAG_S),
    oilTemperature: towards(state.oilTemperature, AMBIENT_DEGC + 41 * load, OIL_LAG_S),
    operatingHours: state.operatingHours + (load > 0.05 ? seconds / 3600 : 0)
  }
}

/** What the sensors show in a state, by metric. */
export function measure(state: MachineState, config: Machine): Readonly<Record<string, Value>> {
  const { seed } = config
  const load = loadAt(state.n, config)
  const wear = ((state.operatingHours % BEARING_LIFE_H) / BEARING_LIFE_H) ** 4
  const jitter = (channel: number) => noise(seed, state.n, channel) - 0.5
  const rpm = load > 0.05 ? 1485 - 45 * load : 0
  const power = 4 + 71 * load
  return {
    temperature: state.temperature + 0.2 * jitter(1),
    vibration: 0.4 + 1.6 * load + 6 * wear + (0.1 + 0.8 * wear) * Math.abs(jitter(2)),
    pressure: 1.2 + 6.3 * load + 0.05 * jitter(3),
    rpm: Math.round(rpm + (rpm > 0 ? 4 * jitter(4) : 0)),
    power_consumption: power + 0.5 * jitter(5),
    motor_current: power * 1.73 + 0.8 * jitter(6),
    oil_temperature: state.oilTemperature + 0.2 * jitter(7),
    operating_hours: Math.floor(state.operatingHours),
    maintenance_flag: state.operatingHours % SERVICE_EVERY_H < 2,
    location: `hall-${1 + (seed % 4)}`
  }
}

/** Load in [0, 1]: shifts, with a slow swell and a quicker one on top. */
function loadAt(n: number, { seed, intervalMs }: Machine): number {
  const seconds = (n * intervalMs) / 1000 + 86_400 * noise(seed, 0, 8)
  const shift = 0.5 - 0.5 * Math.cos((2 * Math.PI * seconds) / SHIFT_S)
  const swell = 0.08 * Math.sin((2 * Math.PI * seconds) / 610) + 0.04 * Math.sin((2 * Math.PI * seconds) / 47)
  return Math.min(1, Math.max(0, 0.25 + 0.6 * shift + swell))
}

/** Uniform in [0, 1), a function of its arguments (a 32-bit mix after murmur3's finalizer). */
function noise(seed: number, n: number, channel: number): number {
  let h = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(n + 1, 0xc2b2ae35) ^ Math.imul(channel + 1, 0x27d4eb2f)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32
}
