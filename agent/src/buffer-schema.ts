import { crc32 } from 'node:zlib'
import type { ClockRange } from './clock-ranges.js'
import type { Database, Statement } from './sqlite.js'

/**
 * The buffer's SQLite file: WAL, synchronous=FULL, so a commit is durable when it returns. One agent writes it (buffer-lock.ts);
 * `status` reads it beside.
 *
 * Positions 1, 2, 3, … number the readings of the buffer through all its epochs and are never reused. An epoch covers the
 * positions behind its base, up to the base of the next; seq = position - base.
 */
export const BUFFER_SCHEMA_VERSION = 2

export const BUFFER_SCHEMA = `
  CREATE TABLE IF NOT EXISTS state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    device_id TEXT NOT NULL,
    machine_id TEXT NOT NULL,             -- a copy on another machine takes a new epoch
    next_position INTEGER NOT NULL,
    settled_position INTEGER NOT NULL,    -- everything up to it is acked or shed
    published_position INTEGER NOT NULL,  -- nothing behind it was ever published
    reserved_position INTEGER NOT NULL,   -- nothing behind it was ever given away; what lies between next_position and it may have been
    held INTEGER NOT NULL,                -- readings in chunks behind settled_position
    bytes INTEGER NOT NULL,               -- of chunks, with their overhead
    event_time_ms INTEGER,                -- last event time given to a live reading in this epoch
    source_key TEXT,                      -- which source source_position belongs to
    source_position TEXT,
    source_ended INTEGER NOT NULL,
    unreadable_rows INTEGER NOT NULL,     -- rows that were shed because they could not be read
    nulled_values INTEGER NOT NULL,       -- values that could not be read and became null
    last_acked_ms INTEGER,
    last_error TEXT,
    last_error_ms INTEGER,
    salvage TEXT                          -- what the last salvage kept and lost
  ) STRICT;
  CREATE TABLE IF NOT EXISTS epochs (
    epoch INTEGER PRIMARY KEY,
    base INTEGER NOT NULL,
    highest_seq INTEGER                   -- null while it is the current one
  ) STRICT;
  CREATE TABLE IF NOT EXISTS profiles (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    profile TEXT NOT NULL                 -- JSON; readings keep the profile they were sampled with
  ) STRICT;
  CREATE TABLE IF NOT EXISTS chunks (
    first_position INTEGER PRIMARY KEY,
    last_position INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles,
    stored_ms INTEGER NOT NULL,           -- Unix ms
    payload BLOB NOT NULL,                -- chunk.ts
    crc INTEGER NOT NULL                  -- chunkCrc: SQLite itself does not notice a flipped bit
  ) STRICT;
  CREATE TABLE IF NOT EXISTS tombstones (
    id INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    keep_every INTEGER NOT NULL,
    reason TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS clock_ranges ( -- clock-ranges.ts
    first_position INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    quality TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    offset_ms INTEGER NOT NULL,
    floor_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS tombstones_by_seq ON tombstones (epoch, first_seq);
`

/** The state row as it is selected. */
export interface BufferState {
  readonly deviceId: string
  readonly machineId: string
  readonly nextPosition: number
  readonly settledPosition: number
  readonly publishedPosition: number
  readonly reservedPosition: number
  readonly held: number
  readonly bytes: number
  readonly eventTimeMs: number | null
  readonly sourceKey: string | null
  readonly sourcePosition: string | null
  readonly sourceEnded: number
  readonly unreadableRows: number
  readonly nulledValues: number
  readonly lastAckedMs: number | null
  readonly lastError: string | null
  readonly lastErrorMs: number | null
  readonly salvage: string | null
}

const STATE_COLUMNS: Record<keyof BufferState, string> = {
  deviceId: 'device_id',
  machineId: 'machine_id',
  nextPosition: 'next_position',
  settledPosition: 'settled_position',
  publishedPosition: 'published_position',
  reservedPosition: 'reserved_position',
  held: 'held',
  bytes: 'bytes',
  eventTimeMs: 'event_time_ms',
  sourceKey: 'source_key',
  sourcePosition: 'source_position',
  sourceEnded: 'source_ended',
  unreadableRows: 'unreadable_rows',
  nulledValues: 'nulled_values',
  lastAckedMs: 'last_acked_ms',
  lastError: 'last_error',
  lastErrorMs: 'last_error_ms',
  salvage: 'salvage'
}

const entries = Object.entries(STATE_COLUMNS)

export const SELECT_STATE = `SELECT ${entries.map(([key, column]) => `${column} AS ${key}`).join(', ')} FROM state`

/** Replaces the state row; parameters by the names of `BufferState`. */
export const REPLACE_STATE = `INSERT INTO state (id, ${entries.map(([, column]) => column).join(', ')}) VALUES (1, ${entries.map(([key]) => `@${key}`).join(', ')})
  ON CONFLICT (id) DO UPDATE SET ${entries.map(([, column]) => `${column} = excluded.${column}`).join(', ')}`

export const SELECT_EPOCHS = 'SELECT epoch, base, highest_seq AS highestSeq FROM epochs ORDER BY base, highest_seq IS NULL'

export const SELECT_CLOCKS = `SELECT first_position AS firstPosition, kind, quality, boot_id AS bootId, offset_ms AS offsetMs, floor_ms AS floorMs
  FROM clock_ranges ORDER BY first_position`

/** Replaces them all, inside a commit: they are few. */
export function writeClocks(database: Database, clocks: readonly ClockRange[]): void {
  database.exec('DELETE FROM clock_ranges')
  const insert = database.prepare<[ClockRange]>(
    'INSERT INTO clock_ranges VALUES (@firstPosition, @kind, @quality, @bootId, @offsetMs, @floorMs)'
  )
  for (const range of clocks) insert.run(range)
}

export interface TombstoneRow {
  readonly id: number
  readonly epoch: number
  readonly firstSeq: number
  readonly lastSeq: number
  readonly keepEvery: number
  readonly reason: string
}

export const TOMBSTONE_COLUMNS = 'id, epoch, first_seq AS firstSeq, last_seq AS lastSeq, keep_every AS keepEvery, reason'

export interface ChunkRow {
  readonly firstPosition: number
  readonly lastPosition: number
  readonly readings: number
  readonly profile: number
  readonly storedMs: number
  readonly payload: Uint8Array
  readonly crc: number
}

export const CHUNK_COLUMNS =
  'first_position AS firstPosition, last_position AS lastPosition, readings, profile, stored_ms AS storedMs, payload, crc'

/** CRC-32 of all that a chunk says. */
export function chunkCrc({ firstPosition, lastPosition, readings, profile, payload }: Omit<ChunkRow, 'crc' | 'storedMs'>): number {
  return crc32(payload, crc32(`${firstPosition} ${lastPosition} ${readings} ${profile}`))
}

/** The statements that run for every commit and batch. */
export interface BufferStatements {
  readonly replaceState: Statement<[BufferState]>
  readonly insertChunk: Statement<[ChunkRow]>
  readonly chunkAt: Statement<[number], ChunkRow>
  readonly chunkBehind: Statement<[number], ChunkRow>
  readonly chunksBehind: Statement<[number], ChunkRow>
  readonly hasChunkBehind: Statement<[number]>
  readonly readingsBehind: Statement<[number], number>
  readonly bytesUpTo: Statement<[number, number, number], number>
  readonly deleteUpTo: Statement<[number, number]>
  readonly deleteChunk: Statement<[number]>
  readonly replaceEpoch: Statement<[number, number, number | null]>
}

export function insertChunk(database: Database): Statement<[ChunkRow]> {
  return database.prepare<[ChunkRow]>(
    'INSERT INTO chunks VALUES (@firstPosition, @lastPosition, @readings, @profile, @storedMs, @payload, @crc)'
  )
}

/** Compiles them, once for the life of a buffer. */
export function prepareStatements(database: Database): BufferStatements {
  return {
    replaceState: database.prepare<[BufferState]>(REPLACE_STATE),
    insertChunk: insertChunk(database),
    chunkAt: database.prepare<[number], ChunkRow>(
      `SELECT ${CHUNK_COLUMNS} FROM chunks WHERE first_position <= ? ORDER BY first_position DESC LIMIT 1`
    ),
    chunkBehind: database.prepare<[number], ChunkRow>(
      `SELECT ${CHUNK_COLUMNS} FROM chunks WHERE first_position > ? ORDER BY first_position LIMIT 1`
    ),
    chunksBehind: database.prepare<[number], ChunkRow>(
      `SELECT ${CHUNK_COLUMNS} FROM chunks WHERE first_position > ? ORDER BY first_position`
    ),
    hasChunkBehind: database.prepare<[number]>('SELECT 1 FROM chunks WHERE first_position > ? LIMIT 1'),
    readingsBehind: database.prepare<[number], number>('SELECT coalesce(sum(readings), 0) FROM chunks WHERE first_position > ?').pluck(),
    bytesUpTo: database
      .prepare<[number, number, number], number>(
        'SELECT coalesce(sum(length(payload) + ?), 0) FROM chunks WHERE first_position <= ? AND last_position <= ?'
      )
      .pluck(),
    deleteUpTo: database.prepare<[number, number]>('DELETE FROM chunks WHERE first_position <= ? AND last_position <= ?'),
    deleteChunk: database.prepare<[number]>('DELETE FROM chunks WHERE first_position = ?'),
    replaceEpoch: database.prepare<[number, number, number | null]>('INSERT OR REPLACE INTO epochs VALUES (?, ?, ?)')
  }
}
