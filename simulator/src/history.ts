/**
 * Sends a history: what a fleet measured over days, in minutes. Time goes in steps of `publishEveryMs`. In a step each device that is in
 * reach sends what it has measured until then, oldest first; the next step begins when all of that is acked. So the clock file, which is
 * set at the start of each step, tells a gateway that follows it when each batch came in, whatever the speed.
 *
 *   step     |    1    |    2    |    3    |    4    |
 *   pump a   | 1..12 > | 13..24> | 25..36> | 37..48> |
 *   pump b   | 1..12 > |  out of reach     | 13..48> |        a backlog, sent in order
 *
 * All devices are connected all the while: one that is out of reach is silent.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { topicOf } from '@tidemark/protocol'
import { fatalError, resolveBroker } from './broker.js'
import { type BrokerAddress, Connection, type ConnectionEvents } from './connection.js'
import { type Device, deviceId, deviceOf, type RunPlan } from './device.js'
import { Dialer } from './dialer.js'
import { highestSeqAt, historyBatch } from './history-batch.js'
import { type HistoryOptions, type HistoryProgress, type HistoryReport, historyPlanOf } from './history-options.js'
import { CONNECT_PER_S, HISTORY_BATCH_READINGS, HISTORY_STALL_MS_MAX, IN_FLIGHT_MAX, PROGRESS_MS, TICK_MS } from './limits.js'
import { isOut } from './outages.js'
import { endOfStream } from './publication.js'

/** The broker stays connected and acks nothing. */
export class StalledError extends Error {
  readonly code = 'STALLED'
}

/** What a connection remembers of a PUBLISH: its readings [firstSeq, lastSeq]; null: the mark that ends the stream. */
type Sent = { readonly firstSeq: number; readonly lastSeq: number } | null

/**
 * Sends the history until it ends or `options.signal` is aborted; then ends all streams. Rejects with a UsageError, a
 * BrokerUnreachableError or BrokerRefusedError when not even the first device can connect, a ResourceError or a StalledError.
 */
export async function sendHistory(
  options: HistoryOptions,
  onProgress: (progress: HistoryProgress) => void = () => {}
): Promise<HistoryReport> {
  const plan = historyPlanOf(options)
  const address = await resolveBroker(options.url)
  return await new History(options, plan, address, onProgress).run()
}

class History implements ConnectionEvents<Sent> {
  private readonly devices: Device[] = []
  private readonly connections: Connection<Sent>[] = []
  /** By device: the highest seq published, and the one that is to be published in this step. */
  private readonly sentSeqs: number[]
  private readonly dueSeqs: number[]
  private readonly dialer: Dialer
  private readonly totals = { readings: 0, batches: 0, backlogBatches: 0, ended: 0, disconnects: 0, bytes: 0 }
  private isEnding = false
  /** Devices that are not done with this step, or with ending. */
  private readonly busy = new Set<number>()
  private movedMs = performance.now()
  private resume: () => void = () => {}
  private fail: (error: Error) => void = () => {}

  constructor(
    private readonly options: HistoryOptions,
    private readonly plan: RunPlan,
    private readonly address: BrokerAddress,
    private readonly onProgress: (progress: HistoryProgress) => void
  ) {
    for (let i = 0; i < plan.devices; i++) {
      this.devices.push(deviceOf(plan, plan.firstDevice + i))
      this.connections.push(new Connection(i, deviceId(plan.firstDevice + i), this))
    }
    this.sentSeqs = new Array<number>(plan.devices).fill(0)
    this.dueSeqs = new Array<number>(plan.devices).fill(0)
    this.dialer = new Dialer(plan.devices, options.connectPerS ?? CONNECT_PER_S, plan.seed, performance.now())
  }

  async run(): Promise<HistoryReport> {
    const beganMs = performance.now()
    const failed = new Promise<never>((_, reject) => {
      this.fail = reject
    })
    failed.catch(() => {})
    const ticking = setInterval(() => this.tick(performance.now()), TICK_MS)
    const telling = setInterval(() => this.watchAndTell(beganMs), PROGRESS_MS)
    let timeMs = this.plan.startMs
    try {
      for (const stepMs of this.stepsMs()) {
        await this.waitFor(stepMs, beganMs)
        if (this.options.signal?.aborted) break
        timeMs = stepMs
        this.options.setClock?.(timeMs)
        await Promise.race([failed, this.step(timeMs)])
      }
      await Promise.race([failed, this.endStreams()])
    } finally {
      clearInterval(ticking)
      clearInterval(telling)
      this.isEnding = true
      for (const connection of this.connections) connection.drop(new Error('the history has ended'))
    }
    this.tell(beganMs)
    return {
      ...this.totals,
      devices: this.plan.devices,
      endMs: timeMs,
      seconds: (performance.now() - beganMs) / 1000,
      run: this.whatWasSent()
    }
  }

  onOpen(connection: Connection<Sent>): void {
    this.dialer.opened(connection.index)
    this.pump(connection.index)
  }

  onAcked(connection: Connection<Sent>, sent: Sent): void {
    this.movedMs = performance.now()
    this.dialer.proved(connection.index)
    if (sent === null) {
      connection.close()
      return
    }
    this.totals.readings += sent.lastSeq - sent.firstSeq + 1
    this.pump(connection.index)
  }

  onDrain(connection: Connection<Sent>): void {
    this.pump(connection.index)
  }

  onClosed({ index }: Connection<Sent>, cause: Error | null): void {
    const wasOpen = this.dialer.closed(index)
    if (cause === null) {
      this.totals.ended++
      this.done(index)
      return
    }
    if (this.isEnding && this.busy.size === 0) return
    const fatal = fatalError(cause, this.address, this.dialer.hasEverOpened)
    if (fatal !== null) {
      this.fail(fatal)
      return
    }
    if (wasOpen) this.totals.disconnects++
    this.dialer.retry(index)
  }

  private *stepsMs(): Generator<number> {
    const { publishEveryMs, forMs } = this.options
    for (let atMs = publishEveryMs; atMs < forMs; atMs += publishEveryMs) yield this.plan.startMs + atMs
    yield this.plan.startMs + forMs
  }

  /** At a limited speed a step begins no earlier than its time has come. */
  private async waitFor(stepMs: number, beganMs: number): Promise<void> {
    const { speed, signal } = this.options
    const waitMs = beganMs + (stepMs - this.plan.startMs) / speed - performance.now()
    // Aborted: the loop ends.
    if (waitMs > 0) await delay(waitMs, undefined, signal === undefined ? {} : { signal }).catch(() => {})
  }

  private step(timeMs: number): Promise<void> {
    const isLast = timeMs >= this.plan.startMs + this.options.forMs
    return this.all(i => {
      const isSilent = !isLast && isOut(this.plan.seed, this.plan.firstDevice + i, this.options.outages, timeMs)
      if (!isSilent) this.dueSeqs[i] = highestSeqAt(this.plan, this.devices[i], timeMs)
    })
  }

  private endStreams(): Promise<void> {
    this.isEnding = true
    return this.all(() => {})
  }

  /** Makes all devices busy and resolves when none is. */
  private all(begin: (device: number) => void): Promise<void> {
    const finished = new Promise<void>(resolve => {
      this.resume = resolve
    })
    this.movedMs = performance.now()
    for (let i = 0; i < this.plan.devices; i++) this.busy.add(i)
    for (let i = 0; i < this.plan.devices; i++) {
      begin(i)
      this.pump(i)
    }
    return finished
  }

  private done(device: number): void {
    if (this.busy.delete(device) && this.busy.size === 0) this.resume()
  }

  /** Publishes what is due and fits into the window. */
  private pump(i: number): void {
    if (!this.busy.has(i)) return
    const connection = this.connections[i]
    while (this.sentSeqs[i] < this.dueSeqs[i] && connection.isWritable && connection.inFlight.length < IN_FLIGHT_MAX) this.publish(i)
    if (this.sentSeqs[i] < this.dueSeqs[i] || connection.inFlight.length > 0) return
    if (!this.isEnding) this.done(i)
    else if (connection.isOpen) this.endStream(i)
  }

  private publish(i: number): void {
    const connection = this.connections[i]
    const firstSeq = this.sentSeqs[i] + 1
    const lastSeq = Math.min(this.dueSeqs[i], firstSeq + HISTORY_BATCH_READINGS - 1)
    const oldestHeldSeq = connection.inFlight[0]?.tag?.firstSeq ?? firstSeq
    const highestSampledSeq = this.dueSeqs[i]
    const state = { oldestHeldSeq, highestSampledSeq, buffered: highestSampledSeq - oldestHeldSeq + 1 }
    const payload = historyBatch(this.plan, this.devices[i], firstSeq, lastSeq, state)
    this.sentSeqs[i] = lastSeq
    this.totals.batches++
    this.totals.bytes += payload.length
    if ((lastSeq - firstSeq) * this.plan.intervalMs > this.options.publishEveryMs) this.totals.backlogBatches++
    connection.publish(topicOf(connection.clientId, 'batch'), payload, { firstSeq, lastSeq })
  }

  private endStream(i: number): void {
    const connection = this.connections[i]
    if (this.sentSeqs[i] === 0) connection.close()
    else connection.publish(topicOf(connection.clientId, 'batch'), endOfStream(this.devices[i], this.sentSeqs[i]).payload, null)
  }

  private tick(nowMs: number): void {
    this.dialer.advance(nowMs, i => {
      this.connections[i].open(this.address)
      return true
    })
    if (this.busy.size > 0 && nowMs - this.movedMs > HISTORY_STALL_MS_MAX)
      this.fail(new StalledError(`the broker has acked nothing for ${HISTORY_STALL_MS_MAX / 1000} s: look at its log, then start again`))
  }

  private watchAndTell(beganMs: number): void {
    for (const connection of this.connections) connection.watch(performance.now())
    this.tell(beganMs)
  }

  private tell(beganMs: number): void {
    const all = this.devices.reduce((sum, device) => sum + highestSeqAt(this.plan, device, this.plan.startMs + this.options.forMs), 0)
    const seconds = (performance.now() - beganMs) / 1000
    const { readings } = this.totals
    this.onProgress({ share: readings / all, readings, connected: this.dialer.open, readingsPerS: Math.round(readings / seconds) })
  }

  private whatWasSent(): HistoryReport['run'] {
    return { plan: this.plan, seqs: [...this.sentSeqs] }
  }
}
