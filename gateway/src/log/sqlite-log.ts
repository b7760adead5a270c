/**
 * The log in SQLite: entries that are durable once `append` returns (WAL, synchronous=FULL: each commit is fsynced), ordered,
 * without a gap, with ingest times that never fall. One writer; readers open the file beside it.
 */
import { type Database, Sqlite } from '../sqlite.js'
import { LOG_SCHEMA, type LogEntry, READ_ENTRIES } from './schema.js'

export class SqliteLog {
  lastEntry: number
  private lastIngestMs: number
  private readonly db: Database
  private readonly insert
  private readonly remove
  private readonly first

  constructor(path: string) {
    this.db = new Sqlite(path)
    this.db.pragma('journal_mode = WAL')
    this.db.pragma('synchronous = FULL')
    this.db.exec(LOG_SCHEMA)
    this.insert = this.db.prepare<[number, number, Uint8Array]>('INSERT INTO entries VALUES (?, ?, ?)')
    this.remove = this.db.prepare<[number]>('DELETE FROM entries WHERE entry <= ?')
    this.first = this.db.prepare<[], { entry: number | null }>('SELECT min(entry) AS entry FROM entries')
    const last = this.db
      .prepare<[], { entry: number; ingestMs: number }>('SELECT entry, ingest_ms AS ingestMs FROM entries ORDER BY entry DESC LIMIT 1')
      .get()
    this.lastEntry = last?.entry ?? 0
    this.lastIngestMs = last?.ingestMs ?? 0
  }

  /** Makes the frames durable as the next entry and returns its number. Throws where SQLite cannot: nothing of it is kept then. */
  append(frames: Uint8Array, nowMs: number): number {
    const ingestMs = Math.max(this.lastIngestMs, nowMs)
    this.insert.run(this.lastEntry + 1, ingestMs, frames)
    this.lastIngestMs = ingestMs
    return ++this.lastEntry
  }

  /** Deletes at most `entriesMax` of the oldest entries up to `throughEntry`, never the last one. Returns whether more are left to delete. */
  truncate(throughEntry: number, entriesMax: number): boolean {
    const first = this.first.get()?.entry ?? null
    const through = Math.min(throughEntry, this.lastEntry - 1)
    if (first === null || first > through) return false
    this.remove.run(Math.min(through, first + entriesMax - 1))
    return first + entriesMax <= through
  }

  close(): void {
    this.db.close()
  }
}

/** Reads a log beside its writer. */
export class SqliteLogReader {
  private readonly db: Database
  private readonly entries
  private readonly bytes
  private readonly first
  private readonly last

  constructor(path: string) {
    this.db = new Sqlite(path, { readonly: true, fileMustExist: true })
    this.entries = this.db.prepare<[number, number], LogEntry>(READ_ENTRIES)
    this.bytes = this.db.prepare<[number], { bytes: number | null }>('SELECT sum(length(frames)) AS bytes FROM entries WHERE entry > ?')
    this.first = this.db.prepare<[], { entry: number | null }>('SELECT min(entry) AS entry FROM entries')
    this.last = this.db.prepare<[], { entry: number | null }>('SELECT max(entry) AS entry FROM entries')
  }

  /** At most `entriesMax` entries behind `entry`, oldest first. */
  read(entry: number, entriesMax: number): LogEntry[] {
    return this.entries.all(entry, entriesMax)
  }

  /** Bytes of frames behind `entry`. */
  bytesBehind(entry: number): number {
    return this.bytes.get(entry)?.bytes ?? 0
  }

  /** The first entry that is still there; null where there is none. */
  get firstEntry(): number | null {
    return this.first.get()?.entry ?? null
  }

  /** The last entry; 0 where there is none. */
  get lastEntry(): number {
    return this.last.get()?.entry ?? 0
  }

  close(): void {
    this.db.close()
  }
}
