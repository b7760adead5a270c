/**
 * A model of the agent's publisher: the same decisions in the same order as agent/src/mqtt-publisher.ts, made by the agent's own
 * window, refusal tracker, batch builder and backoff, over a simulated connection and clock.
 */
import { BatchBuilder, type BuiltBatch } from '@tidemark/agent/dist/batch-builder.js'
import { fullJitterMs } from '@tidemark/agent/dist/core/backoff.js'
import { type Flight, InFlightWindow } from '@tidemark/agent/dist/core/in-flight.js'
import { RefusalTracker } from '@tidemark/agent/dist/core/refusal.js'
import { BATCH_BYTES_MAX, PUBACK_WAIT_MS_MAX } from '@tidemark/agent/dist/limits.js'
import type { CarriedTombstone } from '@tidemark/agent/dist/tombstone-store.js'
import type { Profile } from '@tidemark/protocol'
import type { HeldReading, SimulatedBuffer } from './buffer.js'
import type { Draw } from './draw.js'
import type { Connection, Network } from './network.js'
import type { Plant } from './plants.js'
import type { AgentScenario } from './scenario.js'
import type { Life, Scheduler } from './scheduler.js'

interface Cargo {
  readonly carried: readonly CarriedTombstone[]
  readonly markOf: number | null
  readonly isEndOfStream: boolean
  readonly sentMs: number
}

const NOT_SENT: Cargo = { carried: [], markOf: null, isEndOfStream: false, sentMs: 0 }
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
  private readonly window: InFlightWindow<Cargo>
  private readonly refusals = new RefusalTracker()
  private readonly builder: BatchBuilder
  private connection: Connection | null = null
  private isUp = false
  private attempt = 0
  private taken: number
  private acked: Flight<Cargo>[] = []
  private deletionIsDue = false
  private probeSentMs: number | null = null
  private isStalled = false
  private streamEnds = false
  hasEnded = false

  constructor(private readonly options: PublisherOptions) {
    const { scenario, buffer, profile } = options
    this.window = new InFlightWindow(scenario.inFlightMax)
    this.builder = new BatchBuilder(buffer, profile, scenario.batchReadingsMax, BATCH_BYTES_MAX)
    this.taken = buffer.disk.settledPosition
  }

  start(): void {
    this.connect()
    this.checkStall()
  }

  wake(): void {
    this.pump()
  }

  /** The process is gone: what it handed to its socket may still arrive. */
  abandon(): void {
    this.connection?.drop('killed')
  }

  endStream(): void {
    this.streamEnds = true
    this.pump()
  }

  private connect(): void {
    const { network, life, scenario } = this.options
    const connection = network.connect(scenario.deviceId, life, {
      up: () => {
        this.isUp = true
        this.pump()
      },
      down: () => {
        if (this.connection === connection) this.lost()
      },
      told: epochSpent => this.told(epochSpent)
    })
    this.connection = connection
  }

  private pump(): void {
    if (!this.isUp) return
    const admission = this.refusals.admission()
    if (admission.mode === 'probe') {
      this.probe()
      return
    }
    if (admission.mode === 'only') {
      const suspect = this.window.all().find(flight => flight.id === admission.id)
      if (suspect?.state === 'waiting') this.send(suspect)
      return
    }
    for (;;) {
      const waiting = this.window.oldestWaiting()
      if (waiting !== null) this.send(waiting)
      else if (!this.window.hasRoom || !this.sendNext()) break
    }
    if (this.window.size === 0 && this.acked.length === 0) this.sendMark()
  }

  private sendNext(): boolean {
    const built = this.builder.next(this.taken)
    if (built === null) return false
    if ('damaged' in built) throw new Error('the simulated buffer is never damaged')
    const flight = this.window.add(built.span, NOT_SENT)
    this.taken = built.span.last
    this.transmit(flight, built, null, false)
    return true
  }

  private send(flight: Flight<Cargo>): void {
    const { markOf, isEndOfStream } = flight.cargo
    const built = markOf === null ? this.builder.again(flight.span) : this.builder.mark(flight.span.after, markOf, isEndOfStream)
    this.transmit(flight, built, markOf, isEndOfStream)
  }

  private sendMark(): void {
    const { buffer } = this.options
    const isEnding = this.streamEnds && !this.hasEnded && buffer.held === 0
    const undeclared = buffer.epochOfTombstones()
    const epoch = undeclared ?? buffer.epoch
    let isEndOfStream = isEnding && epoch === buffer.epoch
    if (isEndOfStream && buffer.facts().highestSampledSeq === 0) this.hasEnded = true
    if (undeclared === null && (!isEndOfStream || this.hasEnded)) return
    let built = this.builder.mark(this.taken, epoch, isEndOfStream)
    if (isEndOfStream && built.moreTombstones) {
      isEndOfStream = false
      built = this.builder.mark(this.taken, epoch, false)
    }
    this.transmit(this.window.add(built.span, NOT_SENT), built, epoch, isEndOfStream)
  }

  private transmit(flight: Flight<Cargo>, built: BuiltBatch, markOf: number | null, isEndOfStream: boolean): void {
    const { buffer, scheduler, nextMessage, plant, crashPoint } = this.options
    buffer.willPublish(built.position)
    this.window.send(flight.id, { carried: built.carried, markOf, isEndOfStream, sentMs: scheduler.nowMs })
    this.connection?.publish({ kind: 'batch', payload: built.payload, message: nextMessage(), acked: () => this.puback(flight.id) })
    crashPoint('publish')
    if (plant === 'delete-before-puback') scheduler.after(0, this.options.life, 'planted delete', () => this.puback(flight.id))
  }

  private probe(): void {
    if (this.probeSentMs !== null) return
    const { scheduler, buffer, nextMessage } = this.options
    this.probeSentMs = scheduler.nowMs
    const { payload } = this.builder.mark(this.taken, buffer.epoch, false)
    const acked = () => {
      this.probeSentMs = null
      this.attempt = 0
      this.refusals.probeAcked()
      this.pump()
    }
    this.connection?.publish({ kind: 'batch', payload, message: nextMessage(), acked })
  }

  private puback(id: number): void {
    this.options.crashPoint('puback')
    this.attempt = 0
    this.refusals.acked(id)
    this.deleteLater(this.window.ack(id))
  }

  private deleteLater(settled: readonly Flight<Cargo>[]): void {
    const { scheduler, life } = this.options
    this.acked.push(...settled)
    if (this.deletionIsDue) return
    this.deletionIsDue = true
    scheduler.after(0, life, 'delete', () => this.delete())
  }

  private delete(): void {
    this.deletionIsDue = false
    const flights = this.acked
    if (flights.length > 0) {
      const carried = flights.flatMap(flight => flight.cargo.carried)
      this.options.settled(this.options.buffer.settle(flights[flights.length - 1].span.last, carried))
      this.acked = []
      this.options.crashPoint('delete')
    }
    if (flights.some(flight => flight.cargo.isEndOfStream)) this.hasEnded = true
    this.pump()
  }

  private lost(): void {
    const { scheduler, life, draw } = this.options
    const oldest = this.window.oldestSent()
    const tried = oldest !== null && oldest.span.count > 0 && !this.isStalled ? { id: oldest.id, count: oldest.span.count } : null
    this.connection = null
    this.isUp = false
    this.window.lose()
    this.probeSentMs = null
    this.isStalled = false
    const verdict = this.refusals.lost(tried)
    if (tried !== null && verdict !== 'send-again') this.giveWay(tried.id, verdict)
    scheduler.after(fullJitterMs(this.attempt++, BACKOFF, draw.unit()), life, 'reconnect', () => this.connect())
  }

  private giveWay(id: number, verdict: 'halve' | 'shed'): void {
    const { span } = this.window.all().find(candidate => candidate.id === id)!
    if (verdict === 'halve') {
      const { position, count } = this.builder.middle(span)
      this.window.split(id, position, count, NOT_SENT)
      this.refusals.begin(id)
      return
    }
    this.delete()
    this.options.shed(this.options.buffer.shed(span, 'refused'))
    this.deleteLater(this.window.remove(id))
    this.refusals.clear()
  }

  private told(epochSpent: number): void {
    if (this.options.buffer.replaceSpentEpoch(epochSpent)) this.pump()
  }

  private checkStall(): void {
    const { scheduler, life } = this.options
    const sentMs = this.probeSentMs ?? this.window.oldestSent()?.cargo.sentMs ?? null
    if (sentMs !== null && scheduler.nowMs - sentMs >= PUBACK_WAIT_MS_MAX) {
      this.isStalled = true
      this.connection?.drop('no PUBACK')
    }
    scheduler.after(PUBACK_WAIT_MS_MAX / 10, life, 'stall check', () => this.checkStall())
  }
}
