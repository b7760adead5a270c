/**
 * A log as a test writes it: each call appends one entry and applies it to a `Processor`, whose flushes are kept. Time is the
 * test's: `nowMs` is the ingest time of the next entry, and only `tick` and `leap` move it.
 */
import {
  type BatchInput,
  columnOf,
  type ExtraColumn,
  encodeBatch,
  type Profile,
  profileSchema,
  type Status,
  type Tombstone,
  type Value
} from '@tidemark/protocol'
import { type FrameKind, frameBytes, writeFrame } from '../../gateway/src/log/frames.js'
import type { LogEntry } from '../../gateway/src/log/schema.js'
import { encodeControl, type Settings } from '../../gateway/src/processor/control.js'
import type { EventIdStore } from '../../gateway/src/processor/event-ids.js'
import type { EpochLedger, Flush } from '../../gateway/src/processor/flush.js'
import { ledgersOf } from '../../gateway/src/processor/ledger.js'
import { Processor } from '../../gateway/src/processor/processor.js'
import type { DeviceRow, DeviceSettings } from '../../gateway/src/processor/registry.js'
import type { StateEncoder } from '../../gateway/src/processor/snapshot.js'
import { EventIdsInMemory } from './event-ids-in-memory.js'
import { type Row, rowsOf } from './flush-rows.js'

/** Noon of a day: a whole hour, so that hops are easy to see. */
export const NOON_MS = Date.UTC(2026, 10, 24, 12)

/** Unix ms of a time that day, `12:34` or `12:34:56` or with `.789`; 24:00 and later are on the next day. */
export function at(time: string): number {
  const [hours, minutes, seconds = '0'] = time.split(':')
  return NOON_MS - 12 * 3_600_000 + Number(hours) * 3_600_000 + Number(minutes) * 60_000 + Math.round(Number(seconds) * 1000)
}

export const SETTINGS: Settings = {
  flushIntervalMs: 60_000,
  flushRows: 2_000_000,
  smallHourRows: 5000,
  smallHourWaitMs: 600_000,
  snapshotEvery: 5,
  idleTimeoutMs: 600_000,
  gapTimeoutMs: 60_000,
  allowedLatenessMs: 600_000,
  correctionIntervalMs: 60_000,
  devicesMax: 1000,
  eventIdBytesMax: 1_000_000
}

/** A small profile: a required metric, optional ones of each type, features that are easy to compute by hand. */
export const PUMP: Profile = profileSchema.parse({
  name: 'pump',
  interval: '10s',
  metrics: [
    { name: 'temperature', min: -40, max: 150, required: true },
    { name: 'flow', min: 0, max: 100, on_out_of_range: 'null' },
    { name: 'rpm', type: 'int', min: 0, max: 3000 },
    { name: 'running', type: 'bool' },
    { name: 'place', type: 'string', max: 8 }
  ],
  features: [
    { name: 'temp_mean_5m', metric: 'temperature', aggregate: 'mean', window: '5m' },
    { name: 'temp_max_5m', metric: 'temperature', aggregate: 'max', window: '5m' },
    { name: 'readings_5m', metric: 'temperature', aggregate: 'count', window: '5m' }
  ]
})

export interface ReadingSpec {
  readonly seq: number
  readonly eventTimeMs: number
  /** By metric; what is not named is null, save the temperature, which is 20. */
  readonly values?: Readonly<Record<string, Value>>
}

export interface SourceSpec {
  readonly device?: string
  readonly epoch?: number
  readonly profile?: Profile
  /** Default 1: the device holds everything. */
  readonly oldestHeldSeq?: number
  /** Default: the highest that the epoch has told of so far, or the last of this batch. */
  readonly highestSampledSeq?: number
  readonly tombstones?: readonly (Omit<Tombstone, 'reason'> & { readonly reason?: string })[]
  readonly clock?: 'synced' | 'estimated'
  readonly endOfStreamSeq?: number
  readonly extra?: readonly ExtraColumn[]
}

export interface BatchSpec extends SourceSpec {
  readonly readings?: readonly ReadingSpec[]
}

export interface FrameSpec {
  readonly kind: FrameKind
  readonly device?: string
  readonly payload?: Uint8Array
}

export class Timeline {
  readonly flushes: Flush[] = []
  /** The parts of the snapshots that were due, by the number of flushes before them and with them. */
  readonly snapshots = new Map<number, Uint8Array[]>()
  /** A snapshot under way: a part of one device is taken before each entry, so that devices change meanwhile. */
  private taking: { readonly encoder: StateEncoder; readonly parts: Uint8Array[] } | null = null
  /** Ingest time of the next entry. */
  nowMs = at('14:00')
  private readonly highest = new Map<string, number>()
  private readonly ledgers = new Map<string, EpochLedger>()

  /** `entries`: the log; those that it begins with are not applied: the processor has them behind it. */
  constructor(
    eventIds: EventIdStore = new EventIdsInMemory(),
    readonly entries: LogEntry[] = [],
    private readonly processor = new Processor(eventIds)
  ) {}

  start(settings: Partial<Settings> = {}, profiles: readonly Profile[] = [PUMP]): this {
    this.append({ kind: 'control', payload: encodeControl({ control: 'start', settings: { ...SETTINGS, ...settings }, profiles }) })
    return this
  }

  /** Appends the frames as one entry. */
  append(...frames: readonly FrameSpec[]): Flush | null {
    const entry = { entry: this.entries.length + 1, ingestMs: this.nowMs, frames: packed(frames) }
    this.entries.push(entry)
    this.takePart()
    const flush = this.processor.apply(entry)
    if (flush !== null) {
      this.flushes.push(flush)
      if (flush.snapshotIsDue) this.beginSnapshot()
      for (const ledger of ledgersOf(flush)) this.ledgers.set(`${ledger.deviceId}/${ledger.epoch}`, ledger)
    }
    return flush
  }

  /** Takes what is left of the snapshot under way. */
  finishSnapshot(): void {
    while (this.takePart());
  }

  private beginSnapshot(): void {
    this.finishSnapshot()
    const parts: Uint8Array[] = []
    this.taking = { encoder: this.processor.beginSnapshot(1), parts }
    this.snapshots.set(this.flushes.length, parts)
  }

  private takePart(): boolean {
    const part = this.taking?.encoder.next() ?? null
    if (part === null) this.taking = null
    else this.taking?.parts.push(part)
    return part !== null
  }

  reading({ seq, eventTimeMs, values, ...source }: ReadingSpec & SourceSpec): Flush | null {
    return this.batch({ ...source, readings: [values === undefined ? { seq, eventTimeMs } : { seq, eventTimeMs, values }] })
  }

  batch(spec: BatchSpec): Flush | null {
    return this.message('batch', this.encode(spec), spec.device)
  }

  /** The payload that `batch` would append. */
  encode({ device = 'pump-7', readings = [], ...spec }: BatchSpec): Uint8Array {
    const { epoch = 1 } = spec
    const key = `${device}/${epoch}`
    const highestSampledSeq = spec.highestSampledSeq ?? Math.max(this.highest.get(key) ?? 0, ...readings.map(({ seq }) => seq))
    this.highest.set(key, highestSampledSeq)
    return encodeBatch(batchInput({ ...spec, readings }, highestSampledSeq))
  }

  json(value: unknown, device = 'meter-1'): Flush | null {
    return this.message('json', new TextEncoder().encode(JSON.stringify(value)), device)
  }

  message(kind: 'batch' | 'json', payload: Uint8Array, device = 'pump-7'): Flush | null {
    return this.append({ kind, device, payload })
  }

  /** Sets something of a device in the registry. */
  set(deviceId: string, settings: DeviceSettings): Flush | null {
    return this.append({ kind: 'control', payload: encodeControl({ control: 'device', deviceId, settings }) })
  }

  status(status: Status, device = 'pump-7'): Flush | null {
    return this.append({ kind: 'status', device, payload: new TextEncoder().encode(JSON.stringify(status)) })
  }

  /** Lets `ms` of ingest time pass in ticks, one each `everyMs`. */
  tick(ms: number, everyMs = 1000): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs = Math.min(endMs, this.nowMs + everyMs)
      this.append({ kind: 'tick' })
    }
  }

  /** Lets `ms` of ingest time pass without a tick, as when the gateway is down. */
  leap(ms: number): void {
    this.nowMs += ms
  }

  drain(): Flush {
    return this.append({ kind: 'control', payload: encodeControl({ control: 'drain' }) })!
  }

  readings(): Row[] {
    return rowsOf(this.flushes, 'processed')
  }

  features(): Row[] {
    return rowsOf(this.flushes, 'curated')
  }

  /** Feature rows at their latest revision. */
  latestFeatures(): Row[] {
    const latest = new Map<string, Row>()
    for (const row of this.features()) {
      const known = latest.get(`${row.device_id}/${row.as_of}`)
      if (known === undefined || (row.revision as number) > (known.revision as number)) latest.set(`${row.device_id}/${row.as_of}`, row)
    }
    return [...latest.values()].sort((a, b) => (a.as_of as number) - (b.as_of as number))
  }

  quarantine(): Row[] {
    return rowsOf(this.flushes, 'quarantine')
  }

  /** What the last flush that speaks of the epoch says of it. */
  ledger(device = 'pump-7', epoch = 1): EpochLedger | undefined {
    return this.ledgers.get(`${device}/${epoch}`)
  }

  allLedgers(): EpochLedger[] {
    return [...this.ledgers.values()]
  }

  watermark(device = 'pump-7'): number | null {
    return this.processor.watermarkMs(device)
  }

  device(deviceId = 'pump-7'): DeviceRow | null {
    return this.processor.device(deviceId)
  }

  notices(): ReturnType<Processor['takeNotices']> {
    return this.processor.takeNotices()
  }

  stats(): ReturnType<Processor['stats']> {
    return this.processor.stats()
  }
}

/** A log that begins with a start. */
export function timeline(settings: Partial<Settings> = {}, profiles: readonly Profile[] = [PUMP]): Timeline {
  return new Timeline().start(settings, profiles)
}

export function packed(frames: readonly FrameSpec[]): Uint8Array {
  const none = new Uint8Array(0)
  const bytes = Buffer.alloc(frames.reduce((sum, { device = '', payload = none }) => sum + frameBytes(device, payload.length), 0))
  let end = 0
  for (const { kind, device = '', payload = none } of frames) end = writeFrame(bytes, end, kind, device, payload)
  return new Uint8Array(bytes)
}

function batchInput(
  spec: Omit<BatchSpec, 'device'> & { readonly readings: readonly ReadingSpec[] },
  highestSampledSeq: number
): BatchInput {
  const { readings, epoch = 1, profile = PUMP, oldestHeldSeq = 1, tombstones = [], clock, endOfStreamSeq, extra } = spec
  const metricValue = ({ values = {} }: ReadingSpec, metric: string) =>
    values[metric] ?? (metric === 'temperature' && !('temperature' in values) ? 20 : null)
  return {
    profile,
    epoch,
    oldestHeldSeq,
    highestSampledSeq,
    buffered: Math.max(0, highestSampledSeq - oldestHeldSeq + 1),
    seqs: readings.map(({ seq }) => seq),
    eventTimesMs: readings.map(({ eventTimeMs }) => eventTimeMs),
    columns:
      readings.length === 0
        ? []
        : profile.metrics.map(metric => columnOf(metric, readings.length, i => metricValue(readings[i], metric.name))),
    tombstones: tombstones.map(tombstone => ({ reason: 'thinned', ...tombstone })),
    ...(clock !== undefined && { clock }),
    ...(endOfStreamSeq !== undefined && { endOfStreamSeq }),
    ...(extra !== undefined && { extra })
  }
}
