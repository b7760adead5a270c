/**
 * Devices that do not run the agent: one that publishes JSON readings with IDs of its own making, and sends again what is not
 * acked (and at times what is); one that publishes what nobody can decode.
 */
import { type BatchInput, columnsOf, encodeBatch } from '@tidemark/protocol'
import { Draw, STREAM } from './draw.js'
import type { Connection, MessageKind } from './network.js'
import { INTERVAL_MS, PROBE } from './scenario.js'
import type { Life } from './scheduler.js'
import type { Garbage } from './truth.js'
import type { World } from './world.js'

interface Outgoing {
  readonly kind: MessageKind
  readonly payload: Uint8Array
  readonly acked: () => void
  isAcked: boolean
}

const WINDOW = 4
const RECONNECT_MS_MAX = 5000

/** Keeps messages until they are acked; sends the oldest again on every new connection. Never dies. */
abstract class QosOneDevice {
  protected readonly draw: Draw
  private readonly life: Life = { isOver: false }
  private readonly outgoing: Outgoing[] = []
  private connection: Connection | null = null
  private isUp = false
  private made = 0

  constructor(
    readonly deviceId: string,
    protected readonly world: World,
    stream: number,
    private readonly messages: number
  ) {
    this.draw = new Draw(world.seed, stream)
  }

  get hasSampledAll(): boolean {
    return this.made >= this.messages
  }

  get hasEnded(): boolean {
    return this.hasSampledAll && this.outgoing.every(({ isAcked }) => isAcked)
  }

  start(): void {
    this.connect()
    this.sampleLater()
    this.watch()
  }

  /** The next message. */
  protected abstract make(n: number): Omit<Outgoing, 'isAcked'>

  private sampleLater(): void {
    this.world.scheduler.after(INTERVAL_MS, this.life, `sample ${this.deviceId}`, () => {
      this.outgoing.push({ ...this.make(++this.made), isAcked: false })
      this.pump()
      if (!this.hasSampledAll) this.sampleLater()
    })
  }

  private connect(): void {
    const connection = this.world.network.connect(this.deviceId, this.life, {
      up: () => {
        this.isUp = true
        this.pump()
        if (this.draw.chance(0.3) && this.outgoing.length > 0) this.send(this.draw.pick(this.outgoing)) // acked or not
      },
      down: () => {
        if (this.connection !== connection) return
        this.isUp = false
        this.world.scheduler.after(this.draw.between(100, RECONNECT_MS_MAX), this.life, 'reconnect', () => this.connect())
      },
      told: () => {}
    })
    this.connection = connection
  }

  private pump(): void {
    if (!this.isUp) return
    for (const each of this.outgoing.filter(({ isAcked }) => !isAcked).slice(0, WINDOW)) this.send(each)
  }

  private send(each: Outgoing): void {
    const acked = () => {
      if (each.isAcked) return
      each.isAcked = true
      each.acked()
      this.pump()
    }
    this.connection?.publish({ kind: each.kind, payload: each.payload, message: this.world.truth.nextMessage(), acked })
  }

  /** What was lost on a connection that stands is sent again. */
  private watch(): void {
    this.world.scheduler.after(20_000, this.life, `watch ${this.deviceId}`, () => {
      this.pump()
      if (!this.hasEnded) this.watch()
    })
  }
}

export class JsonDevice extends QosOneDevice {
  private serial = 0

  constructor(deviceId: string, world: World) {
    super(deviceId, world, STREAM.json, 25)
  }

  protected make(n: number): Omit<Outgoing, 'isAcked'> {
    const { draw, world, deviceId } = this
    const serials = Array.from({ length: draw.pick([1, 1, 3]) }, () => ++this.serial)
    const readings = serials.map(serial => {
      const eventTimeMs = world.scheduler.nowMs + (draw.chance(0.2) ? -draw.between(0, 90_000) : draw.between(-900, 0))
      const temperature = draw.chance(0.1) ? 999 : draw.between(20, 80)
      const vibration = draw.unit() * 50
      world.truth.note(deviceId, serial, eventTimeMs, [serial, temperature, vibration, null])
      return { event_id: `m${n}-${serial}`, event_time: eventTimeMs, profile: PROBE.name, serial, temperature, vibration }
    })
    const acked = () => {
      for (const serial of serials) world.truth.of(deviceId, serial)!.isAcked = true
    }
    return { kind: 'json', payload: new TextEncoder().encode(JSON.stringify(readings)), acked }
  }
}

/** Publishes bytes that are no message, and batches that are damaged or of a profile that nobody knows. */
export class PoisonDevice extends QosOneDevice {
  private readonly epoch = 77

  constructor(deviceId: string, world: World) {
    super(deviceId, world, STREAM.poison, 12)
  }

  protected make(n: number): Omit<Outgoing, 'isAcked'> {
    const kind: MessageKind = this.draw.chance(0.7) ? 'batch' : 'json'
    const payload = kind === 'json' ? this.draw.bytes(20) : this.draw.chance(0.4) ? this.draw.bytes(30) : this.damagedBatch(n)
    const garbage: Garbage = { deviceId: this.deviceId, payload, isAcked: false }
    this.world.truth.garbage.push(garbage)
    const acked = () => {
      garbage.isAcked = true
    }
    return { kind, payload, acked }
  }

  /** Each in an epoch of its own, whose only seq it is. */
  private damagedBatch(n: number): Uint8Array {
    const isUnknown = this.draw.chance(0.5)
    const input: BatchInput = {
      profile: isUnknown ? { ...PROBE, name: 'nobody-knows' } : PROBE,
      epoch: this.epoch + n,
      oldestHeldSeq: 1,
      highestSampledSeq: 1,
      buffered: 1,
      seqs: [1],
      eventTimesMs: [this.world.scheduler.nowMs],
      columns: columnsOf(PROBE, [[n, 20, 1, null]])
    }
    const payload = encodeBatch(input)
    return isUnknown ? payload : payload.subarray(0, payload.length - 2)
  }
}
