/** The catalog as a repair uses it: on a connection of its own, beside the archive worker's. Statements are short; no read stays open. */
import type { Profile } from '@tidemark/protocol'
import { type CatalogFile, FILE_COLUMNS, INSERT_FILE } from '../archive/catalog.js'
import { type Database, Sqlite } from '../sqlite.js'
import type { DeviceMarks, Range } from './pieces.js'

/** How long a statement waits for the archive worker's commit, ms. */
const BUSY_MS = 30_000

/** Devices whose marks are read at once. */
const DEVICES_AT_ONCE = 500

/** A repair that was ordered as of the boundary behind `entry` and is not made yet. */
export interface RepairJob {
  readonly entry: number
  readonly shard: number
  /** Ingest time of the boundary. */
  readonly ingestMs: number
  readonly profiles: readonly Profile[]
}

/** A stretch of hours: [fromMs, toMs). */
export interface Slice {
  readonly fromMs: number
  readonly toMs: number
}

export class RepairCatalog {
  private readonly database: Database

  constructor(path: string) {
    this.database = new Sqlite(path, { fileMustExist: true, timeout: BUSY_MS })
    this.database.pragma('synchronous = FULL')
  }

  /** Oldest first. */
  jobs(): RepairJob[] {
    const rows = this.database.prepare('SELECT entry, shard, ingest_ms AS ingestMs, profiles FROM repair_jobs ORDER BY entry').all()
    return (rows as (Omit<RepairJob, 'profiles'> & { profiles: string })[]).map(row => ({ ...row, profiles: JSON.parse(row.profiles) }))
  }

  /** Marks of devices and hours; those that the job serves, or all. */
  countMarks(job?: RepairJob): number {
    const hours = 'SELECT DISTINCT profile, device_id, hour_ms FROM repair_marks'
    if (job === undefined) return this.number(`SELECT count(*) FROM (${hours})`, {})
    return this.number(`SELECT count(*) FROM (${hours} WHERE entry <= @entry AND profile IN (SELECT value FROM json_each(@names)))`, {
      entry: job.entry,
      names: namesOf(job)
    })
  }

  countJobs(): number {
    return this.number('SELECT count(*) FROM repair_jobs', {})
  }

  /** The stretches of `sliceMs` in which the profile has marks that the job serves, oldest first. */
  slices(job: RepairJob, profile: string, sliceMs: number): Slice[] {
    // A literal: a parameter would be bound as a float, and nothing divided without a rest.
    const sql = `SELECT DISTINCT hour_ms / ${sliceMs} AS slice FROM repair_marks WHERE profile = @profile AND entry <= @entry ORDER BY 1`
    const rows = this.database.prepare(sql).all({ profile, entry: job.entry }) as { slice: number }[]
    return rows.map(({ slice }) => ({ fromMs: slice * sliceMs, toMs: (slice + 1) * sliceMs }))
  }

  /** The marks of the profile in the slice, device by device. */
  *marks(job: RepairJob, profile: string, slice: Slice): Generator<DeviceMarks> {
    const inSlice = 'profile = @profile AND entry <= @entry AND hour_ms >= @fromMs AND hour_ms < @toMs'
    const devices = this.database
      .prepare(`SELECT DISTINCT device_id FROM repair_marks WHERE ${inSlice} AND device_id > @after ORDER BY 1 LIMIT ${DEVICES_AT_ONCE}`)
      .pluck()
    const ranges = this.database.prepare(`SELECT min(from_ms) AS fromMs, max(through_ms) AS throughMs FROM repair_marks
      WHERE ${inSlice} AND device_id = @deviceId GROUP BY hour_ms ORDER BY hour_ms`)
    for (let after = ''; ; ) {
      const page = devices.all({ profile, entry: job.entry, ...slice, after }) as string[]
      for (const deviceId of page) {
        yield { deviceId, ranges: ranges.all({ profile, entry: job.entry, ...slice, deviceId }) as Range[] }
      }
      if (page.length < DEVICES_AT_ONCE) return
      after = page[page.length - 1]
    }
  }

  /** Files of the profile that hold rows from the boundary or before it, of the hours that (sinceMs, throughMs] touches. */
  files(job: RepairJob, layer: 'processed' | 'curated', profile: string, { fromMs, throughMs }: Range): CatalogFile[] {
    const sql = `SELECT ${FILE_COLUMNS} FROM files WHERE layer = @layer AND profile = @profile AND shard = @shard
      AND hour_ms > @fromMs - 3600000 AND hour_ms <= @throughMs AND first_entry <= @entry ORDER BY hour_ms, path`
    return this.database.prepare(sql).all({ layer, profile, fromMs, throughMs, shard: job.shard, entry: job.entry }) as CatalogFile[]
  }

  /** Whether a file of the archive has this path, or one that it no longer consists of and that is not deleted yet. */
  isTaken(path: string): boolean {
    return (
      this.database
        .prepare('SELECT 1 FROM files WHERE path = @path UNION ALL SELECT 1 FROM superseded WHERE path = @path')
        .get({ path }) !== undefined
    )
  }

  /** The file that has this name in staging/ until it is in its place; undefined where the catalog records none. */
  fileStagedAs(name: string): CatalogFile | undefined {
    const sql = `SELECT ${FILE_COLUMNS} FROM files WHERE replace(path, '/', '__') = ?`
    return this.database.prepare(sql).get(name) as CatalogFile | undefined
  }

  /** The commit point of a repair: its files count, the marks that it serves are gone, those of later flushes stay. */
  commit(job: RepairJob, files: readonly CatalogFile[]): void {
    const record = () => {
      const insert = this.database.prepare(INSERT_FILE)
      for (const file of files) insert.run(file)
      this.database
        .prepare('DELETE FROM repair_marks WHERE entry <= @entry AND profile IN (SELECT value FROM json_each(@names))')
        .run({ entry: job.entry, names: namesOf(job) })
      this.database.prepare('DELETE FROM repair_jobs WHERE entry = ?').run(job.entry)
    }
    this.database.transaction(record).immediate()
  }

  close(): void {
    this.database.close()
  }

  private number(sql: string, parameters: object): number {
    return this.database.prepare(sql).pluck().get(parameters) as number
  }
}

function namesOf({ profiles }: RepairJob): string {
  return JSON.stringify(profiles.map(({ name }) => name))
}
