/**
 * A model of the gateway's log: records in a file, each with length and checksum, one a group commit. What is fsynced survives
 * a crash; of the record that was being written nothing, a part or all of it does, and recovery cuts the torn tail off. It
 * stamps ingest times, which never fall, and appends the ticks.
 */
import { type FrameKind, frameBytes, writeFrame } from '@tidemark/gateway/dist/log/frames.js'
import type { LogEntry } from '@tidemark/gateway/dist/log/schema.js'
import { Draw, STREAM } from './draw.js'
import { decodeRecord, encodeRecord } from './log-record.js'
import type { GatewayScenario } from './scenario.js'
import type { Life } from './scheduler.js'
import type { World } from './world.js'

const GROUP_COMMIT_MS = 5
const TICK_MS = 1000

export interface AppendedFrame {
  readonly kind: FrameKind
  readonly deviceId: string
  readonly payload: Uint8Array
  /** The simulation's name of the message; 0 for ticks and control frames. */
  readonly message: number
  /** Called when the frame is durable, or refused. */
  readonly done: (isDurable: boolean, entry: number) => void
}

interface Writing {
  readonly record: Uint8Array
  readonly frames: readonly AppendedFrame[]
}

export class SimulatedLog {
  scenario: GatewayScenario
  /** Every entry that was ever durable, also those that were cut off at the front since. For the checks. */
  readonly witness: LogEntry[] = []
  /** Messages in the witnessed entries. */
  readonly durableMessages = new Set<number>()
  /** Called when an entry is durable. */
  onEntry: (entry: number) => void = () => {}
  /** Called when a record is written, and not durable yet. */
  onWrite: () => void = () => {}
  private readonly draw: Draw
  /** Fsynced records, by entry. */
  private records = new Map<number, Uint8Array>()
  private firstEntry = 1
  private writing: Writing | null = null
  private waiting: AppendedFrame[] = []
  private isDue = false
  private life: Life = { isOver: true }
  private wallOffsetMs = 0
  lastEntry = 0
  /** How often a crash has torn a record. */
  tornTails = 0
  clockSteps = 0
  private lastIngestMs = 0

  constructor(
    private readonly world: World,
    scenario: GatewayScenario
  ) {
    this.scenario = scenario
    this.draw = new Draw(world.seed, STREAM.log)
  }

  /** Goes on behind what is whole. */
  open(life: Life): void {
    this.life = life
    this.tickLater()
  }

  /** Whether all that was appended is durable or refused. */
  get isIdle(): boolean {
    return this.writing === null && this.waiting.length === 0
  }

  append(frame: AppendedFrame): void {
    this.waiting.push(frame)
    this.writeLater()
  }

  /** At most `entriesMax` entries behind `entry`. Throws where they were cut off. */
  read(entry: number, entriesMax: number): LogEntry[] {
    if (entry + 1 < this.firstEntry && this.lastEntry > entry)
      throw new Error(`the log begins with entry ${this.firstEntry}, not ${entry + 1}`)
    const entries: LogEntry[] = []
    for (let next = entry + 1; next <= this.lastEntry && entries.length < entriesMax; next++) {
      entries.push(decodeRecord(this.records.get(next)!) ?? tornEntry(next, this.records.get(next)!))
    }
    return entries
  }

  truncate(throughEntry: number): void {
    for (; this.firstEntry <= Math.min(throughEntry, this.lastEntry - 1); this.firstEntry++) this.records.delete(this.firstEntry)
  }

  /** The process dies: what is not fsynced is at the mercy of the disk. */
  crash(): void {
    const { writing, draw, world } = this
    this.writing = null
    this.waiting = []
    this.isDue = false
    if (writing === null) return
    const fate = draw.pick(['gone', 'torn', 'whole'] as const)
    world.scheduler.trace(`log tail ${fate}`)
    if (fate === 'gone') return
    const tail = fate === 'whole' ? writing.record : writing.record.subarray(0, draw.between(0, writing.record.length - 1))
    const entry = decodeRecord(tail)
    if (entry === null) this.tornTails++
    if (entry !== null) this.keep(entry, writing)
    else if (world.plant === 'torn-tail-kept') this.records.set(++this.lastEntry, tail)
  }

  private writeLater(): void {
    if (this.isDue || this.writing !== null || this.waiting.length === 0) return
    this.isDue = true
    this.world.scheduler.after(GROUP_COMMIT_MS, this.life, 'log write', () => this.write())
  }

  private write(): void {
    const { world, draw, scenario } = this
    this.isDue = false
    const frames = this.waiting
    this.waiting = []
    if (frames.every(({ message }) => message > 0) && draw.chance(scenario.refuseAppend)) {
      this.writeLater()
      for (const { done } of frames) done(false, 0)
      return
    }
    const ingestMs = Math.max(this.lastIngestMs, world.scheduler.nowMs + this.wallOffsetMs)
    const record = encodeRecord({ entry: this.lastEntry + 1, ingestMs, frames: packFrames(frames) })
    this.writing = { record, frames }
    world.scheduler.traceBytes(record)
    this.onWrite()
    if (world.plant === 'ack-before-fsync') for (const { done } of frames) done(true, this.lastEntry + 1)
    world.scheduler.after(draw.chance(scenario.slowDisk) ? draw.between(100, 2000) : draw.between(1, 20), this.life, 'log fsync', () =>
      this.fsynced()
    )
  }

  private fsynced(): void {
    const writing = this.writing!
    this.writing = null
    const entry = decodeRecord(writing.record)!
    this.keep(entry, writing)
    this.writeLater()
    if (this.world.plant !== 'ack-before-fsync') for (const { done } of writing.frames) done(true, entry.entry)
    this.onEntry(entry.entry)
  }

  private keep(entry: LogEntry, { record, frames }: Writing): void {
    this.records.set(entry.entry, record)
    this.lastEntry = entry.entry
    this.lastIngestMs = entry.ingestMs
    this.witness.push(entry)
    for (const { message } of frames) if (message > 0) this.durableMessages.add(message)
  }

  private tickLater(): void {
    this.world.scheduler.after(TICK_MS, this.life, 'tick', () => {
      if (this.draw.chance(this.scenario.clockStep)) {
        this.wallOffsetMs = this.draw.between(-60_000, 60_000)
        this.clockSteps++
      }
      this.append({ kind: 'tick', deviceId: '', payload: new Uint8Array(0), message: 0, done: () => {} })
      this.tickLater()
    })
  }
}

function packFrames(frames: readonly AppendedFrame[]): Uint8Array {
  const packed = Buffer.alloc(frames.reduce((sum, { deviceId, payload }) => sum + frameBytes(deviceId, payload.length), 0))
  let at = 0
  for (const { kind, deviceId, payload } of frames) at = writeFrame(packed, at, kind, deviceId, payload)
  return new Uint8Array(packed)
}

/** What a reader without checksums makes of a torn record. */
function tornEntry(entry: number, record: Uint8Array): LogEntry {
  return { entry, ingestMs: 0, frames: record.subarray(Math.min(record.length, 24)) }
}
