/**
 * Reads entries of the log back from the raw layer, hour by hour in the order of their offsets: by DuckDB, as a stream. Tells which hours
 * are not whole: what it cannot vouch for is not replayed.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBBlobValue, type DuckDBConnection, DuckDBInstance, type DuckDBValue } from '@duckdb/node-api'
import type { Profile } from '@tidemark/protocol'
import type { CatalogFile } from '../archive/catalog.js'
import { quoteText } from '../archive/parquet.js'
import type { DataPaths } from '../archive/paths.js'
import { type FrameKind, frameBytes, writeFrame } from '../log/frames.js'
import type { LogEntry } from '../log/schema.js'
import { decodeControl } from '../processor/control.js'
import { decodeRequeue, type RequeueHead } from '../processor/requeue.js'

/** Entries (since, through] of the log. */
export interface Span {
  readonly sinceEntry: number
  readonly throughEntry: number
}

interface RawFrame {
  readonly kind: FrameKind
  readonly deviceId: string
  readonly payload: Uint8Array
}

const NOTHING = new Uint8Array(0)

export class RawReader {
  private constructor(
    private readonly paths: DataPaths,
    private readonly files: readonly CatalogFile[],
    private readonly instance: DuckDBInstance,
    private readonly connection: DuckDBConnection
  ) {}

  /** `files`: of the raw layer. */
  static async open(paths: DataPaths, files: readonly CatalogFile[], memoryMiB: number): Promise<RawReader> {
    const options = { threads: '1', memory_limit: `${memoryMiB}MiB`, temp_directory: join(paths.reprocessing, 'spill-raw') }
    const instance = await DuckDBInstance.create(':memory:', { ...options, preserve_insertion_order: 'true' })
    return new RawReader(paths, files, instance, await instance.connect())
  }

  /** What keeps the frames of the span from being whole, an hour each; empty where nothing does. */
  async faults(span: Span): Promise<string[]> {
    const faults: string[] = []
    let next = span.sinceEntry + 1
    for (const [hourMs, files] of this.hours(span)) {
      const name = new Date(hourMs).toISOString().slice(0, 13)
      const lacking = files.filter(file => !existsSync(this.place(file)))
      if (lacking.length > 0) {
        faults.push(`${name}: ${lacking[0].path} is gone`)
        next = Number.NaN
        continue
      }
      const found = await this.count(files).catch((error: unknown) => `cannot be read (${error instanceof Error ? error.message : error})`)
      if (typeof found === 'string') {
        faults.push(`${name}: ${found}`)
        next = Number.NaN
        continue
      }
      if (found.first > next) faults.push(`${name} or before it: the entries ${next} to ${found.first - 1} are gone`)
      if (!found.isWhole) faults.push(`${name}: some of its frames are gone`)
      next = found.last + 1
    }
    if (next <= span.throughEntry) faults.push(`behind the last hour: the entries ${next} to ${span.throughEntry} are gone`)
    return faults
  }

  /** Ingest time of the first entry behind `entry`, Unix ms; null where there is none. */
  async ingestMsBehind(span: Span): Promise<number | null> {
    for (const [, files] of this.hours(span)) {
      const [[ms]] = await this.rows(`SELECT epoch_ms(min(ingest_time)) FROM (${this.scan(files)}) WHERE entry > ${span.sinceEntry}`)
      if (ms !== null) return Number(ms)
    }
    return null
  }

  /** The first and the last entry of the span taken in at [fromMs, toMs); null where there is none. */
  async entriesBetween(span: Span, fromMs: number, toMs: number): Promise<{ first: number; last: number } | null> {
    let first = Number.POSITIVE_INFINITY
    let last = 0
    for (const [hourMs, files] of this.hours(span)) {
      if (hourMs < fromMs || hourMs >= toMs) continue
      const [[low, high]] = await this.rows(
        `SELECT min(entry), max(entry) FROM (${this.scan(files)}) WHERE entry > ${span.sinceEntry} AND entry <= ${span.throughEntry}`
      )
      if (low === null) continue
      first = Math.min(first, Number(low))
      last = Math.max(last, Number(high))
    }
    return last === 0 ? null : { first, last }
  }

  /** The profiles of the last start in the files; empty where there is none. */
  async lastStarted(): Promise<readonly Profile[]> {
    for (const [, files] of this.hours({ sinceEntry: 0, throughEntry: Number.MAX_SAFE_INTEGER }).reverse()) {
      const rows = await this.rows(`SELECT payload FROM (${this.scan(files)}) WHERE kind = 'control' ORDER BY entry DESC, frame_index DESC`)
      for (const [payload] of rows) {
        const control = payload instanceof DuckDBBlobValue ? decodeControl(payload.bytes) : null
        if (control?.control === 'start') return control.profiles
      }
    }
    return []
  }

  /** Whether JSON readings are among the frames of the span. */
  async hasJson(span: Span): Promise<boolean> {
    for (const [, files] of this.hours(span)) {
      const rows = await this.rows(`SELECT 1 FROM (${this.scan(files)}) WHERE kind = 'json' AND entry > ${span.sinceEntry} LIMIT 1`)
      if (rows.length > 0) return true
    }
    return false
  }

  /** What the requeue frames of the span say, without their messages. */
  async *requeues(span: Span): AsyncGenerator<RequeueHead> {
    for (const [, files] of this.hours(span)) {
      const result = await this.connection.stream(`SELECT payload FROM (${this.scan(files)}) WHERE kind = 'requeue'`)
      for await (const rows of result.yieldRows()) {
        for (const [payload] of rows) if (payload instanceof DuckDBBlobValue) yield decodeRequeue(payload.bytes)
      }
    }
  }

  /** The frames of the span. */
  async frames(span: Span): Promise<number> {
    let frames = 0
    for (const [, files] of this.hours(span)) {
      const [[count]] = await this.rows(`SELECT count(*) FROM (${this.scan(files)}) WHERE ${within(span)}`)
      frames += Number(count)
    }
    return frames
  }

  /** The entries of the span, each with the hour that it was taken in and its frames' number. */
  async *entries(span: Span, rewrite: (entry: number, frame: RawFrame) => Uint8Array): AsyncGenerator<LogEntry & { frameCount: number }> {
    for (const [, files] of this.hours(span)) {
      // Each file is in order; compaction by size may have put the entries of one between those of another.
      const isNested = files.some((file, i) => i > 0 && file.firstEntry <= files[i - 1].lastEntry)
      const order = isNested ? 'ORDER BY entry, frame_index' : ''
      const columns = 'epoch_ms(ingest_time), entry, kind, device_id, payload'
      const result = await this.connection.stream(`SELECT ${columns} FROM (${this.scan(files)}) WHERE ${within(span)} ${order}`)
      let entry = 0
      let ingestMs = 0
      let frames: RawFrame[] = []
      for await (const rows of result.yieldRows()) {
        for (const row of rows) {
          if (Number(row[1]) !== entry) {
            if (frames.length > 0) yield { entry, ingestMs, frames: packed(frames), frameCount: frames.length }
            entry = Number(row[1])
            ingestMs = Number(row[0])
            frames = []
          }
          const frame = frameOf(row)
          frames.push({ ...frame, payload: rewrite(entry, frame) })
        }
      }
      if (frames.length > 0) yield { entry, ingestMs, frames: packed(frames), frameCount: frames.length }
    }
  }

  close(): void {
    this.connection.closeSync()
    this.instance.closeSync()
  }

  /** The files that may hold entries of the span, by hour, oldest first. */
  private hours({ sinceEntry, throughEntry }: Span): [number, CatalogFile[]][] {
    const hours = new Map<number, CatalogFile[]>()
    const touching = this.files.filter(file => file.lastEntry > sinceEntry && file.firstEntry <= throughEntry)
    for (const file of [...touching].sort((a, b) => a.hourMs - b.hourMs || a.firstEntry - b.firstEntry || a.lastEntry - b.lastEntry)) {
      const hour = hours.get(file.hourMs)
      if (hour === undefined) hours.set(file.hourMs, [file])
      else hour.push(file)
    }
    return [...hours]
  }

  private async count(files: readonly CatalogFile[]): Promise<{ first: number; last: number; isWhole: boolean }> {
    const entries = `SELECT entry, count(*) AS frames, max(frame_index) + 1 AS ends FROM (${this.scan(files)}) GROUP BY entry`
    const [[first, last, count, frames, isWhole]] = await this.rows(
      `SELECT min(entry), max(entry), count(*), sum(frames), bool_and(frames = ends) FROM (${entries})`
    )
    const recorded = files.reduce((sum, file) => sum + file.rows, 0)
    const hasAll = Number(frames) === recorded && Number(count) === Number(last) - Number(first) + 1
    return { first: Number(first), last: Number(last), isWhole: isWhole === true && hasAll }
  }

  private scan(files: readonly CatalogFile[]): string {
    return `SELECT * FROM read_parquet([${files.map(file => quoteText(this.place(file))).join(', ')}], hive_partitioning = false)`
  }

  private place(file: CatalogFile): string {
    return join(this.paths.archive, file.path)
  }

  private async rows(sql: string): Promise<DuckDBValue[][]> {
    return (await this.connection.runAndReadAll(sql)).getRows()
  }
}

function within({ sinceEntry, throughEntry }: Span): string {
  return `entry > ${sinceEntry} AND entry <= ${throughEntry}`
}

const KINDS: Readonly<Record<FrameKind, true>> = { batch: true, json: true, status: true, tick: true, control: true, requeue: true }

function isKind(kind: string): kind is FrameKind {
  return Object.hasOwn(KINDS, kind)
}

function frameOf([, , kind, deviceId, payload]: readonly DuckDBValue[]): RawFrame {
  const name = String(kind)
  if (!isKind(name)) throw new Error(`the raw layer holds a frame of a kind that this version does not know: ${name}`)
  return {
    kind: name,
    deviceId: deviceId === null ? '' : String(deviceId),
    payload: payload instanceof DuckDBBlobValue ? payload.bytes : NOTHING
  }
}

function packed(frames: readonly RawFrame[]): Uint8Array {
  const bytes = Buffer.alloc(frames.reduce((sum, { deviceId, payload }) => sum + frameBytes(deviceId, payload.length), 0))
  let end = 0
  for (const { kind, deviceId, payload } of frames) end = writeFrame(bytes, end, kind, deviceId, payload)
  return bytes
}
