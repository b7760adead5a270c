/**
 * Opaque event IDs in SQLite, `DATA_DIR/event-ids.sqlite`. Written in one transaction from flush boundary to flush boundary:
 * what a crash takes back lies behind the last snapshot, and the replay of the log writes it again.
 */
import { EVENT_ID_KEPT_MS, type EventIdStore, eventIdBytes, type Position } from './processor/event-ids.js'
import { type Database, Sqlite } from './sqlite.js'

/**
 * Expired IDs stay this much longer, ms: a replay must still find what the first run found, also one from a snapshot that is kept beside
 * the raw frames (which stay for 7 days by default).
 */
const PURGE_AFTER_MS = 8 * 24 * 3_600_000

/** Most ingest time that one commit purges, ms: after days of downtime ingest time leaps, and snapshots from before it are still in use. */
const PURGE_STEP_MS = 3_600_000

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS event_ids (
    device_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    entry INTEGER NOT NULL,         -- where it was first seen
    place INTEGER NOT NULL,
    ingest_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (device_id, event_id, entry, place)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS event_ids_by_ingest ON event_ids (ingest_ms, bytes);
  CREATE TABLE IF NOT EXISTS purged (through_ms INTEGER NOT NULL) STRICT;    -- one row: IDs first seen before it are gone
`

export class SqliteEventIdStore implements EventIdStore {
  private readonly db: Database
  private readonly find
  private readonly insert
  private readonly sum
  private readonly purgeBefore
  private readonly purged
  private readonly notePurged

  constructor(path: string) {
    this.db = new Sqlite(path)
    this.db.pragma('journal_mode = WAL')
    this.db.pragma('synchronous = FULL')
    this.db.exec(SCHEMA)
    this.find = this.db.prepare<[string, string, number, number, number]>(
      'SELECT 1 FROM event_ids WHERE device_id = ? AND event_id = ? AND (entry, place) < (?, ?) AND ingest_ms >= ? LIMIT 1'
    )
    this.insert = this.db.prepare<[string, string, number, number, number, number]>(
      'INSERT OR IGNORE INTO event_ids VALUES (?, ?, ?, ?, ?, ?)'
    )
    this.sum = this.db.prepare<[number, number], { bytes: number | null }>(
      'SELECT sum(bytes) AS bytes FROM event_ids WHERE ingest_ms >= ? AND ingest_ms < ?'
    )
    this.purgeBefore = this.db.prepare<[number]>('DELETE FROM event_ids WHERE ingest_ms < ?')
    this.purged = this.db.prepare<[], { throughMs: number }>('SELECT through_ms AS throughMs FROM purged')
    this.notePurged = this.db.prepare<[number]>('INSERT OR REPLACE INTO purged (rowid, through_ms) VALUES (1, ?)')
  }

  has(deviceId: string, eventId: string, before: Position, sinceMs: number): boolean {
    return this.find.get(deviceId, eventId, before.entry, before.place, sinceMs) !== undefined
  }

  add(deviceId: string, eventId: string, at: Position, ingestMs: number): void {
    if (!this.db.inTransaction) this.db.exec('BEGIN')
    this.insert.run(deviceId, eventId, at.entry, at.place, ingestMs, eventIdBytes(deviceId, eventId))
  }

  bytesBetween(fromMs: number, toMs: number): number {
    return this.sum.get(fromMs, toMs)?.bytes ?? 0
  }

  /** Makes what was added durable and deletes what expired long ago. Call it at a boundary, before its flush goes out. */
  commit(ingestMs: number): void {
    if (!this.db.inTransaction) return
    const wantedMs = ingestMs - EVENT_ID_KEPT_MS - PURGE_AFTER_MS
    const purgedMs = this.purged.get()?.throughMs ?? wantedMs
    const throughMs = Math.max(purgedMs, Math.min(wantedMs, purgedMs + PURGE_STEP_MS))
    this.purgeBefore.run(throughMs)
    this.notePurged.run(throughMs)
    this.db.exec('COMMIT')
  }

  close(): void {
    if (this.db.inTransaction) this.db.exec('COMMIT')
    this.db.close()
  }
}
