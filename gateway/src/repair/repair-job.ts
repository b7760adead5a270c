/**
 * Makes a repair: the feature rows that are marked for it, from the archive as committed at the job's boundary, whatever has been
 * committed since. All of it becomes visible in one transaction, which clears the marks it serves; killed at any point before, it
 * is made again as a whole, with the same rows in files of the same names.
 *
 * It may run beside the archive worker: the processor never makes a row again that is marked, so no other revision of one appears
 * meanwhile. Memory is bounded by batches of devices and hours.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { CatalogFile } from '../archive/catalog.js'
import { columnsDigest, renameStaged } from '../archive/commit.js'
import { fsyncFile, fsyncFolder } from '../archive/fsync.js'
import { type DataPaths, HOUR_MS, isRepairFile, repairPath, stagingName } from '../archive/paths.js'
import { deleteFile } from '../archive/snapshot-file.js'
import { scanOf } from '../archive/views.js'
import { crashPoint } from '../crash-point.js'
import { type Plan, planFeatures } from '../processor/feature-plan.js'
import { featuresLayout } from '../processor/layouts.js'
import { readBackMs } from './feature-sql.js'
import { batchesOf, type Piece, piecesOf, type Range } from './pieces.js'
import type { RepairCatalog, RepairJob, Slice } from './repair-catalog.js'
import { RepairDatabase } from './repair-database.js'

/** About how many readings a batch reads, and how many repaired rows are held before they are written. */
const BATCH_READINGS = 500_000
const HELD_ROWS_MAX = 1_000_000

const DAY_MS = 86_400_000

export interface Repaired {
  /** The boundary lies behind it. */
  readonly entry: number
  /** Devices' hours that were marked. */
  readonly marks: number
  readonly batches: number
  readonly readings: number
  /** Rows that went out with the next revision, and those that were computed and are as they were. */
  readonly rows: number
  readonly unchanged: number
  readonly files: number
  readonly bytes: number
}

export interface RepairOptions {
  readonly paths: DataPaths
  readonly catalog: RepairCatalog
  readonly memoryMiB: number
  readonly batchReadings?: number
  /** Told behind each batch; where it answers false, the repair ends with a `RepairStopped`, to be made another time. */
  progress(progress: { readonly marks: number; readonly marksDone: number }): boolean
}

/** The repair was ended before its commit. Nothing of it counts. */
export class RepairStopped extends Error {
  readonly code = 'REPAIR_STOPPED'
}

/** Deletes what an attempt has left that did not come to its commit, and puts in its place what did. */
export function tidyStaging(paths: DataPaths, catalog: RepairCatalog): void {
  const committed: CatalogFile[] = []
  for (const name of readdirSync(paths.staging).filter(isRepairFile)) {
    const file = catalog.fileStagedAs(name)
    if (file === undefined) deleteFile(join(paths.staging, name))
    else committed.push(file)
  }
  renameStaged(paths, committed, () => {})
}

export async function repair(job: RepairJob, options: RepairOptions): Promise<Repaired> {
  return await new Repair(job, options).run()
}

class Repair {
  private readonly files: CatalogFile[] = []
  private readonly counts = { batches: 0, readings: 0, rows: 0, unchanged: 0, marksDone: 0 }
  private readonly marks: number
  private database!: RepairDatabase

  constructor(
    private readonly job: RepairJob,
    private readonly options: RepairOptions
  ) {
    this.marks = options.catalog.countMarks(job)
  }

  async run(): Promise<Repaired> {
    const { paths, catalog, memoryMiB } = this.options
    tidyStaging(paths, catalog)
    this.database = await RepairDatabase.open({ spillFolder: join(paths.spill, 'repair'), memoryMiB })
    try {
      for (const profile of this.job.profiles) await this.repairProfile(planFeatures(profile))
    } finally {
      this.database.close()
    }
    for (const { path } of this.files) fsyncFile(join(paths.staging, stagingName(path)))
    fsyncFolder(paths.staging)
    crashPoint('repair-flush')
    catalog.commit(this.job, this.files)
    crashPoint('repair-commit')
    renameStaged(paths, this.files, () => crashPoint('repair-rename'))
    const { batches, readings, rows, unchanged } = this.counts
    const bytes = this.files.reduce((sum, file) => sum + file.bytes, 0)
    return { entry: this.job.entry, marks: this.marks, batches, readings, rows, unchanged, files: this.files.length, bytes }
  }

  private async repairProfile(plan: Plan): Promise<void> {
    const { catalog, batchReadings = BATCH_READINGS } = this.options
    const { name } = plan.profile
    const backMs = readBackMs(plan)
    // Shorter stretches would read the same windows again and again.
    const sliceMs = Math.ceil(Math.max(DAY_MS, backMs) / DAY_MS) * DAY_MS
    const slices = catalog.slices(this.job, name, sliceMs)
    if (slices.length === 0) return
    await this.database.begin(plan)
    for (const slice of slices) {
      for (const batch of batchesOf(this.pieces(name, slice, backMs), plan.intervalMs, batchReadings)) await this.repairBatch(plan, batch)
    }
    await this.writeFiles(plan)
  }

  private *pieces(profile: string, slice: Slice, backMs: number): Generator<Piece> {
    for (const marks of this.options.catalog.marks(this.job, profile, slice)) yield* piecesOf(marks, backMs)
  }

  private async repairBatch(plan: Plan, pieces: readonly Piece[]): Promise<void> {
    const since = Math.min(...pieces.map(({ sinceMs }) => sinceMs))
    const from = Math.min(...pieces.map(({ ranges }) => ranges[0].fromMs))
    const throughMs = Math.max(...pieces.map(piece => piece.throughMs))
    const processed = this.scan('processed', plan, { fromMs: since, throughMs })
    const curated = this.scan('curated', plan, { fromMs: from, throughMs })
    const { counts } = this
    if (processed !== null) {
      const { readings, computed, changed } = await this.database.compute(plan, pieces, { processed, curated }, this.job.ingestMs)
      counts.readings += readings
      counts.rows += changed
      counts.unchanged += computed - changed
    }
    counts.batches++
    counts.marksDone += pieces.reduce((sum, { ranges }) => sum + ranges.reduce((hours, range) => hours + hoursOf(range), 0), 0)
    if ((await this.database.rows()) >= HELD_ROWS_MAX) await this.writeFiles(plan)
    const goesOn = this.options.progress({ marks: this.marks, marksDone: Math.min(counts.marksDone, this.marks) })
    if (!goesOn) throw new RepairStopped('the repair was ended before its commit; it will be made again')
  }

  /** Selects the profile's rows as they were at the boundary; null where there is no file. */
  private scan(layer: 'processed' | 'curated', plan: Plan, range: Range): string | null {
    const { paths, catalog } = this.options
    const files = catalog.files(this.job, layer, plan.profile.name, range)
    const whole = files.filter(file => file.lastEntry <= this.job.entry)
    // Made of files from before and behind the boundary.
    const mixed = files.filter(file => file.lastEntry > this.job.entry)
    const known = layer === 'processed' ? 'ingest_time' : 'known_at'
    const scans = whole.length === 0 ? [] : [scanOf(paths, whole)]
    if (mixed.length > 0)
      scans.push(`SELECT * FROM (${scanOf(paths, mixed)}) WHERE ${known} <= make_timestamptz(${this.job.ingestMs * 1000})`)
    return scans.length === 0 ? null : scans.join(' UNION ALL BY NAME ')
  }

  /** Another repair may have been made as of the same boundary: reprocessing orders one. */
  private newPath(profile: string, hourMs: number): string {
    const { shard, entry } = this.job
    for (let part = 1; ; part++) {
      const path = repairPath({ layer: 'curated', profile, hourMs }, { shard, entry, part })
      if (!this.files.some(file => file.path === path) && !this.options.catalog.isTaken(path)) return path
    }
  }

  /** Moves the rows of `repaired` into files, one an hour. */
  private async writeFiles(plan: Plan): Promise<void> {
    const { shard, entry } = this.job
    const { name: profile } = plan.profile
    for (const { hourMs, rows } of await this.database.hours()) {
      const path = this.newPath(profile, hourMs)
      const staged = join(this.options.paths.staging, stagingName(path))
      await this.database.write(plan, hourMs, staged)
      const columns = columnsDigest(featuresLayout(plan).columns)
      const { size: bytes } = statSync(staged)
      this.files.push({ path, layer: 'curated', profile, hourMs, rows, bytes, shard, firstEntry: entry, lastEntry: entry, columns })
    }
    await this.database.begin(plan)
  }
}

function hoursOf({ fromMs, throughMs }: Range): number {
  return Math.floor(throughMs / HOUR_MS) - Math.floor((fromMs + 1) / HOUR_MS) + 1
}
