/**
 * What of the catalog reprocessing needs: snapshots that are kept beside the raw frames, hours whose rows retention has deleted, and
 * what was judged anew. A later replay of the raw frames has to judge again as each of these runs did.
 */
import type { Profile } from '@tidemark/protocol'
import type { Layer } from '../processor/flush.js'
import type { Database } from '../sqlite.js'
import type { SnapshotRecord } from './catalog.js'

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS kept_snapshots (
    entry INTEGER PRIMARY KEY,
    file TEXT NOT NULL,               -- below snapshots/daily/
    bytes INTEGER NOT NULL,           -- of the file
    sha256 TEXT NOT NULL,             -- of the file, hex
    ingest_ms INTEGER NOT NULL,       -- of the boundary, Unix ms
    profiles TEXT                     -- JSON: those of the last start, where the state has others in force; else null
  ) STRICT;
  CREATE TABLE IF NOT EXISTS expired_hours (
    layer TEXT NOT NULL,
    profile TEXT NOT NULL,            -- '': a layer without profiles
    hour_ms INTEGER NOT NULL,         -- start of an hour whose rows retention has deleted, Unix ms
    PRIMARY KEY (layer, profile, hour_ms)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS reprocessings (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    entry INTEGER NOT NULL,           -- the committed entry as of which it was made
    first_entry INTEGER NOT NULL,     -- the entries that were judged anew, both included
    last_entry INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,         -- the ingest time that was asked for, [from, to), Unix ms
    to_ms INTEGER NOT NULL,
    profiles TEXT NOT NULL,           -- JSON: in the place of those of the same name and version, beside all others
    at_ms INTEGER NOT NULL            -- since when its rows are known, Unix ms
  ) STRICT;
`

export interface KeptSnapshot extends SnapshotRecord {
  /** Ingest time of the boundary, Unix ms. */
  readonly ingestMs: number
  /** The profiles of the last start before it, where the state has others in force; else null. */
  readonly profiles: readonly Profile[] | null
}

export interface ExpiredHour {
  readonly layer: Layer
  readonly profile: string | null
  readonly hourMs: number
}

/** Entries that were judged anew. */
export interface Reprocessing {
  readonly number: number
  /** The committed entry as of which it was made. */
  readonly entry: number
  /** Both included. */
  readonly firstEntry: number
  readonly lastEntry: number
  readonly fromMs: number
  readonly toMs: number
  readonly profiles: readonly Profile[]
  readonly atMs: number
}

type Stored<T> = Omit<T, 'profiles'> & { readonly profiles: string }

export class ReprocessTables {
  constructor(private readonly database: Database) {}

  static makeTables(database: Database): void {
    database.exec(SCHEMA)
  }

  /** Newest first. */
  keptSnapshots(): KeptSnapshot[] {
    const sql = 'SELECT entry, file, bytes, sha256, ingest_ms AS ingestMs, profiles FROM kept_snapshots ORDER BY entry DESC'
    const rows = this.database.prepare(sql).all() as (Omit<KeptSnapshot, 'profiles'> & { profiles: string | null })[]
    return rows.map(row => ({ ...row, profiles: row.profiles === null ? null : (JSON.parse(row.profiles) as Profile[]) }))
  }

  keepSnapshot(snapshot: KeptSnapshot): void {
    const profiles = snapshot.profiles === null ? null : JSON.stringify(snapshot.profiles)
    this.database
      .prepare('INSERT OR REPLACE INTO kept_snapshots VALUES (@entry, @file, @bytes, @sha256, @ingestMs, @profiles)')
      .run({ ...snapshot, profiles })
  }

  forgetKeptSnapshot(entry: number): void {
    this.database.prepare('DELETE FROM kept_snapshots WHERE entry = ?').run(entry)
  }

  /** Within the transaction that takes the files of an hour out of the archive. */
  noteExpired({ layer, profile, hourMs }: ExpiredHour): void {
    this.database.prepare('INSERT OR IGNORE INTO expired_hours VALUES (?, ?, ?)').run(layer, profile ?? '', hourMs)
  }

  isExpired({ layer, profile, hourMs }: ExpiredHour): boolean {
    const sql = 'SELECT 1 FROM expired_hours WHERE layer = ? AND profile = ? AND hour_ms = ?'
    return this.database.prepare(sql).get(layer, profile ?? '', hourMs) !== undefined
  }

  /** In the order in which they were made. */
  reprocessings(): Reprocessing[] {
    const sql = `SELECT number, entry, first_entry AS firstEntry, last_entry AS lastEntry, from_ms AS fromMs, to_ms AS toMs, profiles,
      at_ms AS atMs FROM reprocessings ORDER BY number`
    const rows = this.database.prepare(sql).all() as Stored<Reprocessing>[]
    return rows.map(row => ({ ...row, profiles: JSON.parse(row.profiles) as Profile[] }))
  }

  /** The number of the next run; only one at a time may be under way. */
  nextNumber(): number {
    const sql = 'SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0) + 1 AS next'
    return (this.database.prepare(sql).get('reprocessings') as { next: number }).next
  }

  /** Makes the changes in the file at `path` (reprocess/changes.ts) part of what `apply` can see; `null` ends that. Not in a transaction. */
  attach(path: string | null): void {
    if (path === null) this.database.exec('DETACH DATABASE changes')
    else this.database.prepare('ATTACH DATABASE ? AS changes').run(path)
  }

  /** Within the transaction that commits a run: ledgers, counts and repair marks as of `entry`, from the attached file. */
  apply(entry: number, atMs: number, profiles: readonly Profile[]): void {
    this.database.exec(`
      INSERT OR REPLACE INTO main.epochs SELECT * FROM changes.epochs;
      INSERT INTO main.hours SELECT * FROM changes.hours WHERE true
        ON CONFLICT DO UPDATE SET archived = archived + excluded.archived, late = late + excluded.late;
      DELETE FROM main.hours WHERE archived = 0;
      INSERT INTO main.hour_counts (hour_ms, profile, device_id, received, quarantined, late, duplicates, shed)
        SELECT hour_ms, profile, device_id, received, quarantined, late, 0, 0 FROM changes.hour_counts WHERE true
        ON CONFLICT DO UPDATE SET received = received + excluded.received, quarantined = quarantined + excluded.quarantined, late = late + excluded.late;
      DELETE FROM main.hour_counts WHERE received = 0 AND quarantined = 0 AND late = 0 AND duplicates = 0 AND shed = 0;
    `)
    this.database
      .prepare(`INSERT INTO main.repair_marks SELECT profile, device_id, hour_ms, ?, from_ms, through_ms FROM changes.marks WHERE true
        ON CONFLICT DO UPDATE SET from_ms = min(from_ms, excluded.from_ms), through_ms = max(through_ms, excluded.through_ms)`)
      .run(entry)
    if (this.database.prepare('SELECT 1 FROM changes.marks LIMIT 1').get() !== undefined)
      this.database.prepare('INSERT INTO main.repair_jobs VALUES (?, 0, ?, ?)').run(entry, atMs, JSON.stringify(profiles))
  }

  note(run: Reprocessing): void {
    this.database
      .prepare('INSERT INTO reprocessings VALUES (@number, @entry, @firstEntry, @lastEntry, @fromMs, @toMs, @profiles, @atMs)')
      .run({ ...run, profiles: JSON.stringify(run.profiles) })
  }
}
