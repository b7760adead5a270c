/**
 * A simulated agent: samples by its own clocks, keeps what it sampled in a durable buffer, publishes. It can be killed at the
 * points where it hurts, moved to another machine, and set back to an image of its disk.
 */
import { type EventClock, resumeClock, tick } from '@tidemark/agent/dist/core/event-clock.js'
import { epochFromBytes, quantize, type Value } from '@tidemark/protocol'
import { type BufferDisk, type HeldReading, newDisk, SimulatedBuffer } from './buffer.js'
import { Draw, STREAM } from './draw.js'
import type { Network } from './network.js'
import type { Plant } from './plants.js'
import { SimulatedPublisher } from './publisher.js'
import { type AgentScenario, INTERVAL_MS, PROBE } from './scenario.js'
import { Killed, type Life, type Scheduler } from './scheduler.js'
import type { Truth } from './truth.js'
import type { World } from './world.js'

export class SimulatedAgent {
  private readonly draw: Draw
  private readonly scheduler: Scheduler
  private readonly network: Network
  private readonly truth: Truth
  private readonly plant: Plant | null
  private disk: BufferDisk
  private image: BufferDisk | null = null
  private life: Life = { isOver: true }
  private buffer!: SimulatedBuffer
  private publisher!: SimulatedPublisher
  private clock: EventClock | null = null
  private wallOffsetMs: number
  /** Physical readings so far. */
  private serial = 0
  private level = 20
  private bootMs = 0
  /** How often it was killed, moved or set back. */
  crashes = 0
  clockSteps = 0
  private wasMoved = false
  private isHealed = false

  constructor(
    index: number,
    private readonly scenario: AgentScenario,
    { seed, scheduler, network, truth, plant }: World
  ) {
    this.scheduler = scheduler
    this.network = network
    this.truth = truth
    this.plant = plant
    this.draw = new Draw(seed, STREAM.agent, index)
    this.wallOffsetMs = scenario.clockOffsetMs
    this.disk = newDisk(this.newEpoch())
  }

  get deviceId(): string {
    return this.scenario.deviceId
  }

  get hasSampledAll(): boolean {
    return this.serial >= this.scenario.readings
  }

  get hasEnded(): boolean {
    return !this.life.isOver && this.publisher.hasEnded && this.buffer.held === 0 && this.buffer.epochOfTombstones() === null
  }

  start(): void {
    const { scenario, scheduler, network, draw, plant } = this
    this.life = { isOver: false }
    this.bootMs = scheduler.nowMs
    if (plant === 'seq-reused-after-crash') forgetWhatWasGiven(this.disk)
    this.buffer = new SimulatedBuffer(this.disk, PROBE, () => this.newEpoch())
    if (this.wasMoved) this.buffer.takeNewEpoch()
    this.wasMoved = false
    this.clock = this.disk.eventTimeMs === null ? null : resumeClock(this.disk.eventTimeMs)
    this.publisher = new SimulatedPublisher({
      scenario,
      profile: PROBE,
      buffer: this.buffer,
      scheduler,
      network,
      life: this.life,
      draw,
      plant,
      nextMessage: () => this.truth.nextMessage(),
      crashPoint: () => this.crashPoint(),
      settled: readings => this.noteSettled(readings),
      shed: readings => this.noteShed(readings)
    })
    this.publisher.start()
    scheduler.after(draw.between(0, INTERVAL_MS), this.life, `sample ${this.deviceId}`, () => this.sample())
    if (this.isHealed) this.publisher.endStream()
  }

  /** Faults end; what is held goes out, and then the mark that says so. */
  heal(): void {
    this.isHealed = true
    if (!this.life.isOver) this.publisher.endStream()
  }

  private sample(): void {
    const { scenario, scheduler, draw } = this
    if (this.hasSampledAll) return
    if (draw.chance(scenario.move)) {
      this.wasMoved = true
      this.kill()
      return
    }
    if (draw.chance(scenario.restore) && this.image !== null) {
      this.restoreImage(this.image)
      return
    }
    if (scenario.restore > 0 && draw.chance(0.1)) this.image = structuredClone(this.disk)
    if (draw.chance(scenario.clockStep)) {
      this.wallOffsetMs += draw.pick([-3_600_000, -90_000, -20_000, 1000, 240_000, 3_600_000])
      this.clockSteps++
    }
    scheduler.after(INTERVAL_MS, this.life, `sample ${this.deviceId}`, () => this.sample())
    this.keep(this.measure(this.serial + 1))
    this.crashPoint()
    this.publisher.wake()
  }

  private keep(values: Value[]): void {
    const { buffer, truth, deviceId } = this
    const isFull = buffer.held >= this.scenario.heldMax
    const eventTimeMs = isFull ? Number.NaN : this.now()
    this.serial++
    if (isFull && this.plant === 'silent-drop') {
      truth.note(deviceId, this.serial, eventTimeMs, values)
      return
    }
    buffer.append(isFull ? { shed: 'dropped-newest' } : { eventTimeMs, values }, this.clock?.eventTimeMs ?? null)
    truth.note(deviceId, this.serial, eventTimeMs, values)
    if (isFull) truth.of(deviceId, this.serial)!.fate = 'shed'
  }

  private measure(serial: number): Value[] {
    const { draw, scenario } = this
    if (!draw.chance(0.3)) this.level = 20 + draw.unit() * 60
    if (draw.chance(scenario.refused)) this.network.refuseFor(this.deviceId, serial)
    const temperature = draw.chance(scenario.poison) ? 999 : this.level
    const values: Value[] = [serial, temperature, draw.chance(0.1) ? null : draw.unit() * 50, draw.pick(['hall 1', 'hall 2', null])]
    return values.map((value, m) => (typeof value === 'number' ? quantize(value, PROBE.metrics[m]) : value))
  }

  private now(): number {
    const moment = tick(this.clock, this.scheduler.nowMs - this.bootMs, this.scheduler.nowMs + this.wallOffsetMs)
    if (moment.newEpoch) this.buffer.takeNewEpoch()
    this.clock = moment.clock
    return moment.eventTimeMs
  }

  /** The disk is replaced by an image of it; what was sampled since and not acked is gone with it. */
  private restoreImage(image: BufferDisk): void {
    const { truth, deviceId, disk } = this
    const kept = new Set(image.readings.map(serialOf))
    for (const reading of disk.readings) if (!kept.has(serialOf(reading))) truth.of(deviceId, serialOf(reading))!.fate = 'destroyed'
    truth.restored.add(deviceId)
    this.disk = structuredClone(image)
    this.kill()
  }

  private noteSettled(readings: readonly HeldReading[]): void {
    for (const reading of readings) this.truth.of(this.deviceId, serialOf(reading))!.isAcked = true
  }

  private noteShed(readings: readonly HeldReading[]): void {
    for (const reading of readings) this.truth.of(this.deviceId, serialOf(reading))!.fate = 'shed'
  }

  private newEpoch(): number {
    return epochFromBytes(this.draw.bytes(7))
  }

  /** Kills with a chance, between one durable step and the next. */
  private crashPoint(): void {
    if (this.isHealed || !this.draw.chance(this.scenario.crash)) return
    this.kill()
    throw new Killed()
  }

  private kill(): void {
    this.crashes++
    this.life.isOver = true
    this.scheduler.trace(`killed ${this.deviceId}`)
    this.publisher.abandon()
    this.scheduler.after(this.draw.between(100, 20_000), null, `restart ${this.deviceId}`, () => this.start())
  }
}

function serialOf(reading: HeldReading): number {
  return reading.values[0] as number
}

/** What a buffer would go on from that looks only at what it holds. */
function forgetWhatWasGiven(disk: BufferDisk): void {
  const { epoch, base } = disk.epochs[disk.epochs.length - 1]
  const last = disk.readings.at(-1)?.position ?? base
  disk.nextPosition = last + 1
  disk.settledPosition = Math.min(disk.settledPosition, last)
  disk.tombstones = disk.tombstones.filter(tombstone => tombstone.epoch !== epoch || tombstone.lastSeq + base <= last)
}
