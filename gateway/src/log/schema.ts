import type { DecodedEntry } from '../processor/decoded.js'

/**
 * The log's SQLite file, `DATA_DIR/log.sqlite`: one row an entry, which is one group commit. Only the log worker writes it
 * (WAL, synchronous=FULL), or a command that holds the lock of a stopped gateway's data folder; the processor and the archive read it beside.
 */
export const LOG_SCHEMA = `
  CREATE TABLE IF NOT EXISTS entries (
    entry INTEGER PRIMARY KEY,      -- 1, 2, 3, … without a gap
    ingest_ms INTEGER NOT NULL,     -- ingest time of all its frames, Unix ms; never falls
    frames BLOB NOT NULL            -- frames.ts
  ) STRICT;
`

/** Entries behind `entry`, oldest first. Parameters: entry, limit. */
export const READ_ENTRIES = 'SELECT entry, ingest_ms AS ingestMs, frames FROM entries WHERE entry > ? ORDER BY entry LIMIT ?'

export interface LogEntry {
  readonly entry: number
  readonly ingestMs: number
  readonly frames: Uint8Array
  /** What its frames hold, where another thread has read that already. */
  readonly decoded?: DecodedEntry
}
