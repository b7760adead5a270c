/**
 * Gives live readings their event times. Reads the clocks and asks the kernel; whether to believe them is decided in
 * core/clock-trust.ts, how event time goes on in core/event-clock.ts, what becomes of held readings in core/rebase.ts.
 *
 * While no clock is to be believed, readings go into the buffer with monotonic times and are held there. As soon as one is, they are
 * rebased, in one commit, before the next reading is stored.
 */
import type { ClockQuality } from '@tidemark/protocol'
import type { Logger } from 'pino'
import { type ClockEvidence, type ClockVerdict, type GatewayTime, judgeClock } from './core/clock-trust.js'
import { type EventClock, resumeClock, tick } from './core/event-clock.js'
import { rebaseHeld } from './core/rebase.js'
import {
  GATEWAY_ROUND_TRIP_MS_MAX,
  GATEWAY_TIME_MS_MAX,
  HELD_CHECK_MS,
  KERNEL_CLOCK_SYNCED_MS,
  KERNEL_CLOCK_UNSYNCED_MS
} from './limits.js'
import type { SqliteBuffer } from './sqlite-buffer.js'

export interface AgentClockOptions {
  readonly buffer: SqliteBuffer
  readonly log: Logger
  /** Names this boot of the machine: monotonic times of another mean nothing. */
  readonly bootId: string
  readonly monotonicMs: () => number
  readonly wallMs: () => number
  readonly askKernel: () => Promise<ClockEvidence['kernel']>
  /** Held readings may be published now. */
  readonly rebased: () => void
  readonly failed: (error: unknown) => void
}

/** What `status` shows of the clock. */
export interface ClockReport {
  /** `held`: it is not set, and readings wait for it. */
  readonly state: ClockQuality | 'held'
  readonly because: ClockVerdict['because'] | 'not-set'
  readonly kernel: ClockEvidence['kernel']
  /** How far the gateway's clock is ahead of this machine's, in ms; null where it was not told. */
  readonly gateway_ahead_ms: number | null
}

export class AgentClock {
  private eventClock: EventClock | null
  private kernel: ClockEvidence['kernel'] = 'unknown'
  private gateway: GatewayTime | null = null
  private connectedMs: number | null = null
  private believedOffsetMs: number | null = null
  /** Monotonic time of the last reading that was held in this life. */
  private lastHeldMs = 0
  private kernelCheck: NodeJS.Timeout | undefined
  private heldCheck: NodeJS.Timeout | undefined
  private isStopped = false

  constructor(private readonly options: AgentClockOptions) {
    const { eventTimeMs } = options.buffer.state
    this.eventClock = eventTimeMs === null ? null : resumeClock(eventTimeMs)
  }

  /** The event time to go on from after a restart; null while there is none. */
  get eventTimeMs(): number | null {
    return this.eventClock?.eventTimeMs ?? null
  }

  /** Asks the kernel, now and then again and again; to be awaited before the first reading. */
  async start(): Promise<void> {
    const kernel = await this.options.askKernel()
    if (this.isStopped) return
    if (kernel !== this.kernel) this.options.log.info({ kernel }, 'what the kernel says of its clock')
    this.kernel = kernel
    clearTimeout(this.kernelCheck)
    if (this.options.buffer.clocks.isHolding) this.watchHeld()
    const nextMs = this.kernel === 'synced' ? KERNEL_CLOCK_SYNCED_MS : KERNEL_CLOCK_UNSYNCED_MS
    this.kernelCheck = setTimeout(() => void this.start(), nextMs).unref()
  }

  stop(): void {
    this.isStopped = true
    clearTimeout(this.kernelCheck)
    clearTimeout(this.heldCheck)
  }

  /**
   * The time to store for a live reading that was measured at a monotonic time: its event time, or the monotonic time itself while
   * readings are held; whole ms. May begin a new epoch in the buffer.
   */
  stamp(measuredMs: number): { storedMs: number; isHeld: boolean } {
    const verdict = this.judge()
    if (verdict === null || !this.release(verdict)) return { storedMs: this.hold(measuredMs), isHeld: true }
    const { buffer, log } = this.options
    const moment = tick(this.eventClock, measuredMs, measuredMs + verdict.offsetMs)
    const { change } = moment
    if (change !== null) log.warn({ by_ms: Math.round(change.byMs), because: verdict.because }, CHANGES[change.kind])
    if (moment.newEpoch) {
      log.warn({ was: this.eventClock?.eventTimeMs, now: moment.eventTimeMs }, 'the clock was set back: taking a new epoch')
      buffer.takeNewEpoch()
    }
    this.eventClock = moment.clock
    this.mark(verdict.quality, verdict.because)
    return { storedMs: moment.eventTimeMs, isHeld: false }
  }

  /** The next readings are replayed: their times are their own. */
  replay(): void {
    this.mark('synced', 'replayed')
  }

  /** The connection to the gateway is up. */
  connected(): void {
    this.connectedMs = this.options.monotonicMs()
  }

  disconnected(): void {
    this.connectedMs = null
  }

  /** The gateway said its time. Monotonic ms: when it was asked, and when the answer came. */
  heard(timeMs: number, askedMs: number, receivedMs: number): void {
    const roundTripMs = receivedMs - askedMs
    if (roundTripMs > GATEWAY_ROUND_TRIP_MS_MAX) return
    this.gateway = { offsetMs: timeMs - (askedMs + receivedMs) / 2, toleranceMs: roundTripMs / 2 }
    this.options.log.debug({ ahead_ms: this.gatewayAheadMs() }, 'the gateway told its time')
  }

  report(): ClockReport {
    const verdict = this.judge()
    return {
      state: verdict?.quality ?? 'held',
      because: verdict?.because ?? 'not-set',
      kernel: this.kernel,
      gateway_ahead_ms: this.gatewayAheadMs()
    }
  }

  private gatewayAheadMs(): number | null {
    const { monotonicMs, wallMs } = this.options
    return this.gateway === null ? null : Math.round(this.gateway.offsetMs - (wallMs() - monotonicMs()))
  }

  private judge(): ClockVerdict | null {
    const { monotonicMs, wallMs } = this.options
    const nowMs = monotonicMs()
    const isSilent = this.connectedMs !== null && nowMs - this.connectedMs > GATEWAY_TIME_MS_MAX
    return judgeClock({
      wallMs: wallMs(),
      monotonicMs: nowMs,
      kernel: this.kernel,
      gateway: this.gateway ?? (isSilent ? 'silent' : 'unknown'),
      believedOffsetMs: this.believedOffsetMs
    })
  }

  private hold(measuredMs: number): number {
    const { buffer, log, bootId, monotonicMs, wallMs } = this.options
    const { kind, bootId: heldBoot } = buffer.clocks.current
    if (kind !== 'held' || heldBoot !== bootId) {
      const offsetMs = Math.floor(wallMs() - monotonicMs())
      buffer.clocks.begin({ kind: 'held', quality: 'estimated', bootId, offsetMs, floorMs: 0 })
      log.warn({ clock: new Date(wallMs()).toISOString(), kernel: this.kernel }, 'the clock is not set: readings are held until it is')
      this.watchHeld()
    }
    this.lastHeldMs = Math.max(this.lastHeldMs, Math.floor(measuredMs))
    return this.lastHeldMs
  }

  private watchHeld(): void {
    clearTimeout(this.heldCheck)
    if (!this.isStopped) this.heldCheck = setTimeout(() => this.checkHeld(), HELD_CHECK_MS)
  }

  private checkHeld(): void {
    const verdict = this.judge()
    try {
      if (verdict !== null) this.release(verdict)
    } catch (error) {
      this.options.failed(error)
      return
    }
    if (this.options.buffer.clocks.isHolding) this.watchHeld()
  }

  /** Rebases what is held. False where the disk refuses it now: then it is held on, and new readings with it. */
  private release({ offsetMs, quality, because }: ClockVerdict): boolean {
    const { buffer, log, bootId, rebased } = this.options
    if (!buffer.clocks.isHolding) {
      this.believedOffsetMs = offsetMs
      return true
    }
    const spans = buffer.clocks.heldSpans()
    const result = rebaseHeld(spans, bootId, offsetMs, buffer.state.eventTimeMs)
    const last = result[result.length - 1]
    const lastSpan = spans[spans.length - 1]
    const lastMonotonicMs = last.isExact ? Math.max(lastSpan.lastMonotonicMs, this.lastHeldMs) : lastSpan.lastMonotonicMs
    const eventTimeMs = Math.max(last.floorMs, lastMonotonicMs + last.offsetMs)
    if (!buffer.clocks.rebase(result, quality, eventTimeMs)) return false
    if (result.some(({ floorMs, offsetMs }, i) => spans[i].firstMonotonicMs + offsetMs < floorMs))
      log.warn('held readings would lie before earlier ones: they get the event time of the last of those')
    this.eventClock = last.isExact ? { eventTimeMs, monotonicMs: lastMonotonicMs, offsetMs, isSlewing: false } : resumeClock(eventTimeMs)
    this.believedOffsetMs = offsetMs
    log.info({ boots: result.length, last: new Date(eventTimeMs).toISOString(), because }, 'the clock is set: held readings are rebased')
    rebased()
    return true
  }

  /** Notes where the quality of event times changes. */
  private mark(quality: ClockQuality, because: string): void {
    const { buffer, log } = this.options
    const { kind, quality: before } = buffer.clocks.current
    if (kind === 'set' && before === quality) return
    buffer.clocks.begin({ kind: 'set', quality, bootId: '', offsetMs: 0, floorMs: 0 })
    log.info({ clock: quality, because }, quality === 'synced' ? 'event times come from a synced clock' : 'event times are estimates')
  }
}

const CHANGES = {
  step: 'the clock was set: event times step with it',
  slew: 'the clock was set back: event times go on, slower, until it has caught up',
  'caught-up': 'the clock has caught up with event times'
} as const
