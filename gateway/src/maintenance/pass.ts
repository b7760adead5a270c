import { existsSync, mkdirSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { writeError } from '../archive/archive-error.js'
import type { Catalog, CatalogFile } from '../archive/catalog.js'
import { columnsDigest, oldestNeededEntry } from '../archive/commit.js'
import { dropUseless } from '../archive/kept-snapshots.js'
import { deleteMarkers } from '../archive/markers.js'
import { compactedPath, type DataPaths, HOUR_MS, partitionPath } from '../archive/paths.js'
import { deleteFile } from '../archive/snapshot-file.js'
import { deleteSuperseded, mergingPath, offer, redoSwaps, swap, withdraw } from '../archive/swap.js'
import { MergeWriter } from './merge-writer.js'
import { type Column, groupBy, groupByShape, type MergePolicy, planMerges } from './plan.js'
import { expiredHours, type RetentionMs } from './retention.js'

/**
 * One pass of maintenance: superseded files that have waited long enough are deleted, hours older than retention keeps them leave
 * the archive, and hours that are over are compacted. Works beside the archive worker, whose files it touches only once they are
 * in archive/. One hour that fails is reported, and the others go on.
 */

export interface MaintenancePolicy extends MergePolicy {
  /** An hour is compacted when it ended this long ago, in ms of wall time. */
  readonly afterMs: number
  /** How long superseded files are kept, in ms of wall time. */
  readonly keepMs: number
  /** DuckDB's memory, in MiB. */
  readonly memoryMiB: number
  readonly retentionMs: RetentionMs
}

export interface PassTotals {
  compactions: number
  filesBefore: number
  filesAfter: number
  bytesBefore: number
  bytesAfter: number
  rows: number
  /** Files that retention took out of the archive, and their rows. */
  expiredFiles: number
  expiredRows: number
  /** Superseded files that were deleted. */
  deleted: number
}

export interface PassResult extends PassTotals {
  /** Superseded files that wait for their deletion. */
  readonly waiting: number
  /** What could not be done, with its remedy. */
  readonly failures: readonly string[]
  /** It was told to stop before it was through. */
  readonly stopped: boolean
}

export interface PassContext {
  readonly paths: DataPaths
  readonly catalog: Catalog
  readonly policy: MaintenancePolicy
  readonly nowMs: () => number
  /** Stops soon and cleanly: what is merged and not swapped is dropped. */
  readonly signal: AbortSignal
  readonly onMerge?: (progress: MergeProgress) => void
}

export interface MergeProgress {
  /** The hour's folder below archive/ in work; null: all are done. */
  readonly folder: string | null
  /** Bytes of input merged, and planned so far. */
  readonly doneBytes: number
  readonly plannedBytes: number
}

/** Failures after which a pass gives up: the disk is likely to refuse the rest too. */
const FAILURES_MAX = 3
/**
 * A merge is not begun unless this many times its input is free: for its output, and for what the sort spills, which is not
 * compressed (seen: 12 bytes a reading in files, some 130 in columns). Half of what is free may be spilled.
 */
const FREE_FACTOR = 24
const INTERRUPT_MS = 20
/** Share of the memory that the sorted rows with payloads may have: DuckDB's sort cannot spill them. */
const WIDE_SHARE = 1 / 4

/** Runs a pass. Throws an `ArchiveWriteError` where nothing can be done at all. */
export async function runPass(context: PassContext): Promise<PassResult> {
  return await new Pass(context).run()
}

class Pass {
  private readonly totals: PassTotals = {
    compactions: 0,
    filesBefore: 0,
    filesAfter: 0,
    bytesBefore: 0,
    bytesAfter: 0,
    rows: 0,
    expiredFiles: 0,
    expiredRows: 0,
    deleted: 0
  }
  private readonly failures: string[] = []
  private readonly failedFolders = new Set<string>()
  private readonly offered: CatalogFile[] = []
  private writer: MergeWriter | null = null
  private doneBytes = 0
  private plannedBytes = 0

  constructor(private readonly context: PassContext) {}

  async run(): Promise<PassResult> {
    const { paths, catalog, policy, nowMs, signal } = this.context
    // Again and again: an interrupt that comes between two statements is lost.
    let interrupts: NodeJS.Timeout | null = null
    const interrupt = () => {
      interrupts = setInterval(() => this.writer?.interrupt(), INTERRUPT_MS)
    }
    signal.addEventListener('abort', interrupt)
    try {
      mkdirSync(paths.compaction, { recursive: true })
      redoSwaps(paths, catalog)
      this.totals.deleted = deleteSuperseded(paths, catalog, nowMs() - policy.keepMs)
      await this.retain()
      await this.compact()
    } catch (cause) {
      throw writeError(paths.root, cause)
    } finally {
      signal.removeEventListener('abort', interrupt)
      if (interrupts !== null) clearInterval(interrupts)
      this.closeWriter()
      withdraw(paths, catalog, this.offered)
    }
    return { ...this.totals, waiting: catalog.superseded().length, failures: this.failures, stopped: signal.aborted }
  }

  private async retain(): Promise<void> {
    const { paths, catalog, policy, nowMs } = this.context
    const hours = expiredHours(catalog.files(), policy.retentionMs, nowMs(), oldestNeededEntry(catalog))
    const due = hours.filter(hour => hour.every(file => this.isInPlace(file)))
    this.offer(due.flat())
    for (const hour of due) {
      if (this.isOver()) return
      await this.attempt(partitionPath(hour[0]), () => this.expire(hour))
    }
    if (policy.retentionMs.processed > 0) catalog.fleet.forgetCounts(nowMs() - policy.retentionMs.processed)
    dropUseless(paths, catalog)
  }

  private async expire(hour: readonly CatalogFile[]): Promise<void> {
    const { paths, catalog, nowMs } = this.context
    const expired = await (await this.openWriter()).countByEpoch(hour)
    const [{ layer, profile, hourMs }] = hour
    const forget = () => {
      catalog.reprocessing.noteExpired({ layer, profile, hourMs })
      if (layer !== 'processed' || profile === null) return
      catalog.fleet.removeMarker({ profile, hourMs })
      deleteMarkers(paths, [{ profile, hourMs }])
    }
    if (!swap(paths, catalog, { old: hour, files: [], atMs: nowMs(), compaction: null, expired }, forget)) return
    this.totals.expiredFiles += hour.length
    this.totals.expiredRows += hour.reduce((rows, file) => rows + file.rows, 0)
  }

  /** Until nothing is worth a merge any more: what is merged can fall into a tier that is full now. */
  private async compact(): Promise<void> {
    if (this.context.catalog.hasRepairJobs()) return // a repair reads the files as they were at its boundary
    for (;;) {
      const merges = await this.plan()
      this.plannedBytes += bytesOf(merges.flat())
      this.offer(merges.flat())
      for (const files of merges) {
        if (this.isOver()) return
        this.report(partitionPath(files[0]))
        await this.attempt(partitionPath(files[0]), () => this.merge(files))
        this.doneBytes += bytesOf(files)
      }
      this.report(null)
      if (merges.length === 0 || this.isOver()) return
    }
  }

  private async plan(): Promise<CatalogFile[][]> {
    const { catalog, policy, nowMs } = this.context
    const endMs = nowMs() - policy.afterMs - HOUR_MS
    const due = catalog.files().filter(file => file.hourMs <= endMs && this.isInPlace(file))
    const hours = groupBy(due, file => `${file.shard} ${partitionPath(file)}`)
    const merges: CatalogFile[][] = []
    for (const hour of hours) {
      const folder = partitionPath(hour[0])
      if (hour.length < policy.minFiles || this.failedFolders.has(folder)) continue
      await this.attempt(folder, async () => {
        merges.push(...(await this.planHour(hour)))
      })
      if (this.isOver()) return []
    }
    return merges
  }

  private async planHour(hour: readonly CatalogFile[]): Promise<CatalogFile[][]> {
    const { policy } = this.context
    if (hour[0].layer === 'quarantine') {
      const weights = await (await this.openWriter()).uncompressedBytes(hour)
      const candidates = hour.map(file => ({ file, weightBytes: weights.get(file)! }))
      return planMerges(candidates, { ...policy, targetBytes: Math.min(policy.targetBytes, policy.memoryMiB * 2 ** 20 * WIDE_SHARE) })
    }
    const shapes = await this.shapesOf(hour)
    return groupByShape(hour, digest => shapes.get(digest) ?? []).flatMap(group =>
      planMerges(
        group.map(file => ({ file, weightBytes: file.bytes })),
        policy
      )
    )
  }

  /** Files that all have the same columns need not be opened. */
  private async shapesOf(hour: readonly CatalogFile[]): Promise<Map<string, readonly Column[]>> {
    const shapes = new Map<string, readonly Column[]>()
    const firsts = new Map(hour.map(file => [file.columns, file]))
    if (firsts.size === 1) return shapes
    const writer = await this.openWriter()
    for (const [digest, file] of firsts) shapes.set(digest, await writer.columnsOf(file))
    return shapes
  }

  private async merge(files: readonly CatalogFile[]): Promise<void> {
    const { paths, catalog, nowMs } = this.context
    this.expectFreeSpace(bytesOf(files))
    const compaction = catalog.nextCompaction()
    const { layer, profile, hourMs, shard } = files[0]
    const firstEntry = Math.min(...files.map(file => file.firstEntry))
    const lastEntry = Math.max(...files.map(file => file.lastEntry))
    const path = compactedPath({ layer, profile, hourMs }, { shard, firstEntry, lastEntry }, compaction)
    const staged = mergingPath(paths, { path })
    try {
      const { columns, rows } = await (await this.openWriter()).merge(files, staged)
      const expected = rowsOf(files)
      if (rows !== expected) throw new Error(`a merge of ${expected} rows in ${partitionPath(files[0])} gave ${rows}: it is dropped`)
      const digest = layer === 'raw' ? 'raw' : columnsDigest(columns)
      const file = { path, layer, profile, hourMs, rows, bytes: statSync(staged).size, shard, firstEntry, lastEntry, columns: digest }
      if (!swap(paths, catalog, { old: files, files: [file], atMs: nowMs(), compaction, expired: [] })) return
      this.count(files, file)
    } catch (error) {
      // Behind its commit point the file is the archive's, and redoSwaps puts it in its place.
      if (!catalog.files(layer).some(file => file.path === path)) deleteFile(staged)
      throw error
    }
  }

  private count(files: readonly CatalogFile[], file: CatalogFile): void {
    const { totals } = this
    totals.compactions++
    totals.filesBefore += files.length
    totals.filesAfter++
    totals.bytesBefore += bytesOf(files)
    totals.bytesAfter += file.bytes
    totals.rows += file.rows
  }

  /** Runs `work` for an hour's folder; a failure is noted, and the folder left alone for the rest of the pass. */
  private async attempt(folder: string, work: () => Promise<void>): Promise<void> {
    if (this.failedFolders.has(folder)) return
    try {
      await work()
    } catch (cause) {
      this.closeWriter() // an error can leave DuckDB unusable
      if (this.context.signal.aborted) return
      const { paths, policy } = this.context
      const error = writeError(paths.root, cause, `raise compaction.memory, which is ${policy.memoryMiB}MiB`)
      this.failures.push(`${folder}: ${error instanceof Error ? error.message : String(error)}`)
      this.failedFolders.add(folder)
    }
  }

  private offer(files: readonly CatalogFile[]): void {
    offer(this.context.paths, files)
    this.offered.push(...files)
  }

  private isOver(): boolean {
    return this.context.signal.aborted || this.failures.length >= FAILURES_MAX
  }

  /** A file whose flush has not renamed it yet is the archive worker's. */
  private isInPlace(file: CatalogFile): boolean {
    return existsSync(join(this.context.paths.archive, file.path))
  }

  private expectFreeSpace(bytes: number): void {
    const { root } = this.context.paths
    const free = freeBytes(root)
    if (free >= bytes * FREE_FACTOR) return
    throw new Error(`a merge of ${bytes} bytes needs ${FREE_FACTOR} times that, and ${free} are free in ${root}: free disk space there`)
  }

  private async openWriter(): Promise<MergeWriter> {
    const { paths, policy } = this.context
    // Half of what is free at most: the log and the flushes must not starve.
    this.writer ??= await MergeWriter.open(paths, { memoryMiB: policy.memoryMiB, spillBytesMax: freeBytes(paths.root) / 2 })
    return this.writer
  }

  private closeWriter(): void {
    this.writer?.close()
    this.writer = null
  }

  private report(folder: string | null): void {
    this.context.onMerge?.({ folder, doneBytes: this.doneBytes, plannedBytes: this.plannedBytes })
  }
}

function bytesOf(files: readonly CatalogFile[]): number {
  return files.reduce((bytes, file) => bytes + file.bytes, 0)
}

function rowsOf(files: readonly CatalogFile[]): number {
  return files.reduce((rows, file) => rows + file.rows, 0)
}

function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize
}
