/**
 * Publishes what the buffer holds, oldest first, and deletes it once the gateway has acked it.
 *
 * - Only committed readings are published; only acked ones (or shed ones, on the record) are deleted.
 * - At most `inFlightMax` batches are unacked. When a connection is lost, what was unacked goes out again in its order.
 * - Tombstones ride in every batch of their epoch until one that carried them is acked.
 * It does not sample.
 */
import type { Ack } from '@tidemark/protocol'
import type { Logger } from 'pino'
import { BatchBuilder, type BuiltBatch } from './batch-builder.js'
import { BufferWriteError } from './buffer-error.js'
import type { Config } from './config.js'
import { type Flight, InFlightWindow } from './core/in-flight.js'
import { RefusalTracker } from './core/refusal.js'
import { crashPoint } from './crash-point.js'
import { APPEND_RETRY_MS_MAX, APPEND_RETRY_PAUSE_MS, PUBACK_WAIT_MS_MAX, STOP_DRAIN_MS_MAX } from './limits.js'
import type { GatewayClockListener } from './mqtt-connection.js'
import { MqttLink } from './mqtt-link.js'
import type { SqliteBuffer } from './sqlite-buffer.js'
import type { CarriedTombstone } from './tombstone-store.js'

/** What is known of a batch in flight beside its span. */
interface Cargo {
  readonly carried: readonly CarriedTombstone[]
  /** Epoch of a batch without readings; null for others. */
  readonly markOf: number | null
  readonly isEndOfStream: boolean
  /** Monotonic ms. */
  readonly sentMs: number
}

const NOT_SENT: Cargo = { carried: [], markOf: null, isEndOfStream: false, sentMs: 0 }

export interface PublisherOptions {
  readonly config: Config
  readonly buffer: SqliteBuffer
  readonly log: Logger
  readonly agentVersion: string
  /** In [0, 1). */
  readonly random: () => number
  readonly clock: GatewayClockListener
  /** Readings were deleted: there is room in the buffer. */
  readonly freed: () => void
  /** The agent cannot go on. */
  readonly failed: (error: unknown) => void
}

export class MqttPublisher {
  private readonly window: InFlightWindow<Cargo>
  private readonly refusals = new RefusalTracker()
  private readonly builder: BatchBuilder
  private readonly link: MqttLink
  /** The last position that was taken into the window. */
  private taken: number
  /** Acked, and to be deleted in one commit at the end of this turn. */
  private acked: Flight<Cargo>[] = []
  private deletion: NodeJS.Immediate | undefined
  private probeSentMs: number | null = null
  private isStalled = false
  private isStopping = false
  private failingSinceMs: number | null = null
  private retry: NodeJS.Timeout | undefined
  private stallCheck: NodeJS.Timeout | undefined
  private drained: (() => void) | null = null
  private streamEnded: (() => void) | null = null

  constructor(private readonly options: PublisherOptions) {
    const { buffer, config, agentVersion, clock, log, random } = options
    const { publish, profile } = config
    this.window = new InFlightWindow(publish.inFlightMax)
    this.builder = new BatchBuilder(buffer, profile, publish.batchReadingsMax, publish.batchBytesMax)
    this.taken = buffer.state.settledPosition
    this.link = new MqttLink(
      {
        connection: {
          url: config.gatewayUrl,
          deviceId: config.deviceId,
          epoch: () => buffer.epoch,
          agentVersion,
          profiles: [profile],
          clock
        },
        backoff: publish.backoff,
        log,
        random
      },
      { up: () => this.pump(), down: reason => this.lost(reason), told: ack => this.told(ack) }
    )
  }

  start(): void {
    this.link.connect()
    this.stallCheck = setInterval(() => this.checkStall(), PUBACK_WAIT_MS_MAX / 10)
  }

  /** Readings were committed. */
  wake(): void {
    this.pump()
  }

  /** Resolves once everything in the buffer is acked, and then the mark that says where the stream ends. */
  endStream(): Promise<void> {
    return new Promise(resolve => {
      this.streamEnded = resolve
      this.pump()
    })
  }

  /** Waits a little for the PUBACKs of what is in flight, says goodbye and disconnects. What is unacked stays in the buffer. */
  async stop(): Promise<void> {
    this.isStopping = true
    clearTimeout(this.retry)
    if (this.link.live !== null && this.window.sent > 0) await this.drain()
    clearInterval(this.stallCheck)
    await this.link.leave()
    this.delete()
  }

  private drain(): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, STOP_DRAIN_MS_MAX)
      this.drained = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  private pump(): void {
    if (this.link.live === null || this.isStopping) return
    try {
      this.sendAll()
      if (this.acked.length === 0) this.failingSinceMs = null
    } catch (error) {
      this.writeFailed(error)
    }
  }

  private sendAll(): void {
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

  /** Takes the next batch from the buffer; false where there is none to take now. */
  private sendNext(): boolean {
    const { buffer, log } = this.options
    const built = this.builder.next(this.taken)
    if (built === null) return false
    if ('damaged' in built) {
      if (this.window.size > 0 || this.acked.length > 0) return false // only what is oldest can be shed
      const { damaged } = built
      log.error(
        { first_position: damaged.after + 1, last_position: damaged.last },
        'readings are damaged in the buffer: declared as shed (damaged)'
      )
      buffer.shed(damaged, 'damaged')
      this.taken = Math.max(damaged.last, buffer.state.settledPosition)
      return true
    }
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

  /** When nothing else is to be sent: tombstones that are not declared yet, then the end of the stream. */
  private sendMark(): void {
    const { buffer } = this.options
    const isEnding = this.streamEnded !== null && buffer.state.held === 0
    const undeclared = buffer.epochOfTombstones()
    const epoch = undeclared ?? buffer.epoch
    let isEndOfStream = isEnding && epoch === buffer.epoch
    if (isEndOfStream && buffer.facts().highestSampledSeq === 0) this.finishStream() // nothing was ever sampled
    if (undeclared === null && (!isEndOfStream || this.streamEnded === null)) return
    let built = this.builder.mark(this.taken, epoch, isEndOfStream)
    if (isEndOfStream && built.moreTombstones) {
      isEndOfStream = false
      built = this.builder.mark(this.taken, epoch, false)
    }
    const flight = this.window.add(built.span, NOT_SENT)
    this.transmit(flight, built, epoch, isEndOfStream)
  }

  private transmit(flight: Flight<Cargo>, built: BuiltBatch, markOf: number | null, isEndOfStream: boolean): void {
    const { buffer } = this.options
    buffer.willPublish(built.position)
    this.window.send(flight.id, { carried: built.carried, markOf, isEndOfStream, sentMs: performance.now() })
    this.link.live?.publish(built.payload, () => this.puback(flight.id))
  }

  private probe(): void {
    if (this.probeSentMs !== null) return
    this.probeSentMs = performance.now()
    const { payload } = this.builder.mark(this.taken, this.options.buffer.epoch, false)
    this.link.live?.publish(payload, () => {
      this.probeSentMs = null
      this.link.succeeded()
      this.refusals.probeAcked()
      this.pump()
    })
  }

  private puback(id: number): void {
    crashPoint('puback')
    this.link.succeeded()
    this.refusals.acked(id)
    this.deleteLater(this.window.ack(id))
  }

  private deleteLater(settled: readonly Flight<Cargo>[]): void {
    this.acked.push(...settled)
    this.deletion ??= setImmediate(() => this.delete())
  }

  /** Deletes what was acked in this turn of the event loop, in one commit. */
  private delete(): void {
    clearImmediate(this.deletion)
    this.deletion = undefined
    const flights = this.acked
    if (flights.length > 0) {
      try {
        const count = flights.reduce((sum, flight) => sum + flight.span.count, 0)
        const carried = flights.flatMap(flight => flight.cargo.carried)
        this.options.buffer.settle(flights[flights.length - 1].span.last, count, carried, Date.now())
      } catch (error) {
        this.writeFailed(error)
        return
      }
      this.acked = []
      crashPoint('delete')
      this.options.buffer.noteError(null)
      this.options.freed()
    }
    if (flights.some(flight => flight.cargo.isEndOfStream)) this.finishStream()
    if (this.window.sent === 0) this.drained?.()
    this.pump()
  }

  private finishStream(): void {
    this.streamEnded?.()
    this.streamEnded = null
  }

  private lost(reason: string): void {
    const { buffer } = this.options
    const oldest = this.window.oldestSent()
    // A batch without readings cannot be halved, and one that we gave up on was not refused.
    const tried = oldest !== null && oldest.span.count > 0 && !this.isStalled ? { id: oldest.id, count: oldest.span.count } : null
    this.window.lose()
    this.probeSentMs = null
    this.isStalled = false
    buffer.noteError(reason)
    const verdict = this.refusals.lost(tried)
    if (tried !== null && verdict !== 'send-again') this.giveWay(tried.id, verdict)
    if (this.isStopping) this.drained?.()
  }

  /** Halves a batch that the gateway refuses, or sheds its only reading. */
  private giveWay(id: number, verdict: 'halve' | 'shed'): void {
    const { buffer, log } = this.options
    const flight = this.window.all().find(candidate => candidate.id === id)!
    const { span } = flight
    if (verdict === 'halve') {
      const { position, count } = this.builder.middle(span)
      log.warn({ readings: span.count }, 'the gateway refuses this batch: halving it')
      this.window.split(id, position, count, NOT_SENT)
      this.refusals.begin(id)
      return
    }
    try {
      this.delete() // everything older is acked, and leaves the buffer first
      const { epoch, base } = buffer.facts(span.last)
      buffer.shed(span, 'refused')
      log.error({ epoch, seq: span.last - base }, 'the gateway refuses this reading: declared as shed (refused)')
    } catch (error) {
      this.writeFailed(error)
      return
    }
    this.deleteLater(this.window.remove(id)) // what was acked behind it
    this.refusals.clear()
    this.options.freed()
  }

  private told(ack: Ack): void {
    if (ack.epoch_spent === undefined) return
    try {
      if (!this.options.buffer.replaceSpentEpoch(ack.epoch_spent)) return
    } catch (error) {
      this.writeFailed(error)
      return
    }
    this.options.log.warn(
      { spent: ack.epoch_spent, epoch: this.options.buffer.epoch },
      'the gateway has seen this epoch before: taking a new one'
    )
    this.link.live?.announce()
    this.pump()
  }

  /** A gateway that neither acks nor closes is left for a new connection. */
  private checkStall(): void {
    const sentMs = this.probeSentMs ?? this.window.oldestSent()?.cargo.sentMs ?? null
    if (sentMs === null || performance.now() - sentMs < PUBACK_WAIT_MS_MAX) return
    this.isStalled = true
    this.link.drop(`no PUBACK for ${PUBACK_WAIT_MS_MAX / 1000} s`)
  }

  /** Tries again for a while where that may help; what could not be written changes nothing in memory. */
  private writeFailed(error: unknown): void {
    const { failed, log } = this.options
    const nowMs = performance.now()
    this.failingSinceMs ??= nowMs
    if (!(error instanceof BufferWriteError) || !error.passing || nowMs - this.failingSinceMs > APPEND_RETRY_MS_MAX) {
      failed(error)
      return
    }
    log.warn({ error: error.message }, 'cannot write the buffer: trying again')
    clearTimeout(this.retry)
    if (!this.isStopping) this.retry = setTimeout(() => this.delete(), APPEND_RETRY_PAUSE_MS)
  }
}
