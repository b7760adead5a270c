import { BLOB, DOUBLE, type DuckDBDataChunk, VARCHAR } from '@duckdb/node-api'
import { FrameCursor, type FrameKind } from '../log/frames.js'
import { type LogEntry, READ_ENTRIES } from '../log/schema.js'
import { type Database, Sqlite } from '../sqlite.js'
import { FlushRefusedError } from './archive-error.js'
import { CHUNK_BYTES, CHUNK_ROWS, type ChunkSource, NumberCells, SliceCells } from './chunk-source.js'
import { HOUR_MS } from './paths.js'

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
  private readonly numbers = Array.from({ length: 4 }, () => new NumberCells())
  private readonly devices = new SliceCells()
  private readonly payloads = new SliceCells()
  private entries: Generator<LogEntry>
  private entry: LogEntry | null = null
  private cursor = new FrameCursor(new Uint8Array(0))
  private index = 0

  constructor(
    private readonly hour: RawHour,
    private readonly readAfter: (entry: number) => LogEntry[]
  ) {
    this.entries = this.read()
  }

  rewind(): void {
    this.entries = this.read()
    this.entry = null
    this.rows = 0
  }

  fill(chunk: DuckDBDataChunk): void {
    const { devices, payloads } = this
    let rows = 0
    while (rows < CHUNK_ROWS && payloads.heapBytes < CHUNK_BYTES && this.nextFrame()) this.put(rows++)
    chunk.rowCount = rows
    this.rows += rows
    if (rows === 0) return
    for (const [k, cells] of [...this.numbers, devices, payloads].entries()) cells.flush(chunk, k, rows)
  }

  private put(row: number): void {
    const { numbers, devices, payloads, entry, cursor } = this
    const { bytes, idStart, idEnd, payloadStart, payloadEnd } = cursor
    numbers[0].values[row] = entry!.ingestMs
    numbers[1].values[row] = entry!.entry
    numbers[2].values[row] = this.index++
    numbers[3].values[row] = KIND_CODES.get(cursor.kind)!
    if (idEnd === idStart) devices.put(row, 0, -1)
    else devices.put(row, devices.keep(bytes, idStart, idEnd), idEnd - idStart)
    payloads.put(row, payloads.keep(bytes, payloadStart, payloadEnd), payloadEnd - payloadStart)
  }

  /** Brings the cursor to the next frame; false behind the last. */
  private nextFrame(): boolean {
    while (this.entry === null || !this.cursor.next()) {
      const next = this.entries.next()
      if (next.done) return false
      this.entry = next.value
      this.cursor = new FrameCursor(next.value.frames)
      this.index = 0
    }
    return true
  }

  private *read(): Generator<LogEntry> {
    let after = this.hour.firstEntry - 1
    while (after < this.hour.lastEntry) {
      const entries = this.readAfter(after)
      if (entries.length === 0) throw new Error(`the log lacks entry ${after + 1}`)
      for (const entry of entries) {
        if (entry.entry > this.hour.lastEntry) return
        yield entry
        after = entry.entry
      }
    }
  }
}
