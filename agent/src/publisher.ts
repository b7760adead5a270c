/**
 * Publishes what the buffer holds and deletes what the gateway has acked: the shell around core/delivery.ts, which decides. It has
 * the link, the timers and the log, and tries again where the disk refuses. It does not sample.
 */
import { type Ack, GRANTED_BATCH_READINGS_MIN, parseRate } from '@tidemark/protocol'
import type { Logger } from 'pino'
import { BatchBuilder } from './batch-builder.js'
import { BufferWriteError } from './buffer-error.js'
import type { Config } from './config.js'
import { Delivery, type DeliveryNote } from './core/delivery.js'
import { RateLimit } from './core/rate-limit.js'
import { crashPoint } from './crash-point.js'
import { GatewayLink } from './gateway-link.js'
import { APPEND_RETRY_PAUSE_MS, PUBACK_WAIT_MS_MAX, STOP_DRAIN_MS_MAX } from './limits.js'
import { monotonicMs } from './monotonic.js'
import type { DeviceSelf, GatewayClockListener } from './mqtt-connection.js'
import type { SqliteBuffer } from './sqlite-buffer.js'

export interface PublisherOptions {
  readonly config: Config
  readonly buffer: SqliteBuffer
  readonly log: Logger
  readonly agentVersion: string
  /** In [0, 1). */
  readonly random: () => number
  readonly clock: GatewayClockListener
  /** Asked anew for each birth. */
  readonly self: () => DeviceSelf
  /** Readings were deleted: there is room in the buffer. */
  readonly freed: () => void
  /** The gateway's configuration of this device came, undecoded. */
  readonly configured: (payload: Uint8Array) => void
  /** The agent cannot go on. */
  readonly failed: (error: unknown) => void
}

export class Publisher {
  private readonly delivery: Delivery
  private readonly rate = new RateLimit()
  private readonly link: GatewayLink
  private turn: NodeJS.Immediate | undefined
  private lateTurn: NodeJS.Timeout | undefined
  private wakeTimer: NodeJS.Timeout | undefined
  private retry: NodeJS.Timeout | undefined
  private stallCheck: NodeJS.Timeout | undefined
  private isStopping = false
  private isFailing = false
  private drained: (() => void) | null = null
  private streamEnded: (() => void) | null = null

  constructor(private readonly options: PublisherOptions) {
    const { buffer, config, agentVersion, clock, log, random, self, configured } = options
    const { publish, profile, deviceId, gateway } = config
    this.setRate('configured', publish.maxRate)
    this.delivery = new Delivery(
      {
        buffer,
        builder: new BatchBuilder(buffer, profile, publish.batchReadingsMax, publish.batchBytesMax),
        inFlightMax: publish.inFlightMax,
        rate: this.rate
      },
      {
        nowMs: monotonicMs,
        publish: (payload, acked) => this.publish(payload, acked),
        turnSoon: () => {
          this.turn ??= setImmediate(() => this.finishTurn())
        },
        turnWithin: delayMs => {
          this.lateTurn ??= setTimeout(() => this.finishTurn(), delayMs)
        },
        wakeIn: delayMs => this.wakeIn(delayMs),
        note: note => this.note(note)
      }
    )
    this.link = new GatewayLink(
      { connection: { deviceId, self, agentVersion, profiles: [profile], clock }, gateway, backoff: publish.backoff, log, random },
      {
        up: () => this.attempt(() => this.delivery.up()),
        down: mayBeRefusal => this.down(mayBeRefusal),
        failed: reason => buffer.noteError(reason),
        told: ack => this.told(ack),
        configured
      }
    )
  }

  start(): void {
    this.link.start()
    this.stallCheck = setInterval(() => this.checkStall(), PUBACK_WAIT_MS_MAX / 10)
  }

  /** Readings were stored. */
  wake(): void {
    this.attempt(() => this.delivery.wake())
  }

  /** Says anew what the device is, where there is a connection. */
  announce(): void {
    this.link.announce()
  }

  /** Sets or lifts (null) one of the rates that hold together. */
  setRate(name: 'configured' | 'granted', rate: Config['publish']['maxRate']): void {
    this.rate.set(name, rate, monotonicMs(), name === 'granted' ? GRANTED_BATCH_READINGS_MIN : 1)
  }

  /** Resolves once everything in the buffer is acked, and then the mark that says where the stream ends. */
  endStream(): Promise<void> {
    return new Promise(resolve => {
      this.streamEnded = resolve
      this.attempt(() => this.delivery.endStream())
    })
  }

  /** Waits a little for the PUBACKs of what is in flight, says goodbye and disconnects. What is unacked stays in the buffer. */
  async stop(): Promise<void> {
    this.isStopping = true
    this.delivery.hold()
    clearTimeout(this.retry)
    clearTimeout(this.wakeTimer)
    if (this.link.isLive && this.delivery.sent > 0) await this.drain()
    clearInterval(this.stallCheck)
    await this.link.leave()
    this.finishTurn()
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

  private publish(payload: Uint8Array, acked: () => void): void {
    this.link.publish(payload, () => {
      crashPoint('puback')
      acked()
    })
  }

  private finishTurn(): void {
    clearImmediate(this.turn)
    clearTimeout(this.lateTurn)
    this.turn = undefined
    this.lateTurn = undefined
    this.attempt(() => this.delivery.finishTurn())
    if (this.delivery.sent === 0) this.drained?.()
  }

  private down(mayBeRefusal: boolean): void {
    this.setRate('granted', null)
    this.attempt(() => this.delivery.down(mayBeRefusal))
    if (this.isStopping) this.drained?.()
  }

  private wakeIn(delayMs: number): void {
    clearTimeout(this.wakeTimer)
    if (!this.isStopping) this.wakeTimer = setTimeout(() => this.wake(), delayMs)
  }

  private note(note: DeliveryNote): void {
    const { buffer, log, freed } = this.options
    switch (note.note) {
      case 'acked':
        this.link.succeeded()
        return
      case 'deleted':
        crashPoint('delete')
        buffer.noteError(null)
        freed()
        return
      case 'stream-ended':
        this.streamEnded?.()
        this.streamEnded = null
        return
      case 'damaged': {
        const { after, last } = note.span
        log.error({ first_position: after + 1, last_position: last }, 'readings are damaged in the buffer: declared as shed (damaged)')
        return
      }
      case 'halving':
        log.warn({ readings: note.readings }, 'the gateway refuses this batch: halving it')
        return
      case 'refused':
        log.error({ epoch: note.epoch, seq: note.seq }, 'the gateway refuses this reading: declared as shed (refused)')
        freed()
        return
      default:
        note satisfies never
    }
  }

  private told({ epoch_spent, max_rate }: Ack): void {
    const { buffer, log } = this.options
    if (max_rate !== undefined) {
      this.setRate('granted', max_rate === null ? null : parseRate(max_rate))
      log.info({ max_rate }, 'the gateway says how fast to publish')
      this.wake()
    }
    if (epoch_spent === undefined) return
    this.attempt(() => {
      if (!this.delivery.epochSpent(epoch_spent)) return
      log.warn({ spent: epoch_spent, epoch: buffer.epoch }, 'the gateway has seen this epoch before: taking a new one')
      this.link.announce()
    })
  }

  /** A gateway that neither acks nor closes is left for a new connection. */
  private checkStall(): void {
    const sinceMs = this.delivery.waitsSinceMs
    if (sinceMs !== null && monotonicMs() - sinceMs >= PUBACK_WAIT_MS_MAX) this.link.drop(`no PUBACK for ${PUBACK_WAIT_MS_MAX / 1000} s`)
  }

  /** Does what may write the buffer. A disk that refuses is tried again until it takes it: what was not written is not forgotten. */
  private attempt(work: () => void): void {
    const { failed, log } = this.options
    try {
      work()
      if (!this.delivery.isDeleting) this.isFailing = false
    } catch (error) {
      if (!(error instanceof BufferWriteError) || !error.passing) {
        failed(error)
        return
      }
      if (!this.isFailing) log.warn({ error: error.message }, 'cannot write the buffer: trying again until it works')
      this.isFailing = true
      clearTimeout(this.retry)
      if (!this.isStopping) this.retry = setTimeout(() => this.finishTurn(), APPEND_RETRY_PAUSE_MS)
    }
  }
}
