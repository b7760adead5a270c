import type { Database } from '../sqlite.js'
import type { CatalogFile } from './catalog.js'

/**
 * The catalog's part of replacing files by others (compaction) or by none (retention). One transaction takes the old ones from
 * the list of files, puts the new ones on it and remembers the old ones until they are deleted: the commit point of a swap.
 * What happens on the disk before and after it: swap.ts.
 */

export const SUPERSEDE_SCHEMA = `
  CREATE TABLE IF NOT EXISTS superseded (
    path TEXT PRIMARY KEY,            -- below archive/ before the swap, below superseded/ after it
    since_ms INTEGER NOT NULL         -- wall time of the swap, Unix ms
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS compactions (
    compaction INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL,               -- of the file that it has made
    at_ms INTEGER NOT NULL,           -- wall time, Unix ms
    files INTEGER NOT NULL,           -- that it has merged
    rows INTEGER NOT NULL,
    bytes_before INTEGER NOT NULL,
    bytes_after INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS expired (
    device_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,           -- 0: readings with opaque event IDs
    archived INTEGER NOT NULL,        -- rows that retention has deleted: the ledger goes on counting them
    quarantined INTEGER NOT NULL,
    PRIMARY KEY (device_id, epoch)
  ) STRICT, WITHOUT ROWID;
`

/** Rows of an epoch that retention has deleted; `epoch` 0 stands for readings with opaque event IDs. */
export interface ExpiredRows {
  readonly deviceId: string
  readonly epoch: number
  readonly archived: number
  readonly quarantined: number
}

export interface SupersededFile {
  /** Below archive/ before the swap, below superseded/ after it. */
  readonly path: string
  /** Wall time of the swap, Unix ms. */
  readonly sinceMs: number
}

export interface Supersession {
  readonly old: readonly CatalogFile[]
  /** What takes their place; none: retention. */
  readonly files: readonly CatalogFile[]
  /** Wall time, Unix ms. */
  readonly atMs: number
  /** The compaction's number, which is in the name of its only file; null: it is none. */
  readonly compaction: number | null
  /** Rows that go with the old files and are in none of the new. */
  readonly expired: readonly ExpiredRows[]
}

/** Durable when it returns. False, and nothing is recorded, where one of the old files is no longer recorded. */
export function record(database: Database, { old, files, atMs, compaction, expired }: Supersession, beforeCommit: () => void): boolean {
  const isRecorded = database.prepare('SELECT 1 FROM files WHERE path = ?')
  const remove = database.prepare('DELETE FROM files WHERE path = ?')
  const keep = database.prepare('INSERT INTO superseded VALUES (?, ?)')
  const insert = database.prepare(
    'INSERT INTO files VALUES (@path, @layer, @profile, @hourMs, @rows, @bytes, @shard, @firstEntry, @lastEntry, @columns)'
  )
  const note = database.prepare('INSERT INTO compactions VALUES (?, ?, ?, ?, ?, ?, ?)')
  const add = database.prepare(`INSERT INTO expired VALUES (@deviceId, @epoch, @archived, @quarantined)
    ON CONFLICT DO UPDATE SET archived = archived + excluded.archived, quarantined = quarantined + excluded.quarantined`)
  const swap = () => {
    if (old.some(({ path }) => isRecorded.get(path) === undefined)) return false
    for (const { path } of old) {
      remove.run(path)
      keep.run(path, atMs)
    }
    for (const file of files) insert.run(file)
    if (compaction !== null) note.run(compaction, files[0].path, atMs, old.length, files[0].rows, sum(old), sum(files))
    for (const rows of expired) add.run(rows)
    beforeCommit()
    return true
  }
  return database.transaction(swap).immediate()
}

function sum(files: readonly CatalogFile[]): number {
  return files.reduce((bytes, file) => bytes + file.bytes, 0)
}

export function nextCompaction(database: Database): number {
  const row = database.prepare('SELECT coalesce(max(compaction), 0) + 1 AS next FROM compactions').get()
  return (row as { next: number }).next
}

export function superseded(database: Database): SupersededFile[] {
  return database.prepare('SELECT path, since_ms AS sinceMs FROM superseded ORDER BY path').all() as SupersededFile[]
}

export function forget(database: Database, paths: readonly string[]): void {
  const remove = database.prepare('DELETE FROM superseded WHERE path = ?')
  const removeAll = () => {
    for (const path of paths) remove.run(path)
  }
  database.transaction(removeAll).immediate()
}

export function expired(database: Database): ExpiredRows[] {
  const sql = 'SELECT device_id AS deviceId, epoch, archived, quarantined FROM expired ORDER BY device_id, epoch'
  return database.prepare(sql).all() as ExpiredRows[]
}
