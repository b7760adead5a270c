/**
 * The agent's publisher over a simulated connection and clock. What is published and deleted, and when, is decided by the agent's
 * own code (agent/src/core/delivery.ts); only what surrounds it is a model: connections, timers, crashes.
 */
import { BatchBuilder } from '@tidemark/agent/dist/batch-builder.js'
import { fullJitterMs } from '@tidemark/agent/dist/core/backoff.js'
import { Delivery, type DeliveryBuffer, type DeliveryNote } from '@tidemark/agent/dist/core/delivery.js'
import { RateLimit } from '@tidemark/agent/dist/core/rate-limit.js'
import { BATCH_BYTES_MAX, PUBACK_WAIT_MS_MAX } from '@tidemark/agent/dist/limits.js'
import type { Profile } from '@tidemark/protocol'
import type { HeldReading, SimulatedBuffer } from './buffer.js'
import type { Draw } from './draw.js'
import type { Connection, Network } from './network.js'
import type { Plant } from './plants.js'
import type { AgentScenario } from './scenario.js'
import type { Life, Scheduler } from './scheduler.js'

const BACKOFF = { minMs: 200, maxMs: 20_000 }

export interface PublisherOptions {
  readonly scenario: AgentScenario
  readonly profile: Profile
  readonly buffer: SimulatedBuffer
  readonly scheduler: Scheduler
  readonly network: Network
  readonly life: Life
  readonly draw: Draw
  readonly plant: Plant | null
  readonly nextMessage: () => number
  /** Kills the agent with a chance: throws. */
  readonly crashPoint: (name: string) => void
  readonly settled: (readings: readonly HeldReading[]) => void
  readonly shed: (readings: readonly HeldReading[]) => void
}

export class SimulatedPublisher {
  private readonly delivery: Delivery
  private connection: Connection | null = null
  private attempt = 0
  private turnIsDue = false
  private isStalled = false

  constructor(private readonly options: PublisherOptions) {
    const { scenario, buffer, profile, scheduler, life } = options
    this.delivery = new Delivery(
      {
        buffer: asDeliveryBuffer(options),
        builder: new BatchBuilder(buffer, profile, scenario.batchReadingsMax, BATCH_BYTES_MAX),
        inFlightMax: scenario.inFlightMax,
        rate: new RateLimit()
      },
      {
        nowMs: () => scheduler.nowMs,
        publish: (payload, acked) => this.publish(payload, acked),
        turnSoon: () => this.turnSoon(),
        turnWithin: delayMs => scheduler.after(delayMs, life, 'turn at the latest', () => this.delivery.finishTurn()),
        wakeIn: delayMs => scheduler.after(delayMs, life, 'wake', () => this.delivery.wake()),
        note: note => this.note(note)
      }
    )
  }

  get hasEnded(): boolean {
    return this.delivery.hasEnded
  }

  start(): void {
    this.connect()
    this.checkStall()
  }

  wake(): void {
    this.delivery.wake()
  }

  /** The process is gone: what it handed to its socket may still arrive. */
  abandon(): void {
    this.connection?.drop('killed')
  }

  endStream(): void {
    this.delivery.endStream()
  }

  private connect(): void {
    const { network, life, scenario } = this.options
    const connection = network.connect(scenario.deviceId, life, {
      up: () => this.delivery.up(),
      down: () => {
        if (this.connection === connection) this.lost()
      },
      told: epochSpent => this.delivery.epochSpent(epochSpent)
    })
    this.connection = connection
  }

  private publish(payload: Uint8Array, acked: () => void): void {
    const { nextMessage, plant, crashPoint, scheduler, life } = this.options
    const puback = () => {
      crashPoint('puback')
      acked()
    }
    this.connection?.publish({ kind: 'batch', payload, message: nextMessage(), acked: puback })
    crashPoint('publish')
    if (plant === 'delete-before-puback') scheduler.after(0, life, 'planted delete', puback)
  }

  private turnSoon(): void {
    const { scheduler, life } = this.options
    if (this.turnIsDue) return
    this.turnIsDue = true
    scheduler.after(0, life, 'turn', () => {
      this.turnIsDue = false
      this.delivery.finishTurn()
    })
  }

  private note(note: DeliveryNote): void {
    if (note.note === 'acked') this.attempt = 0
    else if (note.note === 'deleted') this.options.crashPoint('delete')
    else if (note.note === 'damaged') throw new Error('the simulated buffer is never damaged')
  }

  private lost(): void {
    const { scheduler, life, draw } = this.options
    const isStalled = this.isStalled
    this.connection = null
    this.isStalled = false
    scheduler.after(fullJitterMs(this.attempt++, BACKOFF, draw.unit()), life, 'reconnect', () => this.connect())
    this.delivery.down(!isStalled)
  }

  private checkStall(): void {
    const { scheduler, life } = this.options
    const sinceMs = this.delivery.waitsSinceMs
    if (sinceMs !== null && scheduler.nowMs - sinceMs >= PUBACK_WAIT_MS_MAX) {
      this.isStalled = true
      this.connection?.drop('no PUBACK')
    }
    scheduler.after(PUBACK_WAIT_MS_MAX / 10, life, 'stall check', () => this.checkStall())
  }
}

/** The simulated buffer as the agent's code sees it; what is deleted is told to who keeps the truth. */
function asDeliveryBuffer({ buffer, settled, shed }: PublisherOptions): DeliveryBuffer {
  return {
    get epoch() {
      return buffer.epoch
    },
    get held() {
      return buffer.held
    },
    get settledPosition() {
      return buffer.disk.settledPosition
    },
    readAfter: (position, readingsMax, lastPosition) => buffer.readAfter(position, readingsMax, lastPosition),
    facts: position => buffer.facts(position),
    factsOfEpoch: epoch => buffer.factsOfEpoch(epoch),
    tombstonesFor: (epoch, lastSeq) => buffer.tombstonesFor(epoch, lastSeq),
    epochOfTombstones: () => buffer.epochOfTombstones(),
    willPublish: position => buffer.willPublish(position),
    settle: (position, _count, declared) => settled(buffer.settle(position, declared)),
    shed: (span, reason) => shed(buffer.shed(span, reason)),
    replaceSpentEpoch: epoch => buffer.replaceSpentEpoch(epoch)
  }
}
