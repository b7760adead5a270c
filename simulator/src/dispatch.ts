/**
 * What the devices of a share send over their connections: readings as they fall due and fit into the window, then the mark that ends
 * each stream. A device is the step that it has reached; what waits for a broker that is away takes no memory.
 *
 * - Nothing is skipped: what cannot be sent at its time is sent later, and its latency counts from its time.
 * - A connection carries every K-th device of the share; with a connection each, exactly one.
 * It opens no connection and reads no plan that has not begun: the fleet does that.
 */
import { performance } from 'node:perf_hooks'
import { topicOf } from '@tidemark/protocol'
import type { Connection } from './connection.js'
import { backlogReadings, type Device, type RunPlan } from './device.js'
import { isFaultless } from './faults.js'
import { historyBatch } from './history-batch.js'
import { jsonReading } from './json-payload.js'
import type { Latency } from './latency.js'
import { IN_FLIGHT_MAX, MESSAGE_READINGS_MAX, SHARED_IN_FLIGHT_MAX } from './limits.js'
import { type BufferState, endOfStream, lastStep, oldestSeqAt, type Publication, publicationsAt } from './publication.js'
import { ReadingPackets } from './reading-packets.js'
import { Roster } from './roster.js'
import { devicesOf, dueMs, highestSeq, placeOf, type Share } from './schedule.js'
import { type Counts, countSent } from './tally.js'
import { heldUntil, isCutBehind, NO_TROUBLES } from './troubles.js'

/** What a connection remembers of a PUBLISH. */
export interface Sent {
  readonly kind: Publication['kind']
  /** Of the share. */
  readonly device: number
  /** Its first reading; 0 where the message holds none. */
  readonly seq: number
  readonly readings: number
  /** When it should have been sent, by performance.now(). */
  readonly intendedMs: number
}

/** Where a fleet is; changed by the fleet alone. */
export interface Course {
  plan: RunPlan
  readonly share: Share
  isDraining: boolean
  /** When sampling began, by performance.now(). */
  startedMs: number
  /** Readings of the share that have fallen due, those of a backlog apart. */
  sampled: number
  /** When the devices with a backlog came back, by performance.now(); null: they have not. */
  returnedMs: number | null
}

export interface DispatchOptions {
  readonly readingsPerMessage: number
  readonly format: 'batch' | 'json'
}

/** How far a device is with saying goodbye, in `ends`. */
const MARK_SENT = 1
const OVER = 2

export class Dispatch {
  readonly devices: number
  /** The step that each device has published. */
  private readonly steps: Uint32Array
  private readonly ends: Uint8Array
  /** The seq whose time the device's last message had to wait for; null: nothing holds readings up. */
  private readonly stalls: Uint32Array | null
  private readonly backlogs: Uint32Array | null
  private readonly window: number
  private readonly roster: Roster
  private readonly packets = new ReadingPackets()
  /** Connections over which a device had to wait for its turn. */
  private readonly starved = new Set<number>()
  /** Devices with a backlog that they may send. */
  private readonly returning = new Set<number>()

  constructor(
    private readonly course: Course,
    private readonly options: DispatchOptions,
    private readonly connections: readonly Connection<Sent>[],
    private readonly counts: Counts,
    private readonly latencies: { readonly live: Latency; readonly backlog: Latency }
  ) {
    const { plan, share } = course
    this.devices = devicesOf(plan, share)
    this.steps = new Uint32Array(this.devices)
    this.ends = new Uint8Array(this.devices)
    this.stalls = plan.troubles === undefined ? null : new Uint32Array(this.devices)
    this.backlogs =
      plan.backlog === undefined ? null : Uint32Array.from({ length: this.devices }, (_, j) => backlogReadings(plan, this.indexOf(j)))
    this.roster = new Roster(plan, this.devices, j => this.indexOf(j))
    this.window = connections.length < this.devices ? SHARED_IN_FLIGHT_MAX : IN_FLIGHT_MAX
  }

  /** How many readings device j of the share has from before the run. */
  backlogOf(j: number): number {
    return this.backlogs?.[j] ?? 0
  }

  /** The highest seq that device j has taken. */
  lastSeqOf(j: number): number {
    const { plan, share, sampled, returnedMs } = this.course
    const backlog = this.backlogOf(j)
    return backlog > 0 && returnedMs === null ? 0 : backlog + highestSeq(plan, sampled, j, share)
  }

  /** The j-th devices that a connection carries. */
  *devicesOver(connection: Connection<Sent>): Generator<number> {
    for (let j = connection.index; j < this.devices; j += this.connections.length) yield j
  }

  isOver(connection: Connection<Sent>): boolean {
    for (const j of this.devicesOver(connection)) if (this.ends[j] !== OVER) return false
    return true
  }

  pumpAll(connection: Connection<Sent>): void {
    for (const j of this.devicesOver(connection)) this.pump(j)
  }

  /**
   * Publishes messages of backlogs for about `budgetMs`: each takes as long to make as hundreds of readings, and the live devices of this
   * process must not wait for them.
   */
  sendBacklogs(budgetMs: number): void {
    const untilMs = performance.now() + budgetMs
    while (this.returning.size > 0 && performance.now() < untilMs) {
      const [j] = this.returning
      this.returning.delete(j)
      const connection = this.connections[j % this.connections.length]
      // Otherwise it comes again with its next PUBACK, or when it is connected.
      if (connection.isWritable && connection.inFlight.length < this.window) this.publishBacklog(connection, j)
      this.pump(j)
    }
  }

  /** Publishes what is due and fits into the window; says goodbye when there is nothing left. */
  pump(j: number): void {
    const connection = this.connections[j % this.connections.length]
    if (this.steps[j] < this.backlogOf(j)) {
      const mayPublish = this.course.returnedMs !== null && connection.isWritable && connection.inFlight.length < this.window
      if (mayPublish) this.returning.add(j)
      return
    }
    const last = this.lastSeqOf(j)
    const due = this.course.isDraining && this.options.readingsPerMessage === 1 && this.options.format === 'batch' ? lastStep(last) : last
    while (this.steps[j] < due) {
      if (!connection.isWritable || connection.inFlight.length >= this.window) {
        if (connection.isOpen) this.starved.add(connection.index)
        return
      }
      if (!this.publishNext(connection, j, last)) return
    }
    if (this.course.isDraining && connection.isOpen && !connection.inFlight.some(({ tag }) => tag.device === j))
      this.endStream(connection, j)
  }

  /** `nowMs`: when its PUBACK came, by performance.now(). */
  acked(connection: Connection<Sent>, { kind, device, readings, intendedMs }: Sent, nowMs: number): void {
    if (kind === 'end') this.end(connection, device)
    else {
      this.counts.acked++
      this.counts.readingsAcked += readings
      if (readings > 0) this.latencies[this.backlogOf(device) > 0 ? 'backlog' : 'live'].record(nowMs - intendedMs)
      this.pump(device)
    }
    this.feed(connection)
  }

  /** Lets the devices that had to wait go on. */
  feed(connection: Connection<Sent>): void {
    if (this.starved.size > 0 && this.starved.delete(connection.index)) this.pumpAll(connection)
  }

  /** Ends devices that have nothing to send. */
  endIdle(connection: Connection<Sent>): void {
    for (const j of this.devicesOver(connection)) if (this.lastSeqOf(j) === 0) this.end(connection, j)
  }

  /** Publishes the next message of a device. False where something holds it up until a later reading falls due. */
  private publishNext(connection: Connection<Sent>, j: number, last: number): boolean {
    const first = this.steps[j] + 1
    const backlog = this.backlogOf(j)
    const { readingsPerMessage } = this.options
    if (readingsPerMessage === 1) return this.publishStep(connection, j, first, last)
    // The devices' messages are spread evenly over the time that one of them collects.
    const place = placeOf(this.course.share, j)
    const done = first - 1 - backlog + Math.floor((place * readingsPerMessage) / this.course.plan.devices)
    const end = first + readingsPerMessage - (done % readingsPerMessage) - 1
    if (end > last && !this.course.isDraining) return false
    this.publishRange(connection, j, first, Math.min(end, last), last)
    return true
  }

  private publishBacklog(connection: Connection<Sent>, j: number): void {
    const first = this.steps[j] + 1
    const backlog = this.backlogOf(j)
    if (first <= backlog) this.publishRange(connection, j, first, Math.min(backlog, first + MESSAGE_READINGS_MAX - 1), this.lastSeqOf(j))
  }

  private publishStep(connection: Connection<Sent>, j: number, step: number, last: number): boolean {
    const { plan, isDraining } = this.course
    const device = this.deviceAt(j)
    const troubles = plan.troubles ?? NO_TROUBLES
    const own = step <= last ? heldUntil(plan.seed, troubles, device.index, step - device.backlogReadings) + device.backlogReadings : step
    if (own > last && step <= last && !isDraining) return false
    if (this.stalls !== null) this.stalls[j] = Math.max(this.stalls[j], own)
    this.steps[j] = step
    // What is still held back at the end leaves as soon as it can: it is not behind any time.
    const intendedStep = Math.max(step, this.stalls?.[j] ?? 0)
    const intendedMs = intendedStep > last ? performance.now() : this.dueOf(j, intendedStep)
    if (this.options.format === 'json') this.publishJson(connection, j, device, step, intendedMs)
    else if (isFaultless(plan.rates)) {
      if (step <= last) this.publishReading(connection, j, device, step, last, intendedMs)
    } else {
      const state = this.bufferState(connection, j, oldestSeqAt(step), step, last)
      for (const publication of publicationsAt(plan, device, step, last, state)) {
        const { kind, seq, payload } = publication
        countSent(this.counts, publication)
        connection.publish(topicOf(device.id, 'batch'), payload, { kind, device: j, seq, readings: kind === 'reading' ? 1 : 0, intendedMs })
      }
    }
    if (step <= last && isCutBehind(plan.seed, troubles, device.index, step)) {
      this.counts.cut++
      connection.drop(new Error('cut by the simulator'))
      return false
    }
    return true
  }

  /** What `publicationsAt` gives where there are no faults, without the objects. */
  private publishReading(connection: Connection<Sent>, j: number, device: Device, seq: number, last: number, intendedMs: number): void {
    const { packets, counts } = this
    const messageId = connection.takeMessageId()
    packets.write(this.course.plan, device, seq, this.bufferState(connection, j, oldestSeqAt(seq), seq, last), messageId)
    counts.published++
    counts.payloadBytes += packets.payloadBytes
    connection.send(messageId, packets.bytes, packets.start, packets.end, { kind: 'reading', device: j, seq, readings: 1, intendedMs })
  }

  private publishJson(connection: Connection<Sent>, j: number, device: Device, seq: number, intendedMs: number): void {
    const payload = Buffer.from(jsonReading(this.course.plan, device, seq))
    countSent(this.counts, { kind: 'reading', seq, fault: 'none', payload })
    connection.publish(topicOf(device.id, 'json'), payload, { kind: 'reading', device: j, seq, readings: 1, intendedMs })
  }

  private publishRange(connection: Connection<Sent>, j: number, first: number, end: number, last: number): void {
    const device = this.deviceAt(j)
    const payload = historyBatch(this.course.plan, device, first, end, this.bufferState(connection, j, first, end, last))
    // What did not fill a message in the end leaves with it: it is not behind any time.
    const isCutShort = this.course.isDraining && end === last && end > this.backlogOf(j)
    const intendedMs = isCutShort ? performance.now() : this.dueOf(j, end)
    this.steps[j] = end
    countSent(this.counts, { kind: 'reading', seq: first, fault: 'none', payload })
    const sent = { kind: 'reading', device: j, seq: first, readings: end - first + 1, intendedMs } as const
    connection.publish(topicOf(device.id, 'batch'), payload, sent)
  }

  private bufferState(connection: Connection<Sent>, j: number, oldestSeq: number, seq: number, last: number): BufferState {
    const { inFlight } = connection
    let oldestHeldSeq = oldestSeq
    let waiting = 0
    for (let i = 0; i < inFlight.length; i++) {
      const { tag } = inFlight[i]
      if (tag.device !== j || tag.seq === 0) continue
      waiting += Math.max(1, tag.readings)
      oldestHeldSeq = Math.min(oldestHeldSeq, tag.seq)
    }
    return { oldestHeldSeq, highestSampledSeq: last, buffered: waiting + Math.max(0, last - seq) + 1 }
  }

  private endStream(connection: Connection<Sent>, j: number): void {
    if (this.ends[j] !== 0) return
    const last = this.lastSeqOf(j)
    if (last === 0 || this.options.format === 'json') {
      this.end(connection, j)
      return
    }
    this.ends[j] = MARK_SENT
    const device = this.deviceAt(j)
    const { kind, seq, payload } = endOfStream(device, last)
    connection.publish(topicOf(device.id, 'batch'), payload, { kind, device: j, seq, readings: 0, intendedMs: performance.now() })
  }

  private end(connection: Connection<Sent>, j: number): void {
    if (this.ends[j] === OVER) return
    this.ends[j] = OVER
    this.counts.ended++
    if (this.isOver(connection)) connection.close()
  }

  /** When a reading should be sent, by performance.now(). What a device took while it was out of reach is due when it comes back. */
  private dueOf(j: number, seq: number): number {
    const { plan, share, startedMs, returnedMs } = this.course
    const backlog = this.backlogOf(j)
    if (seq <= backlog) return returnedMs ?? startedMs
    const atMs = startedMs + dueMs(plan, (seq - backlog - 1) * this.devices + j, share)
    return backlog > 0 && returnedMs !== null ? Math.max(returnedMs, atMs) : atMs
  }

  private indexOf(j: number): number {
    return this.course.plan.firstDevice + placeOf(this.course.share, j)
  }

  private deviceAt(j: number): Device {
    return this.roster.at(this.course.plan, j)
  }
}
