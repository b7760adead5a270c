import type { EpochLedger, Flush, HourLedger, Layer, RepairMark } from '../processor/flush.js'
import { type Database, Sqlite } from '../sqlite.js'
import { DeviceOrder } from './device-order.js'
import { FleetCatalog } from './fleet-catalog.js'
import { REPAIR_SCHEMA, readMarks, recordRepairs } from './repair-marks.js'
import { ReprocessTables } from './reprocess-tables.js'
import * as supersede from './supersede.js'

/**
 * `catalog.sqlite`: which files the archive consists of, how far into the log they reach, the ledgers and the snapshots.
 * What it records is committed, what it does not record does not count. One transaction records all of a flush: that is THE
 * commit point. The archive worker writes flushes and snapshots, maintenance what supersedes files (supersede.ts), each by a
 * connection of its own and in short transactions that take the lock at once; recovery before them, and readers beside them.
 */

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY,            -- below archive/
    layer TEXT NOT NULL,
    profile TEXT,                     -- null for raw, quarantine and resolved
    hour_ms INTEGER NOT NULL,         -- start of the partition's hour, Unix ms
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    first_entry INTEGER NOT NULL,
    last_entry INTEGER NOT NULL,
    columns TEXT NOT NULL             -- a digest of their names and types: files with the same one can be read as one table
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS files_by_layer ON files (layer, profile, hour_ms);
  CREATE TABLE IF NOT EXISTS flushes (
    shard INTEGER NOT NULL,
    last_entry INTEGER NOT NULL,      -- the greatest is the committed offset
    first_entry INTEGER NOT NULL,
    PRIMARY KEY (shard, last_entry)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS epochs (
    device_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,           -- 0: readings with opaque event IDs
    highest_sampled_seq INTEGER NOT NULL,
    archived INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    shed INTEGER NOT NULL,
    buffered INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    late INTEGER NOT NULL,
    PRIMARY KEY (device_id, epoch)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS hours (
    profile TEXT NOT NULL,
    hour_ms INTEGER NOT NULL,
    archived INTEGER NOT NULL,
    late INTEGER NOT NULL,
    PRIMARY KEY (profile, hour_ms)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS snapshots (
    entry INTEGER PRIMARY KEY,
    file TEXT NOT NULL,               -- below snapshots/
    bytes INTEGER NOT NULL,           -- of the file
    sha256 TEXT NOT NULL              -- the checksum in the file's head, hex
  ) STRICT;
  ${REPAIR_SCHEMA}
`

/** How long a statement waits for another connection's lock, in ms. Readers never hold one for long. */
const BUSY_MS = 10_000

export interface CatalogFile {
  /** Below archive/, with `/`. */
  readonly path: string
  readonly layer: Layer
  readonly profile: string | null
  readonly hourMs: number
  readonly rows: number
  readonly bytes: number
  readonly shard: number
  readonly firstEntry: number
  readonly lastEntry: number
  /** A digest of the names and types of its columns. */
  readonly columns: string
}

export interface SnapshotRecord {
  readonly entry: number
  readonly file: string
  readonly bytes: number
  readonly sha256: string
}

export const INSERT_FILE =
  'INSERT INTO files VALUES (@path, @layer, @profile, @hourMs, @rows, @bytes, @shard, @firstEntry, @lastEntry, @columns)'
export const FILE_COLUMNS =
  'path, layer, profile, hour_ms AS hourMs, rows, bytes, shard, first_entry AS firstEntry, last_entry AS lastEntry, columns'
const EPOCH_COLUMNS =
  'device_id AS deviceId, epoch, highest_sampled_seq AS highestSampledSeq, archived, waiting, quarantined, shed, buffered, missing, duplicates, late'

export class Catalog {
  /** Devices and completeness. */
  readonly fleet: FleetCatalog
  readonly reprocessing: ReprocessTables

  private constructor(private readonly database: Database) {
    this.fleet = new FleetCatalog(database)
    this.reprocessing = new ReprocessTables(database)
  }

  /** Opens the catalog to write it, and makes it where it is new. */
  static open(path: string): Catalog {
    const database = new Sqlite(path, { timeout: BUSY_MS })
    database.pragma('journal_mode = WAL')
    database.pragma('synchronous = FULL')
    database.exec(SCHEMA)
    FleetCatalog.makeTables(database)
    database.exec(supersede.SUPERSEDE_SCHEMA)
    ReprocessTables.makeTables(database)
    return new Catalog(database)
  }

  /** Opens a catalog to read it, beside whoever writes it. Throws where there is none. */
  static openReadonly(path: string): Catalog {
    return new Catalog(new Sqlite(path, { readonly: true, fileMustExist: true, timeout: BUSY_MS }))
  }

  /** Runs `read` with all its reads from one state of the catalog. */
  atOnce<T>(read: () => T): T {
    return this.database.transaction(read).deferred()
  }

  /** The last entry of the log whose flush is committed; 0: none is. */
  committedEntry(shard: number): number {
    const row = this.database.prepare('SELECT max(last_entry) AS entry FROM flushes WHERE shard = ?').get(shard)
    return (row as { entry: number | null }).entry ?? 0
  }

  /** The commit point of a flush. Durable when it returns. `beforeCommit` is called when all is recorded and nothing committed. */
  commit(flush: Flush, files: readonly CatalogFile[], beforeCommit: () => void = () => {}): void {
    const { database } = this
    const insertFile = database.prepare(INSERT_FILE)
    const addHour = database.prepare(`INSERT INTO hours VALUES (@profile, @hourMs, @archived, @late)
      ON CONFLICT DO UPDATE SET archived = archived + excluded.archived, late = late + excluded.late`)
    const insertFlush = database.prepare('INSERT INTO flushes (shard, last_entry, first_entry) VALUES (?, ?, ?)')
    const record = () => {
      for (const file of files) insertFile.run(file)
      const order = new DeviceOrder(flush.deviceIds)
      this.recordEpochs(flush, order)
      for (const hour of flush.hours) addHour.run(hour)
      recordRepairs(database, flush)
      this.fleet.record(flush, order)
      insertFlush.run(flush.shard, flush.lastEntry, flush.firstEntry)
      beforeCommit()
    }
    database.transaction(record).immediate()
  }

  /** All files, or those of a layer: by layer, profile and hour, oldest first. */
  files(layer?: Layer): CatalogFile[] {
    const where = layer === undefined ? '' : 'WHERE layer = @layer'
    const sql = `SELECT ${FILE_COLUMNS} FROM files ${where} ORDER BY layer, profile, hour_ms, path`
    return this.database.prepare(sql).all(layer === undefined ? {} : { layer }) as CatalogFile[]
  }

  /** Whether a repair is ordered and not made yet. */
  hasRepairJobs(): boolean {
    return this.database.prepare('SELECT 1 FROM repair_jobs LIMIT 1').get() !== undefined
  }

  /** By device and epoch. */
  epochs(): EpochLedger[] {
    return this.database.prepare(`SELECT ${EPOCH_COLUMNS} FROM epochs ORDER BY device_id, epoch`).all() as EpochLedger[]
  }

  hours(): HourLedger[] {
    return this.database
      .prepare('SELECT profile, hour_ms AS hourMs, archived, late FROM hours ORDER BY profile, hour_ms')
      .all() as HourLedger[]
  }

  repairs(): RepairMark[] {
    return readMarks(this.database)
  }

  /** Newest first. */
  snapshots(): SnapshotRecord[] {
    return this.database.prepare('SELECT entry, file, bytes, sha256 FROM snapshots ORDER BY entry DESC').all() as SnapshotRecord[]
  }

  /** Records a durable snapshot and forgets all but the newest `keep`; returns those forgotten, whose files can go. */
  recordSnapshot(snapshot: SnapshotRecord, keep: number): SnapshotRecord[] {
    const record = () => {
      this.database.prepare('INSERT OR REPLACE INTO snapshots VALUES (@entry, @file, @bytes, @sha256)').run(snapshot)
      const old = this.snapshots().slice(keep)
      for (const each of old) this.forgetSnapshot(each.entry)
      return old
    }
    return this.database.transaction(record).immediate()
  }

  forgetSnapshot(entry: number): void {
    this.database.prepare('DELETE FROM snapshots WHERE entry = ?').run(entry)
  }

  /**
   * Puts files in the place of others, in one transaction; false, and nothing is done, where one of the others is gone.
   * `beforeCommit` is called within it, when the files are recorded.
   */
  supersede(supersession: supersede.Supersession, beforeCommit: () => void = () => {}): boolean {
    return supersede.record(this.database, supersession, beforeCommit)
  }

  /** The number of the next compaction; only one at a time may be under way. */
  nextCompaction(): number {
    return supersede.nextCompaction(this.database)
  }

  /** Files that are superseded and not deleted yet, by path. */
  superseded(): supersede.SupersededFile[] {
    return supersede.superseded(this.database)
  }

  /** Forgets superseded files, which are deleted. */
  forgetSuperseded(paths: readonly string[]): void {
    supersede.forget(this.database, paths)
  }

  /** How many rows of each epoch retention has deleted. */
  expired(): supersede.ExpiredRows[] {
    return supersede.expired(this.database)
  }

  close(): void {
    this.database.close()
  }

  private recordEpochs({ deviceIds, epochs }: Flush, order: DeviceOrder): void {
    const upsert = this.database.prepare('INSERT OR REPLACE INTO epochs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
    const { device, epoch, highestSampledSeq, archived, waiting, quarantined, shed, buffered, missing, duplicates, late } = epochs
    for (const row of order.rowsOf(device))
      upsert.run(
        deviceIds[device[row]],
        epoch[row],
        highestSampledSeq[row],
        archived[row],
        waiting[row],
        quarantined[row],
        shed[row],
        buffered[row],
        missing[row],
        duplicates[row],
        late[row]
      )
  }
}
