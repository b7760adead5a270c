/**
 * Plays a fleet: N devices over N connections, in an open loop. A reading is due by the clock, whatever the broker does, and its latency
 * counts from then. One timer drives everything: it dials, samples, and watches for silence.
 *
 * A device is its connection and the step that it has reached; everything else is computed when needed. So what waits for a broker that
 * is away takes no memory: it is the difference between the step reached and the step due.
 *
 *   connecting -> sampling -> draining -> done          Ctrl-C (the signal) leads to draining from either
 */
import { topicOf } from '@tidemark/protocol'
import { fatalError, resolveBroker } from './broker.js'
import { type BrokerAddress, Connection, type ConnectionEvents } from './connection.js'
import { deviceId, deviceOf, type RunPlan } from './device.js'
import { Dialer } from './dialer.js'
import { type FleetOptions, type FleetPhase, type FleetProgress, type FleetReport, planOf } from './fleet-options.js'
import { Latency } from './latency.js'
import { CONNECT_MS_MIN, CONNECT_PER_S, DRAIN_MS_MAX, IN_FLIGHT_MAX, KEEPALIVE_S, PROGRESS_MS, RATE_TELLINGS, TICK_MS } from './limits.js'
import { endOfStream, lastStep, oldestSeqAt, type Publication, publicationsAt } from './publication.js'
import { dueMs, highestSeq } from './schedule.js'
import { Tally } from './tally.js'

/** What a connection remembers of a PUBLISH. */
export interface Sent {
  readonly kind: Publication['kind']
  /** 0 where the message holds no reading. */
  readonly seq: number
  /** When it should have been sent, by performance.now(). */
  readonly intendedMs: number
}

/**
 * Runs a fleet until its time is over or `options.signal` is aborted, everything is acked, and every device has said goodbye.
 * Rejects with a UsageError, with a BrokerUnreachableError or BrokerRefusedError when not even the first device can connect, or with
 * a ResourceError.
 */
export async function runFleet(options: FleetOptions, onProgress: (progress: FleetProgress) => void = () => {}): Promise<FleetReport> {
  const plan = planOf(options, Date.now())
  const address = await resolveBroker(options.url)
  return new Promise((resolve, reject) => new Fleet(options, plan, address, onProgress, resolve, reject).start())
}

/** How far a device is with saying goodbye, in `Fleet.ends`. */
const MARK_SENT = 1
const OVER = 2

class Fleet implements ConnectionEvents<Sent> {
  private readonly connections: Connection<Sent>[] = []
  /** The step that each device has published. */
  private readonly steps: Uint32Array
  private readonly ends: Uint8Array
  private readonly latency = new Latency()
  private readonly tally = new Tally()
  private readonly dialer: Dialer
  private readonly connectPerS: number
  private readonly beganMs = performance.now()
  private phase: FleetPhase = 'connecting'
  private startedMs = 0
  private stoppedMs = 0
  /** Readings that have fallen due. */
  private sampled = 0
  private over = 0
  private watched = 0
  /** How many readings had been acked at the latest times of telling, oldest first. */
  private told: { readonly atMs: number; readonly readingsAcked: number }[] = []
  private timer: NodeJS.Timeout | undefined

  constructor(
    private readonly options: FleetOptions,
    private plan: RunPlan,
    private readonly address: BrokerAddress,
    private readonly onProgress: (progress: FleetProgress) => void,
    private readonly resolve: (report: FleetReport) => void,
    private readonly reject: (error: Error) => void
  ) {
    this.steps = new Uint32Array(plan.devices)
    this.ends = new Uint8Array(plan.devices)
    this.connectPerS = options.connectPerS ?? CONNECT_PER_S
    this.dialer = new Dialer(plan.devices, this.connectPerS, plan.seed, this.beganMs)
  }

  start(): void {
    for (let i = 0; i < this.plan.devices; i++) this.connections.push(new Connection(i, deviceId(this.plan.firstDevice + i), this))
    this.options.signal?.addEventListener('abort', this.stop)
    this.timer = setInterval(() => this.tick(performance.now()), TICK_MS)
    if (this.options.signal?.aborted) this.stop()
  }

  onOpen(connection: Connection<Sent>, redelivered: number): void {
    this.dialer.opened(connection.index)
    this.tally.redelivered += redelivered
    this.pump(connection)
  }

  onAcked(connection: Connection<Sent>, sent: Sent): void {
    this.dialer.proved(connection.index)
    if (sent.kind === 'end') {
      connection.close()
      return
    }
    this.tally.acked++
    if (sent.kind === 'reading') {
      this.tally.readingsAcked++
      this.latency.record(performance.now() - sent.intendedMs)
    }
    this.pump(connection)
  }

  onDrain(connection: Connection<Sent>): void {
    this.pump(connection)
  }

  onClosed(connection: Connection<Sent>, cause: Error | null): void {
    const { index } = connection
    const wasOpen = this.dialer.closed(index)
    if (this.phase === 'done') return
    if (cause === null) {
      this.endDevice(index)
      return
    }
    const fatal = fatalError(cause, this.address, this.dialer.hasEverOpened)
    if (fatal !== null) {
      this.end()
      this.reject(fatal)
      return
    }
    if (wasOpen) this.tally.disconnects++
    this.dialer.retry(index)
  }

  private tick(nowMs: number): void {
    this.dialer.advance(nowMs, this.dial)
    if (this.phase === 'connecting') this.beginWhenConnected(nowMs)
    if (this.phase === 'sampling') this.sample(nowMs)
    if (this.phase === 'draining' && nowMs - this.stoppedMs > (this.options.drainMsMax ?? DRAIN_MS_MAX)) this.finish()
    if (this.phase === 'done') return
    this.watchSome(nowMs)
    if (nowMs - (this.told.at(-1)?.atMs ?? this.beganMs) >= PROGRESS_MS) this.tell(nowMs)
  }

  private readonly dial = (i: number): boolean => {
    if (this.ends[i] === OVER) return false
    this.connections[i].open(this.address)
    return true
  }

  /** Sampling begins when all are connected, or when the rest has had more than enough time. */
  private beginWhenConnected(nowMs: number): void {
    const patienceMs = Math.max(CONNECT_MS_MIN, (3000 * this.plan.devices) / this.connectPerS)
    if (!this.dialer.hasEverOpened || (this.dialer.open < this.plan.devices && nowMs - this.beganMs < patienceMs)) return
    this.plan = planOf(this.options, Date.now())
    this.startedMs = nowMs
    this.phase = 'sampling'
  }

  private sample(nowMs: number): void {
    const elapsedMs = nowMs - this.startedMs
    const { forMs } = this.options
    for (let due = dueMs(this.plan, this.sampled); due <= elapsedMs && due < forMs; due = dueMs(this.plan, this.sampled)) {
      this.pump(this.connections[this.sampled++ % this.plan.devices])
    }
    if (elapsedMs >= forMs) this.stop()
  }

  /** Publishes what is due and fits into the window; says goodbye when there is nothing left. */
  private pump(connection: Connection<Sent>): void {
    const i = connection.index
    const seq = highestSeq(this.plan, this.sampled, i)
    const due = this.phase === 'draining' ? lastStep(seq) : seq
    while (this.steps[i] < due && connection.isWritable && connection.inFlight.length < IN_FLIGHT_MAX) {
      this.publishStep(connection, ++this.steps[i], seq)
    }
    if (this.phase === 'draining' && this.steps[i] === due && connection.isOpen && connection.inFlight.length === 0)
      this.endStream(connection, seq)
  }

  private publishStep(connection: Connection<Sent>, step: number, highestSampledSeq: number): void {
    const i = connection.index
    const device = deviceOf(this.plan, this.plan.firstDevice + i)
    const waiting = connection.inFlight.filter(({ tag }) => tag.seq > 0).map(({ tag }) => tag.seq)
    const oldestHeldSeq = Math.min(oldestSeqAt(step), ...waiting)
    const buffered = waiting.length + Math.max(0, highestSampledSeq - step) + 1
    // What is still held back at the end leaves as soon as it can: it is not behind any time.
    const intendedMs = step > highestSampledSeq ? performance.now() : this.startedMs + dueMs(this.plan, (step - 1) * this.plan.devices + i)
    const header = { oldestHeldSeq, highestSampledSeq, buffered }
    for (const publication of publicationsAt(this.plan, device, step, highestSampledSeq, header)) {
      this.tally.sent(publication)
      connection.publish(topicOf(device.id, 'batch'), publication.payload, { kind: publication.kind, seq: publication.seq, intendedMs })
    }
  }

  private endStream(connection: Connection<Sent>, lastSeq: number): void {
    if (this.ends[connection.index] !== 0) return
    this.ends[connection.index] = MARK_SENT
    if (lastSeq === 0) {
      connection.close()
      return
    }
    const { kind, seq, payload } = endOfStream(deviceOf(this.plan, this.plan.firstDevice + connection.index), lastSeq)
    connection.publish(topicOf(connection.clientId, 'batch'), payload, { kind, seq, intendedMs: performance.now() })
  }

  private readonly stop = (): void => {
    if (this.phase === 'draining' || this.phase === 'done') return
    this.stoppedMs = performance.now()
    this.phase = 'draining'
    for (const connection of this.connections) {
      const hasNothingToSend = highestSeq(this.plan, this.sampled, connection.index) === 0
      if (hasNothingToSend && connection.isClosed) this.endDevice(connection.index)
      else if (hasNothingToSend) connection.close()
      else this.pump(connection)
    }
  }

  private endDevice(i: number): void {
    this.ends[i] = OVER
    this.over++
    if (this.over === this.plan.devices) this.finish()
  }

  /** Each connection is looked at eight times a keepalive, a few at every tick. */
  private watchSome(nowMs: number): void {
    const share = Math.ceil((this.plan.devices * TICK_MS * 8) / (KEEPALIVE_S * 1000))
    for (let n = 0; n < share; n++) {
      this.connections[this.watched].watch(nowMs)
      this.watched = (this.watched + 1) % this.plan.devices
    }
  }

  private tell(nowMs: number): void {
    const { published, acked, readingsAcked } = this.tally
    this.told.push({ atMs: nowMs, readingsAcked })
    if (this.told.length > RATE_TELLINGS) this.told.shift()
    const [oldest] = this.told
    const perS = nowMs > oldest.atMs ? (1000 * (readingsAcked - oldest.readingsAcked)) / (nowMs - oldest.atMs) : 0
    this.onProgress({
      phase: this.phase,
      share: this.startedMs === 0 ? 0 : Math.min(1, ((this.stoppedMs || nowMs) - this.startedMs) / this.options.forMs),
      devices: this.plan.devices,
      connected: this.dialer.open,
      sampled: this.sampled,
      published,
      acked,
      inFlight: published - acked,
      readingsPerS: Math.round(perS),
      pubackMs: this.latency.quantiles()
    })
  }

  private finish(): void {
    this.tell(performance.now())
    this.end()
    this.resolve(this.report())
  }

  private end(): void {
    this.phase = 'done'
    clearInterval(this.timer)
    this.options.signal?.removeEventListener('abort', this.stop)
    for (const connection of this.connections) connection.drop(new Error('the fleet has ended'))
  }

  private report(): FleetReport {
    const { tally, plan, sampled } = this
    const sampledMs = this.startedMs === 0 ? 0 : this.stoppedMs - this.startedMs
    return {
      devices: plan.devices,
      sampled,
      published: tally.published,
      acked: tally.acked,
      unacked: sampled - tally.readingsAcked,
      ended: this.over,
      duplicatesSent: tally.duplicatesSent,
      heldBackSent: tally.heldBackSent,
      lateSent: tally.lateSent,
      poisonSent: tally.poisonSent,
      redelivered: tally.redelivered,
      disconnects: tally.disconnects,
      payloadBytes: tally.payloadBytes,
      pubackMs: this.latency.quantiles(),
      rate: sampledMs === 0 ? 0 : Math.round((1000 * sampled) / sampledMs),
      run: { plan, seqs: Array.from({ length: plan.devices }, (_, i) => highestSeq(plan, sampled, i)) }
    }
  }
}
