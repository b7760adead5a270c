import { BLOB, DOUBLE, DuckDBBlobValue, type DuckDBDataChunk, VARCHAR } from '@duckdb/node-api'
import { type Frame, type FrameKind, readFrames } from '../log/frames.js'
import { type LogEntry, READ_ENTRIES } from '../log/schema.js'
import { type Database, Sqlite } from '../sqlite.js'
import { FlushRefusedError } from './archive-error.js'
import { CHUNK_ROWS, type ChunkSource, numbersOf } from './chunk-source.js'
import { HOUR_MS } from './paths.js'
import { CHUNK_BYTES } from './wide-source.js'

/**
 * The raw layer: every frame as the log holds it, by hour of ingest time. Frames go from SQLite to Parquet a chunk at a time:
 * memory does not grow with the flush. The log is only read.
 */

/** Entries of one hour of ingest time; both ends included. */
export interface RawHour {
  readonly hourMs: number
  readonly firstEntry: number
  readonly lastEntry: number
}

/** Entries read from SQLite at once: a few, as one can be megabytes large. */
const ENTRIES_PER_READ = 16

const KINDS: readonly FrameKind[] = ['batch', 'json', 'status', 'tick', 'control', 'requeue']
const KIND_CODES = new Map(KINDS.map((kind, code) => [kind, code]))

/** What makes the rows of a `RawSource` the rows of a raw file. */
export const RAW_SELECT = `SELECT make_timestamptz(__ingest::BIGINT * 1000) AS ingest_time, __entry::BIGINT AS entry, __frame::INTEGER AS frame_index,
  [${KINDS.map(kind => `'${kind}'`).join(', ')}][__kind::INTEGER + 1] AS kind, device_id, payload FROM source()`

/** Reads the log beside its writer. */
export class RawLog {
  private constructor(private readonly database: Database) {}

  static open(path: string): RawLog {
    return new RawLog(new Sqlite(path, { readonly: true, fileMustExist: true }))
  }

  /** The hours that the entries in [firstEntry, lastEntry] were taken in. Throws where the log lacks one of them. */
  hours(firstEntry: number, lastEntry: number): RawHour[] {
    const sql = `SELECT ingest_ms / ${HOUR_MS} AS hour, min(entry) AS firstEntry, max(entry) AS lastEntry, count(*) AS entries
      FROM entries WHERE entry BETWEEN ? AND ? GROUP BY 1 ORDER BY 1`
    const hours = this.database.prepare(sql).all(firstEntry, lastEntry) as (Omit<RawHour, 'hourMs'> & { hour: number; entries: number })[]
    const found = hours.reduce((sum, hour) => sum + hour.entries, 0)
    if (found !== lastEntry - firstEntry + 1) {
      throw new FlushRefusedError(
        `the log holds ${found} of the entries ${firstEntry} to ${lastEntry}: it was truncated too early, or damaged`
      )
    }
    return hours.map(hour => ({ hourMs: hour.hour * HOUR_MS, firstEntry: hour.firstEntry, lastEntry: hour.lastEntry }))
  }

  source(hour: RawHour): RawSource {
    const statement = this.database.prepare(READ_ENTRIES)
    return new RawSource(hour, after => statement.all(after, ENTRIES_PER_READ) as LogEntry[])
  }

  close(): void {
    this.database.close()
  }
}

interface RawFrame extends Frame {
  readonly entry: LogEntry
  readonly index: number
}

/** The frames of an hour's entries, in the log's order. */
export class RawSource implements ChunkSource {
  readonly columns = [
    { name: '__ingest', type: DOUBLE },
    { name: '__entry', type: DOUBLE },
    { name: '__frame', type: DOUBLE },
    { name: '__kind', type: DOUBLE },
    { name: 'device_id', type: VARCHAR },
    { name: 'payload', type: BLOB }
  ]
  /** Frames given out so far. */
  rows = 0
  private frames: Generator<RawFrame>

  constructor(
    private readonly hour: RawHour,
    private readonly readAfter: (entry: number) => LogEntry[]
  ) {
    this.frames = this.read()
  }

  rewind(): void {
    this.frames = this.read()
    this.rows = 0
  }

  fill(chunk: DuckDBDataChunk): void {
    const frames: RawFrame[] = []
    let bytes = 0
    while (frames.length < CHUNK_ROWS && bytes < CHUNK_BYTES) {
      const next = this.frames.next()
      if (next.done) break
      frames.push(next.value)
      bytes += next.value.payload.length
    }
    chunk.rowCount = frames.length
    this.rows += frames.length
    if (frames.length === 0) return
    const numbers = [0, 1, 2, 3].map(k => numbersOf(chunk.getColumnVector(k)))
    const devices = chunk.getColumnVector(4)
    const payloads = chunk.getColumnVector(5)
    frames.forEach((frame, i) => {
      numbers[0][i] = frame.entry.ingestMs
      numbers[1][i] = frame.entry.entry
      numbers[2][i] = frame.index
      numbers[3][i] = KIND_CODES.get(frame.kind)!
      devices.setItem(i, frame.deviceId === '' ? null : frame.deviceId)
      payloads.setItem(i, new DuckDBBlobValue(frame.payload))
    })
    for (let k = 0; k < this.columns.length; k++) chunk.getColumnVector(k).flush()
  }

  private *read(): Generator<RawFrame> {
    let after = this.hour.firstEntry - 1
    while (after < this.hour.lastEntry) {
      const entries = this.readAfter(after)
      if (entries.length === 0) throw new Error(`the log lacks entry ${after + 1}`)
      for (const entry of entries) {
        if (entry.entry > this.hour.lastEntry) return
        let index = 0
        for (const frame of readFrames(entry.frames)) yield { ...frame, entry, index: index++ }
        after = entry.entry
      }
    }
  }
}
