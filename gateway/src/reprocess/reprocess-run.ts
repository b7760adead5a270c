/**
 * Judges what was taken in at [from, to) anew, on the data folder of a stopped gateway: replays the raw frames from a kept snapshot on, up
 * to the committed entry, and swaps what differs from the archive in one commit. Killed at any time, it leaves the archive as it was or as
 * it is to be.
 */
import { existsSync, mkdirSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import type { Profile } from '@tidemark/protocol'
import { ArchiveOpenError, writeError } from '../archive/archive-error.js'
import { Catalog, type CatalogFile } from '../archive/catalog.js'
import { type DataPaths, dataPaths } from '../archive/paths.js'
import { recoverArchive } from '../archive/recover.js'
import { ConfigError } from '../config.js'
import { lockDataDir } from '../data-lock.js'
import { readGatewayFile } from '../gateway-file.js'
import { readFrames } from '../log/frames.js'
import { SqliteLog, SqliteLogReader } from '../log/sqlite-log.js'
import { comeToBoundary } from '../pipeline/offline-pipeline.js'
import { decodeControl } from '../processor/control.js'
import { RepairCatalog } from '../repair/repair-catalog.js'
import { type Repaired, RepairStopped, repair } from '../repair/repair-job.js'
import { Difference, type Differs } from './difference.js'
import { RawReader } from './raw-reader.js'
import { type Replayed, ReprocessStopped, replay } from './replay.js'
import { ReplayEventIds } from './replay-event-ids.js'
import { RequeueFates } from './requeue-fates.js'
import { type Override, Rules } from './rules.js'
import { findStart, type StartPoint } from './start-point.js'

export interface ReprocessOptions {
  readonly dataDir: string
  /** Ingest time, Unix ms: [fromMs, toMs), whole hours. */
  readonly fromMs: number
  readonly toMs: number
  /** The profiles that judge, in the place of those of the same name and version, beside all others; given those of the last start. */
  readonly judge: (lastStarted: readonly Profile[]) => readonly Profile[]
  readonly memoryMiB?: number
  readonly nowMs: () => number
  /** Ends the run before its commit: nothing is changed then. */
  readonly signal: AbortSignal
  readonly warn: (message: string) => void
  readonly onProgress: (progress: ReprocessProgress) => void
}

export interface ReprocessProgress {
  readonly step: 'replay' | 'compare' | 'repair'
  /** Frames, hours of a layer, or hours of devices. */
  readonly done: number
  readonly total: number
  /** Ingest time that a replay has come to, Unix ms. */
  readonly ingestMs: number
}

export interface ReprocessReport {
  /** Entries that were replayed: the first, and the last. */
  readonly first_entry: number
  readonly last_entry: number
  readonly frames: number
  /** Hours of layers that were compared, and those that were written anew. */
  readonly hours: number
  readonly hours_changed: number
  /** Rows by layer that came and went. */
  readonly readings: Differs
  readonly quarantined: Differs
  readonly files_before: number
  readonly files_after: number
  /** Feature rows that went out as a next revision. */
  readonly feature_rows: number
  readonly changed: boolean
}

const MEMORY_MIB = 512

/** Times the size of what is to be compared that must be free: for the rows of the replay, and for what is written anew. */
const FREE_FACTOR = 3
const FREE_BYTES_MIN = 64 * 2 ** 20

/** Throws a `ConfigError` for what the person must change, a `ReprocessStopped` where it was told to stop. */
export async function reprocess(options: ReprocessOptions): Promise<ReprocessReport> {
  const paths = dataPaths(options.dataDir)
  if (!existsSync(paths.catalog))
    throw new ConfigError(
      `${options.dataDir} is no data folder of a gateway (it holds no catalog.sqlite): give the right one with --data-dir`
    )
  const lock = lockStopped(options.dataDir)
  try {
    recover(options)
    if (!isSettled(paths)) await comeToBoundary(options.dataDir, { control: 'drain' }, options)
    const catalog = Catalog.open(paths.catalog)
    try {
      const report = await new ReprocessRun(paths, catalog, options).run()
      return { ...report, feature_rows: report.feature_rows + (await makeRepairs(paths, options)) }
    } finally {
      catalog.close()
    }
  } catch (cause) {
    const isSaid = cause instanceof ConfigError || cause instanceof ReprocessStopped || cause instanceof RepairStopped
    throw isSaid ? cause : writeError(paths.root, cause)
  } finally {
    rmSync(paths.reprocessing, { recursive: true, force: true })
    lock.close()
  }
}

function lockStopped(dataDir: string) {
  try {
    return lockDataDir(dataDir)
  } catch (cause) {
    const gateway = readGatewayFile(dataDir)
    if (gateway === null || !(cause instanceof ConfigError) || !cause.message.startsWith('a running gateway')) throw cause
    throw new ConfigError(
      `the gateway that runs as process ${gateway.pid} (http ${gateway.http}) holds the data folder ${dataDir}: stop it first`,
      { cause }
    )
  }
}

function recover({ dataDir, warn }: ReprocessOptions): void {
  try {
    recoverArchive(dataDir, 0, warn)
  } catch (cause) {
    throw cause instanceof ArchiveOpenError ? new ConfigError(cause.message, { cause }) : cause
  }
}

/** Whether the gateway stopped as it should: all that the log holds is in the archive, no row waits, no repair is ordered. */
function isSettled(paths: DataPaths): boolean {
  const catalog = Catalog.openReadonly(paths.catalog)
  const log = new SqliteLogReader(paths.log)
  try {
    const committed = catalog.committedEntry(0)
    const [last] = log.read(committed - 1, 2)
    if (committed === 0 || log.lastEntry !== committed || last === undefined || catalog.hasRepairJobs()) return false
    return [...readFrames(last.frames)].some(({ kind, payload }) => kind === 'control' && decodeControl(payload).control === 'drain')
  } finally {
    log.close()
    catalog.close()
  }
}

/** Makes the repairs that are ordered; returns how many rows went out. */
async function makeRepairs(paths: DataPaths, { memoryMiB = MEMORY_MIB, signal, onProgress }: ReprocessOptions): Promise<number> {
  const catalog = new RepairCatalog(paths.catalog)
  try {
    const made: Repaired[] = []
    for (const job of catalog.jobs()) {
      const progress = ({ marks, marksDone }: { readonly marks: number; readonly marksDone: number }) => {
        onProgress({ step: 'repair', done: marksDone, total: marks, ingestMs: job.ingestMs })
        return !signal.aborted
      }
      made.push(await repair(job, { paths, catalog, memoryMiB, progress }))
    }
    return made.reduce((rows, repaired) => rows + repaired.rows, 0)
  } finally {
    catalog.close()
  }
}

class ReprocessRun {
  private readonly throughEntry: number
  private readonly memoryMiB: number

  constructor(
    private readonly paths: DataPaths,
    private readonly catalog: Catalog,
    private readonly options: ReprocessOptions
  ) {
    this.throughEntry = catalog.committedEntry(0)
    this.memoryMiB = options.memoryMiB ?? MEMORY_MIB
  }

  async run(): Promise<ReprocessReport> {
    const { paths, catalog, options, throughEntry } = this
    rmSync(paths.reprocessing, { recursive: true, force: true })
    mkdirSync(paths.reprocessing, { recursive: true })
    const reader = await RawReader.open(paths, catalog.files('raw'), this.memoryMiB)
    const eventIds = new ReplayEventIds(join(paths.root, 'event-ids.sqlite'), join(paths.reprocessing, 'event-ids.sqlite'))
    try {
      const { fromMs, toMs, warn } = options
      const start = await findStart({ paths, catalog, reader, eventIds, fromMs, throughEntry, warn })
      const span = { sinceEntry: start.entry, throughEntry }
      const judged = await reader.entriesBetween(span, fromMs, toMs)
      if (judged === null) throw new ConfigError('no frame was taken in between --from and --to: give other hours (of ingest time, UTC)')
      const asked = { firstEntry: judged.first, lastEntry: judged.last, profiles: options.judge(await reader.lastStarted()) }
      const archived = catalog.files().filter(file => file.layer !== 'raw' && file.layer !== 'curated' && file.lastEntry > start.entry)
      this.expectFreeSpace(archived)
      const frames = await reader.frames(span)
      const rules = this.rulesFrom(start, asked)
      const made = await this.replay(start, reader, rules, eventIds, frames)
      this.refuseExpired(made)
      const difference = new Difference({
        paths,
        catalog,
        options,
        start,
        asked,
        rules,
        archived,
        made,
        throughEntry,
        memoryMiB: this.memoryMiB
      })
      const result = await difference.find()
      if (result.changed) this.truncateLog()
      return { first_entry: start.entry + 1, last_entry: throughEntry, frames, ...result }
    } finally {
      eventIds.close()
      reader.close()
    }
  }

  private rulesFrom(start: StartPoint, asked: Override): Rules {
    const overrides = [...this.catalog.reprocessing.reprocessings(), asked]
    return new Rules(overrides, start.profiles, start.entry)
  }

  private async replay(start: StartPoint, reader: RawReader, rules: Rules, eventIds: ReplayEventIds, total: number): Promise<Replayed> {
    const { paths, options, throughEntry, memoryMiB } = this
    const span = { sinceEntry: start.entry, throughEntry }
    const fates = new RequeueFates(start.entry)
    for await (const requeue of reader.requeues(span)) fates.expect(requeue)
    let done = 0
    const onFrames = (frames: number, ingestMs: number) => {
      done += frames
      options.onProgress({ step: 'replay', done, total, ingestMs })
    }
    const { signal } = options
    return await replay({
      paths,
      span,
      state: start.state,
      stateMs: start.ingestMs,
      reader,
      rules,
      fates,
      eventIds,
      memoryMiB,
      signal,
      onFrames
    })
  }

  /** What retention has deleted cannot be compared; it would come back. */
  private refuseExpired({ files }: Replayed): void {
    const expired = new Set(
      files.filter(file => this.catalog.reprocessing.isExpired(file)).map(({ hourMs }) => new Date(hourMs).toISOString().slice(0, 13))
    )
    if (expired.size === 0) return
    const names = [...expired].sort()
    throw new ConfigError(
      `retention has deleted rows that this would make anew, of ${names.length} hours (${names.slice(0, 5).join(', ')}${names.length > 5 ? ', …' : ''}): choose a later --from`
    )
  }

  private expectFreeSpace(files: readonly CatalogFile[]): void {
    const { bavail, bsize } = statfsSync(this.paths.staging)
    const needed = FREE_BYTES_MIN + FREE_FACTOR * files.reduce((bytes, file) => bytes + file.bytes, 0)
    if (bavail * bsize >= needed) return
    throw new ConfigError(
      `about ${Math.ceil(needed / 1e6)} MB are needed in ${this.paths.staging}, and ${Math.floor((bavail * bsize) / 1e6)} MB are free: free disk space there`
    )
  }

  /** A replay of it would judge as was judged then: the state in the snapshot stands in its place. */
  private truncateLog(): void {
    const log = new SqliteLog(this.paths.log)
    try {
      while (log.truncate(this.throughEntry, 1000)) if (this.options.signal.aborted) return
    } finally {
      log.close()
    }
  }
}
