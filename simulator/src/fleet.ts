/**
 * Plays a share of a fleet in this process: its devices over their connections, in an open loop. A reading is due by the clock, whatever
 * the broker does, and its latency counts from then. One timer drives everything: it dials, samples, and watches for silence.
 *
 *   connecting -> ready -> sampling -> draining -> done          `stop` leads to draining from any
 *
 * It waits, ready, until it is told when sampling begins: so all processes of a fleet begin together.
 */
import { performance } from 'node:perf_hooks'
import { fatalError } from './broker.js'
import { type BrokerAddress, Connection, type ConnectionEvents, type WireBytes } from './connection.js'
import { deviceId } from './device.js'
import { Dialer } from './dialer.js'
import { type Course, Dispatch, type Sent } from './dispatch.js'
import type { FleetOptions, FleetPhase } from './fleet-options.js'
import { planOf } from './fleet-plan.js'
import { Latency } from './latency.js'
import {
  BACKLOG_MS_PER_TICK,
  CONNECT_MS_MIN,
  CONNECT_PER_S,
  DRAIN_MS_MAX,
  GATHERED_PER_TICK,
  KEEPALIVE_S,
  LEAVE_MS_MAX,
  LEAVE_PER_S,
  PROGRESS_MS,
  TICK_MS
} from './limits.js'
import { devicesOf, dueMs, placeOf, type Share } from './schedule.js'
import { type Counts, noCounts } from './tally.js'

/** Where a share is. */
export interface Telling {
  readonly phase: FleetPhase
  /** Of the sampling, in [0, 1]. */
  readonly share: number
  readonly connected: number
  readonly counts: Counts
}

/** What a share did. */
export interface ShareReport {
  readonly counts: Counts
  /** The highest seq of each of its devices. */
  readonly seqs: readonly number[]
  readonly connectedAtStart: number
  readonly sampledMs: number
  /** From the end of the sampling until all was acked and said. */
  readonly drainMs: number
}

/** Who a fleet works for. */
export interface FleetHost {
  /** All are connected, or the rest has had more than enough time: call `begin`. */
  onReady(): void
  /** Once a second, and at the end. `live` and `backlog`: latencies since the last telling; they are used again. */
  onTelling(telling: Telling, live: Latency, backlog: Latency): void
  onReport(report: ShareReport): void
  onFailure(error: Error): void
}

export class Fleet implements ConnectionEvents<Sent> {
  readonly wire: WireBytes = { sent: 0, received: 0 }
  private readonly counts = noCounts()
  private readonly connections: Connection<Sent>[] = []
  private readonly dispatch: Dispatch
  private readonly dialer: Dialer
  private readonly live = new Latency()
  private readonly backlog = new Latency()
  private readonly course: Course
  private readonly connectPerS: number
  private readonly beganMs = performance.now()
  private phase: FleetPhase = 'connecting'
  private isReady = false
  private stoppedMs = 0
  private connectedAtStart = 0
  private over = 0
  private readonly never = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  private watched = 0
  /** While draining: connections from this one on have not been told to leave. */
  private leaving = 0
  private toldMs = this.beganMs
  private timer: NodeJS.Timeout | undefined

  /** `options.connections` and `options.connectPerS` are those of all shares together. Throws a UsageError. */
  constructor(
    private readonly options: FleetOptions,
    share: Share,
    private readonly addresses: readonly BrokerAddress[],
    private readonly host: FleetHost
  ) {
    const plan = planOf(options, Date.now())
    this.course = { plan, share, isDraining: false, startedMs: 0, sampled: 0, returnedMs: null }
    const devices = devicesOf(plan, share)
    const count = Math.min(devices, Math.max(1, Math.round((options.connections ?? plan.devices) / share.of)))
    const isShared = options.connections !== undefined && options.connections < plan.devices
    for (let c = 0; c < (isShared ? count : devices); c++) {
      const place = placeOf(share, c)
      this.connections.push(new Connection(c, isShared ? `sim-relay-${place}` : deviceId(plan.firstDevice + place), this))
    }
    const { readingsPerMessage = 1, format = 'batch' } = options
    const latencies = { live: this.live, backlog: this.backlog }
    this.dispatch = new Dispatch(this.course, { readingsPerMessage, format }, this.connections, this.counts, latencies)
    this.connectPerS = Math.max(1, (options.connectPerS ?? CONNECT_PER_S) / share.of)
    this.dialer = new Dialer(this.connections.length, this.connectPerS, plan.seed + share.index, this.beganMs)
  }

  start(): void {
    this.timer = setInterval(() => this.tick(performance.now()), TICK_MS)
  }

  /** Sampling begins at `startMs` (Unix ms, may be a little ahead), which is the start of the plan unless the options say otherwise. */
  begin(startMs: number): void {
    if (this.phase !== 'connecting') return
    this.course.plan = planOf(this.options, startMs)
    this.course.startedMs = performance.now() + startMs - Date.now()
    this.connectedAtStart = this.dialer.open
    this.phase = 'sampling'
  }

  /** Stops sampling, drains and ends as if its time were over. */
  stop(): void {
    if (this.phase === 'draining' || this.phase === 'done') return
    this.stoppedMs = performance.now()
    if (this.phase === 'sampling') this.bringBack(this.stoppedMs)
    this.phase = 'draining'
    this.course.isDraining = true
  }

  onOpen(connection: Connection<Sent>, redelivered: number): void {
    this.dialer.opened(connection.index)
    this.counts.redelivered += redelivered
    this.dispatch.pumpAll(connection)
  }

  onAcked(connection: Connection<Sent>, sent: Sent, nowMs: number): void {
    this.dialer.proved(connection.index)
    this.dispatch.acked(connection, sent, nowMs)
  }

  onDrain(connection: Connection<Sent>): void {
    this.dispatch.feed(connection)
  }

  onClosed(connection: Connection<Sent>, cause: Error | null): void {
    const wasOpen = this.dialer.closed(connection.index)
    if (this.phase === 'done') return
    if (cause === null) {
      this.endConnection()
      return
    }
    const fatal = fatalError(cause, this.addressOf(connection.index), this.dialer.hasEverOpened)
    if (fatal !== null) {
      this.abandon()
      this.host.onFailure(fatal)
      return
    }
    if (wasOpen) this.counts.disconnects++
    this.dialer.retry(connection.index)
  }

  /** Ends at once, without a word. */
  abandon(): void {
    this.phase = 'done'
    clearInterval(this.timer)
    for (const connection of this.connections) connection.drop(new Error('the fleet has ended'))
  }

  private tick(nowMs: number): void {
    const { sampled } = this.course
    this.dialer.advance(nowMs, this.dial)
    if (this.phase === 'connecting') this.readyWhenConnected(nowMs)
    if (this.phase === 'sampling') this.sample(nowMs)
    if (this.phase === 'draining') this.leave(nowMs)
    this.dispatch.sendBacklogs(BACKLOG_MS_PER_TICK)
    if (this.phase === 'draining' && nowMs - this.stoppedMs > (this.options.drainMsMax ?? DRAIN_MS_MAX)) this.finish()
    if (this.phase === 'done') return
    this.watchSome(nowMs)
    if (nowMs - this.toldMs >= PROGRESS_MS) this.tell(nowMs)
    if (this.course.sampled - sampled >= GATHERED_PER_TICK) setImmediate(() => this.sleepUntil(nowMs + TICK_MS))
  }

  /** PUBACKs gather in the sockets meanwhile: a process that woke up for each would spend a sixth of its time on that. */
  private sleepUntil(ms: number): void {
    const restMs = ms - performance.now()
    if (restMs > 0) Atomics.wait(this.never, 0, 0, restMs)
  }

  private readonly dial = (c: number): boolean => {
    const connection = this.connections[c]
    if (this.isAway(c) || (this.phase === 'draining' && this.dispatch.isOver(connection))) return false
    connection.open(this.addressOf(c))
    return true
  }

  private addressOf(c: number): BrokerAddress {
    return this.addresses[placeOf(this.course.share, c) % this.addresses.length]
  }

  /** Devices with a backlog have connections of their own, and come when they are back. */
  private isAway(c: number): boolean {
    return this.course.returnedMs === null && this.dispatch.backlogOf(c) > 0
  }

  private readyWhenConnected(nowMs: number): void {
    if (this.isReady || !this.dialer.hasEverOpened) return
    const patienceMs = Math.max(CONNECT_MS_MIN, (3000 * this.connections.length) / this.connectPerS)
    const away = this.connections.reduce((sum, { index }) => sum + (this.isAway(index) ? 1 : 0), 0)
    if (this.dialer.open < this.connections.length - away && nowMs - this.beganMs < patienceMs) return
    this.isReady = true
    this.host.onReady()
  }

  private sample(nowMs: number): void {
    const { course } = this
    const elapsedMs = nowMs - course.startedMs
    const { forMs, backlog } = this.options
    if (backlog !== undefined && elapsedMs >= backlog.atMs) this.bringBack(nowMs)
    for (;;) {
      const due = dueMs(course.plan, course.sampled, course.share)
      if (due > elapsedMs || due >= forMs) break
      this.dispatch.pump(course.sampled++ % this.dispatch.devices)
    }
    if (elapsedMs >= forMs) this.stop()
  }

  private bringBack(nowMs: number): void {
    if (this.course.returnedMs !== null) return
    const away = this.connections.filter(({ index }) => this.isAway(index))
    this.course.returnedMs = nowMs
    for (const { index } of away) this.dialer.admit(index)
  }

  /** Devices leave at no higher rate than they have sent, as far as that does not take too long. */
  private leave(nowMs: number): void {
    const { connections, dispatch, options } = this
    const { intervalMs } = this.course.plan
    const spanMs = Math.min(LEAVE_MS_MAX, (1000 * connections.length) / LEAVE_PER_S, intervalMs * (options.readingsPerMessage ?? 1))
    const due = Math.min(connections.length, Math.ceil((connections.length * (nowMs - this.stoppedMs)) / spanMs))
    while (this.leaving < due) {
      const connection = connections[this.leaving++]
      if (dispatch.isOver(connection)) continue // its last PUBACK has come meanwhile
      dispatch.endIdle(connection)
      dispatch.pumpAll(connection)
      if (connection.isClosed && dispatch.isOver(connection)) this.endConnection()
    }
  }

  private endConnection(): void {
    this.over++
    if (this.over === this.connections.length) this.finish()
  }

  /** Each connection is looked at eight times a keepalive, a few at every tick. */
  private watchSome(nowMs: number): void {
    const share = Math.ceil((this.connections.length * TICK_MS * 8) / (KEEPALIVE_S * 1000))
    for (let n = 0; n < share; n++) {
      this.connections[this.watched].watch(nowMs)
      this.watched = (this.watched + 1) % this.connections.length
    }
  }

  private tell(nowMs: number): void {
    const { startedMs } = this.course
    const hasBegun = startedMs > 0 && nowMs > startedMs
    const share = hasBegun ? Math.min(1, ((this.stoppedMs || nowMs) - startedMs) / this.options.forMs) : 0
    this.toldMs = nowMs
    this.host.onTelling({ phase: this.phase, share, connected: this.dialer.open, counts: this.countsNow() }, this.live, this.backlog)
    this.live.reset()
    this.backlog.reset()
  }

  private countsNow(): Counts {
    let sampled = this.course.sampled
    if (this.course.returnedMs !== null) for (const { index } of this.connections) sampled += this.dispatch.backlogOf(index)
    return { ...this.counts, sampled, wireSentBytes: this.wire.sent, wireReceivedBytes: this.wire.received }
  }

  private finish(): void {
    if (this.phase === 'done') return
    this.phase = 'done'
    this.tell(performance.now())
    this.abandon()
    const { startedMs } = this.course
    this.host.onReport({
      counts: this.countsNow(),
      seqs: Array.from({ length: this.dispatch.devices }, (_, j) => this.dispatch.lastSeqOf(j)),
      connectedAtStart: this.connectedAtStart,
      sampledMs: startedMs === 0 ? 0 : Math.max(0, this.stoppedMs - startedMs),
      drainMs: this.stoppedMs === 0 ? 0 : performance.now() - this.stoppedMs
    })
  }
}
