/**
 * The devices of a share, each made out once: what tells machines apart is drawn from a hash, which would be much of what a reading
 * costs. Of a device `NUMBERS` numbers are kept, 176 bytes: objects would be several times that.
 */
import { backlogReadings, type Device, deviceId, deviceOf, phaseMs, type RunPlan } from './device.js'
import { LOCATIONS, type Machine } from './machine.js'

type Writable<T> = { -readonly [K in keyof T]: T[K] }

const NUMBERS = 22

export class Roster {
  private plan: RunPlan | null = null
  private readonly numbers: Float64Array
  private readonly isKnown: Uint8Array
  private readonly device: Writable<Device>
  private readonly machine: Writable<Machine>
  private readonly waveTurns = [0.5, 0.5, 0.5, 0.5]
  private readonly wavePeriodsMs: number[]

  /** `indexOf` gives the index of the share's j-th device. */
  constructor(
    plan: RunPlan,
    devices: number,
    private readonly indexOf: (j: number) => number
  ) {
    this.numbers = new Float64Array(devices * NUMBERS)
    this.isKnown = new Uint8Array(devices)
    const any = deviceOf(plan, plan.firstDevice)
    this.wavePeriodsMs = [...any.machine.wavePeriodsMs]
    this.machine = { ...any.machine, waveTurns: this.waveTurns, wavePeriodsMs: this.wavePeriodsMs }
    this.device = {
      ...any,
      machine: this.machine,
      // Hardly ever asked for.
      get id() {
        return deviceId(this.index)
      }
    }
  }

  /** The j-th device of the share, as `deviceOf` gives it. It is the same object at every call: what it holds is good until the next. */
  at(plan: RunPlan, j: number): Device {
    if (plan !== this.plan) {
      this.plan = plan
      this.isKnown.fill(0)
    }
    const index = this.indexOf(j)
    if (this.isKnown[j] === 0) this.learn(deviceOf(plan, index), j)
    const { numbers, device } = this
    device.index = index
    device.epoch = numbers[j * NUMBERS]
    device.skewMs = numbers[j * NUMBERS + 1]
    device.phaseMs = phaseMs(plan, index)
    device.backlogReadings = backlogReadings(plan, index)
    this.recall(plan.seed, index, j * NUMBERS + 2)
    return device
  }

  private learn({ epoch, skewMs, machine }: Device, j: number): void {
    const { hasOil, location, waveTurns, wavePeriodsMs } = machine
    const { commissionedMs, ambient, ambientSwing, heatRise, heatLagMs, meanLoad, vibration } = machine
    const { ratedRpm, ratedKw, ratedBar, lifePeriodMs, wearMs, repairMs } = machine
    const own = [hasOil ? 1 : 0, LOCATIONS.indexOf(location), ...waveTurns, wavePeriodsMs[3], commissionedMs, ambient, ambientSwing]
    const rated = [heatRise, heatLagMs, meanLoad, vibration, ratedRpm, ratedKw, ratedBar, lifePeriodMs, wearMs, repairMs]
    this.numbers.set([epoch, skewMs, ...own, ...rated], j * NUMBERS)
    this.isKnown[j] = 1
  }

  private recall(seed: number, index: number, from: number): void {
    const { numbers, machine, waveTurns } = this
    machine.seed = seed
    machine.device = index
    machine.hasOil = numbers[from] === 1
    machine.location = LOCATIONS[numbers[from + 1]]
    for (let i = 0; i < 4; i++) waveTurns[i] = numbers[from + 2 + i]
    this.wavePeriodsMs[3] = numbers[from + 6]
    machine.commissionedMs = numbers[from + 7]
    machine.ambient = numbers[from + 8]
    machine.ambientSwing = numbers[from + 9]
    machine.heatRise = numbers[from + 10]
    machine.heatLagMs = numbers[from + 11]
    machine.oilLagMs = 3 * machine.heatLagMs
    machine.meanLoad = numbers[from + 12]
    machine.vibration = numbers[from + 13]
    machine.ratedRpm = numbers[from + 14]
    machine.ratedKw = numbers[from + 15]
    machine.ratedBar = numbers[from + 16]
    machine.lifePeriodMs = numbers[from + 17]
    machine.wearMs = numbers[from + 18]
    machine.repairMs = numbers[from + 19]
  }
}
