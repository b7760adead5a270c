/**
 * The physics of one rotating machine, in closed form: what it measures at a time costs the same for any time, and depends on no
 * time before it.
 *
 *   load     a mean, plus waves of a week, a day, half a day and the machine's own product cycle
 *   heat     follows the load with a lag: a first-order filter turns A sin(wt) into A (sin(wt) - wT cos(wt)) / (1 + (wT)^2)
 *   wear     0 for most of a bearing's life, then rising as a cube to 1 at its failure; then the machine stands for its repair
 *
 *   life k of a bearing ends at (k + 0.8 u_k) P, u_k random in [0, 1):   |---.--x|------x-|-x------|   x: failure
 *
 * Pure: no clock, no state. It knows neither devices nor seqs.
 */
import { cosine, decay, sine } from './curves.js'
import { bell, drawsOf, mix, STREAM, unit } from './prng.js'

const HOUR_MS = 3_600_000
const WEEK_MS = 7 * 24 * HOUR_MS
const DAY_MS = 24 * HOUR_MS

/** All machines were commissioned in the 1990s: before any event time that a gateway takes. */
const COMMISSIONED_MS_MIN = Date.UTC(1990, 0, 1)
const COMMISSIONED_MS_END = Date.UTC(2000, 0, 1)

/** Degrees that a worn-out bearing adds. */
const WEAR_HEAT = 25

/** How much the load swings with a week, a day, half a day and the product cycle; together less than the least mean load. */
const SWINGS = [0.04, 0.12, 0.05, 0.06]

/** Indices into the values of `measure`: the numeric metrics of the profile rotating-machine, in its order. */
export const METRIC = {
  temperature: 0,
  vibration: 1,
  pressure: 2,
  rpm: 3,
  powerConsumption: 4,
  motorCurrent: 5,
  oilTemperature: 6,
  operatingHours: 7,
  maintenanceFlag: 8
} as const

export const NUMERIC_METRICS = 9

const HALLS = 8
const LINES = 24

/** Where machines stand. */
export const LOCATIONS: readonly string[] = Array.from(
  { length: HALLS * LINES },
  (_, i) => `hall-${1 + Math.floor(i / LINES)}/line-${1 + (i % LINES)}`
)

/** What distinguishes one machine from another. */
export interface Machine {
  readonly seed: number
  readonly device: number
  readonly location: string
  readonly commissionedMs: number
  readonly ambient: number
  readonly ambientSwing: number
  readonly heatRise: number
  readonly heatLagMs: number
  readonly oilLagMs: number
  /** Machines without an oil circuit have no oil temperature. */
  readonly hasOil: boolean
  readonly meanLoad: number
  /** Offset of each wave of the load, in turns. */
  readonly waveTurns: readonly number[]
  readonly wavePeriodsMs: readonly number[]
  readonly vibration: number
  readonly ratedRpm: number
  readonly ratedKw: number
  readonly ratedBar: number
  /** P of this file's head. */
  readonly lifePeriodMs: number
  readonly wearMs: number
  readonly repairMs: number
}

export function machineOf(seed: number, device: number): Machine {
  const draw = drawsOf(seed, device, STREAM.machine)
  const between = (low: number, high: number) => low + (high - low) * draw()
  const heatLagMs = between(15, 45) * 60_000
  return {
    seed,
    device,
    location: LOCATIONS[Math.floor(draw() * HALLS) * LINES + Math.floor(draw() * LINES)],
    commissionedMs: Math.floor(between(COMMISSIONED_MS_MIN, COMMISSIONED_MS_END)),
    ambient: between(15, 30),
    ambientSwing: between(1, 6),
    heatRise: between(20, 45),
    heatLagMs,
    oilLagMs: heatLagMs * 3,
    hasOil: draw() < 0.875,
    meanLoad: between(0.5, 0.7),
    waveTurns: [draw(), draw(), draw(), draw()],
    wavePeriodsMs: [WEEK_MS, DAY_MS, DAY_MS / 2, between(15, 45) * 60_000],
    vibration: between(1, 3),
    ratedRpm: [980, 1480, 2960][Math.floor(draw() * 3)],
    ratedKw: between(15, 400),
    ratedBar: between(4, 12),
    lifePeriodMs: between(600, 4000) * HOUR_MS,
    wearMs: between(48, 120) * HOUR_MS,
    repairMs: between(2, 8) * HOUR_MS
  }
}

const lanes = new Uint32Array(4)

/** When bearing life `k` ends, in Unix ms. Lives end in order, at least a fifth of a period apart. */
function failureMs(machine: Machine, k: number): number {
  mix(lanes, machine.seed, machine.device, k, STREAM.life)
  return machine.commissionedMs + Math.floor((k + 0.8 * unit(lanes[0])) * machine.lifePeriodMs)
}

/** The last failure at or before a time and the first one after it, in Unix ms: the labels that a model should predict. */
export function failuresAround(machine: Machine, timeMs: number): { lastMs: number; nextMs: number } {
  const k = Math.floor((timeMs - machine.commissionedMs) / machine.lifePeriodMs)
  const thisMs = failureMs(machine, k)
  return thisMs > timeMs ? { lastMs: failureMs(machine, k - 1), nextMs: thisMs } : { lastMs: thisMs, nextMs: failureMs(machine, k + 1) }
}

const noise = new Uint32Array(8)
const moreNoise = noise.subarray(4)

/**
 * Writes into `into` what the machine's sensors show at a time: `NUMERIC_METRICS` values, not yet rounded, NaN for a sensor that it
 * does not have. `seq` tells the noise of readings apart.
 */
export function measure(machine: Machine, timeMs: number, seq: number, into: Float64Array): void {
  const { lastMs, nextMs } = failuresAround(machine, timeMs)
  const restartMs = lastMs + machine.repairMs
  const isStopped = timeMs < restartMs
  const wornMs = machine.wearMs - (nextMs - timeMs)
  const wear = isStopped || wornMs <= 0 ? 0 : (wornMs / machine.wearMs) ** 3
  const ambient = machine.ambient + machine.ambientSwing * sine(timeMs / DAY_MS - 0.375)
  turnWaves(machine, timeMs)
  const load = isStopped ? 0 : loadOf(machine)
  const wearHeat = WEAR_HEAT * (wear + decay((timeMs - lastMs) / machine.heatLagMs))
  mix(noise, machine.seed, machine.device, seq, STREAM.noise)
  mix(moreNoise, machine.seed, machine.device, seq, STREAM.moreNoise)

  const heat = machine.heatRise * laggedLoadOf(machine, machine.heatLagMs) * warmth(timeMs, lastMs, restartMs, machine.heatLagMs)
  into[METRIC.temperature] = ambient + heat + wearHeat + 0.15 * bell(noise[0])
  const shaking = isStopped ? 0.05 : machine.vibration * (0.5 + 0.5 * load) * (1 + 6 * wear)
  const knock = unit(noise[7]) < 0.2 * wear ? 1.5 : 1 // a damaged race knocks now and then, more often the more it is worn
  into[METRIC.vibration] = shaking * knock * (1 + 0.05 * bell(noise[1]))
  into[METRIC.pressure] = isStopped ? 0 : machine.ratedBar * (0.7 + 0.3 * load - 0.05 * wear) + 0.02 * bell(noise[2])
  into[METRIC.rpm] = isStopped ? 0 : machine.ratedRpm * (1 - 0.03 * load) + 2 * bell(noise[3])
  const power = isStopped ? 0 : machine.ratedKw * (0.1 + 0.9 * load) * (1 + 0.06 * wear) * (1 + 0.004 * bell(noise[4]))
  into[METRIC.powerConsumption] = power
  into[METRIC.motorCurrent] = ((power * 1000) / (Math.sqrt(3) * 400 * 0.86)) * (1 + 0.004 * bell(noise[5])) // 400 V, three phases
  const oilHeat = machine.heatRise * laggedLoadOf(machine, machine.oilLagMs) * warmth(timeMs, lastMs, restartMs, machine.oilLagMs)
  into[METRIC.oilTemperature] = machine.hasOil ? ambient + 0.7 * oilHeat + 0.5 * wearHeat + 0.1 * bell(noise[6]) : Number.NaN
  into[METRIC.operatingHours] = Math.floor((timeMs - machine.commissionedMs) / HOUR_MS)
  into[METRIC.maintenanceFlag] = isStopped ? 1 : 0
}

const sines = new Float64Array(SWINGS.length)
const cosines = new Float64Array(SWINGS.length)

/** Where the waves of a machine's load are at a time, into `sines` and `cosines`: three of its metrics ask. */
function turnWaves(machine: Machine, timeMs: number): void {
  for (let i = 0; i < SWINGS.length; i++) {
    const turns = timeMs / machine.wavePeriodsMs[i] + machine.waveTurns[i]
    sines[i] = sine(turns)
    cosines[i] = cosine(turns)
  }
}

function loadOf(machine: Machine): number {
  let load = machine.meanLoad
  for (let i = 0; i < SWINGS.length; i++) load += SWINGS[i] * sines[i]
  return load
}

/** The load as a body sees it that warms and cools with the time constant `lagMs`. */
function laggedLoadOf(machine: Machine, lagMs: number): number {
  let load = machine.meanLoad
  for (let i = 0; i < SWINGS.length; i++) {
    const lag = (2 * Math.PI * lagMs) / machine.wavePeriodsMs[i]
    load += (SWINGS[i] * (sines[i] - lag * cosines[i])) / (1 + lag * lag)
  }
  return load
}

/** How much of its running heat the machine has: it cools while it stands and warms up again once it is restarted. In [0, 1]. */
function warmth(timeMs: number, stoppedMs: number, restartMs: number, lagMs: number): number {
  if (timeMs < restartMs) return decay((timeMs - stoppedMs) / lagMs)
  return 1 - (1 - decay((restartMs - stoppedMs) / lagMs)) * decay((timeMs - restartMs) / lagMs)
}
