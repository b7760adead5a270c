import { createHash } from 'node:crypto'
import { existsSync, readdirSync, renameSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { crashPoint } from '../crash-point.js'
import type { FileColumn, FileRows, Flush } from '../processor/flush.js'
import { FlushRefusedError, writeError } from './archive-error.js'
import type { Catalog, CatalogFile } from './catalog.js'
import type { Marker } from './fleet-catalog.js'
import { fsyncFile, fsyncFolder, makeFolder } from './fsync.js'
import { keepDaily } from './kept-snapshots.js'
import { deleteMarkers, recordMarkers, writeMarkers } from './markers.js'
import { ParquetWriter } from './parquet.js'
import { archivePath, type DataPaths, isRepairFile, stagingName } from './paths.js'
import { RAW_SELECT, RawLog } from './raw.js'
import { deleteFile, finishSnapshot } from './snapshot-file.js'

/**
 * Makes a flush durable, exactly once: all files are written and fsynced in staging/, one transaction of the catalog records
 * them (the commit point), then they are renamed into archive/ and their folders fsynced; then completeness markers are written.
 * A snapshot is recorded behind that.
 * A crash before the commit point leaves nothing that counts, one behind it nothing that recovery (recover.ts) cannot redo.
 * A flush that failed can be written again; what had been done of it is not done twice.
 */

/** Snapshots kept: the newest, and the one before, in case the newest turns out to be damaged. */
export const SNAPSHOTS_KEPT = 2

export interface Written {
  readonly lastEntry: number
  readonly files: number
  readonly rows: number
  readonly bytes: number
}

export interface RecordedSnapshot {
  readonly entry: number
  /** The log's entries up to this one, included, are needed by no kept snapshot; 0: all are needed. */
  readonly oldestNeededEntry: number
}

export interface ArchiveOptions {
  readonly shard: number
  /** DuckDB's memory, in MiB. */
  readonly memoryMiB: number
}

export class Committer {
  private writer: ParquetWriter | null = null
  /** A flush behind its commit point whose renames or markers have failed; they are to be done before anything else. */
  private committed: { readonly flush: Flush; readonly files: readonly CatalogFile[]; readonly markers: readonly Marker[] } | null = null

  constructor(
    private readonly paths: DataPaths,
    private readonly catalog: Catalog,
    private readonly options: ArchiveOptions
  ) {}

  /** Throws an `ArchiveWriteError` where the disk or its like fails: the same flush can be written again. */
  async write(flush: Flush): Promise<Written> {
    try {
      const isRepeat = this.committed !== null && this.committed.flush.lastEntry === flush.lastEntry
      if (!isRepeat) {
        // Before anything is cleared away in staging/: its files may be recorded and not renamed yet.
        if (this.committed !== null) this.publish()
        this.expectNext(flush)
        const files = await this.stage(flush)
        this.committed = { flush, files, markers: this.commit(flush, files) }
        crashPoint('commit')
      }
      return this.publish()
    } catch (error) {
      this.closeWriter()
      throw writeError(this.paths.root, error)
    }
  }

  /**
   * Makes the snapshot that lies written in snapshots/ durable and records it, once the flush of its boundary is committed; the first
   * of a day of ingest time is kept besides. `ingestMs`: of its boundary, Unix ms. Throws an `ArchiveWriteError` where the disk fails; it can be tried again.
   */
  recordSnapshot(entry: number, ingestMs: number): RecordedSnapshot {
    const committed = this.catalog.committedEntry(this.options.shard)
    if (entry > committed) throw new Error(`a snapshot of entry ${entry} came where ${committed} is committed`)
    try {
      const written = finishSnapshot(this.paths.snapshots, entry)
      crashPoint('snapshot')
      for (const old of this.catalog.recordSnapshot({ entry, ...written }, SNAPSHOTS_KEPT)) deleteFile(join(this.paths.snapshots, old.file))
      keepDaily(this.paths, this.catalog, { entry, ...written }, ingestMs)
    } catch (error) {
      throw writeError(this.paths.snapshots, error)
    }
    return { entry, oldestNeededEntry: oldestNeededEntry(this.catalog) }
  }

  close(): void {
    this.closeWriter()
  }

  /** That a flush comes twice or out of order is a mistake of ours, and would double or lose readings. */
  private expectNext(flush: Flush): void {
    const committed = this.catalog.committedEntry(this.options.shard)
    if (flush.shard !== this.options.shard)
      throw new FlushRefusedError(`a flush of shard ${flush.shard} came to the archive of ${this.options.shard}`)
    if (flush.firstEntry !== committed + 1 || flush.lastEntry < flush.firstEntry) {
      throw new FlushRefusedError(`a flush of entries ${flush.firstEntry} to ${flush.lastEntry} came where ${committed} is committed`)
    }
  }

  /** The commit point; completeness markers that it outdates are gone before. Returns those that it makes. */
  private commit(flush: Flush, files: readonly CatalogFile[]): readonly Marker[] {
    let written: readonly Marker[] = []
    this.catalog.commit(flush, files, () => {
      const changes = recordMarkers(this.catalog, flush)
      deleteMarkers(this.paths, changes.withdrawn)
      written = changes.written
    })
    return written
  }

  /** Writes all files into staging/, durably. */
  private async stage(flush: Flush): Promise<CatalogFile[]> {
    const { staging } = this.paths
    // A repair under way clears away its own.
    for (const name of readdirSync(staging)) if (name.endsWith('.parquet') && !isRepairFile(name)) deleteFile(join(staging, name))
    const writer = await this.openWriter()
    const data = flush.files.filter(file => file.rows > 0)
    const files = describeAll(flush, data)
    await writer.writeFiles(
      data.map((rows, i) => ({ rows, path: this.staged(files[i]) })),
      flush.strings
    )
    files.push(...(await this.stageRaw(flush, writer)))
    await writer.releaseMemory()
    for (const file of files) fsyncFile(this.staged(file))
    fsyncFolder(staging)
    crashPoint('flush')
    return files.map(file => ({ ...file, bytes: statSync(this.staged(file)).size }))
  }

  private async stageRaw(flush: Flush, writer: ParquetWriter): Promise<CatalogFile[]> {
    const log = RawLog.open(this.paths.log)
    try {
      const files: CatalogFile[] = []
      for (const hour of log.hours(flush.firstEntry, flush.lastEntry)) {
        const source = log.source(hour)
        const file = describe(flush, { layer: 'raw', profile: null, hourMs: hour.hourMs, rows: 0, columns: 'raw' }, 1)
        await writer.copyWide(source, RAW_SELECT, this.staged(file))
        files.push({ ...file, rows: source.rows })
      }
      return files
    } finally {
      log.close()
    }
  }

  private staged(file: CatalogFile): string {
    return join(this.paths.staging, stagingName(file.path))
  }

  /** What follows the commit point. Each step can be done again. */
  private publish(): Written {
    if (this.committed === null) throw new Error('there is nothing to publish')
    const { flush, files, markers } = this.committed
    renameStaged(
      this.paths,
      files.filter(file => existsSync(this.staged(file))),
      () => crashPoint('rename')
    )
    writeMarkers(this.paths, markers)
    this.committed = null
    return {
      lastEntry: flush.lastEntry,
      files: files.length,
      rows: files.reduce((sum, file) => sum + file.rows, 0),
      bytes: files.reduce((sum, file) => sum + file.bytes, 0)
    }
  }

  private async openWriter(): Promise<ParquetWriter> {
    this.writer ??= await ParquetWriter.open({ spillFolder: this.paths.spill, memoryMiB: this.options.memoryMiB })
    return this.writer
  }

  /** An error can leave DuckDB unusable: the next flush gets a new one. */
  private closeWriter(): void {
    this.writer?.close()
    this.writer = null
  }
}

type Described = Pick<CatalogFile, 'layer' | 'profile' | 'hourMs' | 'rows' | 'columns'>

function describe(flush: Flush, { layer, profile, hourMs, rows, columns }: Described, part: number): CatalogFile {
  const { shard, firstEntry, lastEntry } = flush
  const path = archivePath({ layer, profile, hourMs }, { shard, firstEntry, lastEntry, part })
  return { path, layer, profile, hourMs, rows, bytes: 0, shard, firstEntry, lastEntry, columns }
}

/** A flush may have several files of one partition: one a version of the profile. */
function describeAll(flush: Flush, data: readonly FileRows[]): CatalogFile[] {
  const parts = new Map<string, number>()
  return data.map(file => {
    const partition = `${file.layer} ${file.profile} ${file.hourMs}`
    const part = (parts.get(partition) ?? 0) + 1
    parts.set(partition, part)
    return describe(flush, { ...file, columns: columnsDigest(file.columns) }, part)
  })
}

/** Equal for files that can be read as one table. */
export function columnsDigest(columns: readonly Pick<FileColumn, 'name' | 'type'>[]): string {
  const shape = JSON.stringify(columns.map(column => [column.name, column.type]))
  return createHash('sha256').update(shape).digest('hex').slice(0, 16)
}

/** Renames committed files from staging/ into archive/; all of it is durable when it returns. */
export function renameStaged(paths: DataPaths, files: readonly CatalogFile[], afterEach: () => void): void {
  const changed = new Set<string>()
  for (const file of files) {
    const target = join(paths.archive, file.path)
    try {
      for (const parent of makeFolder(dirname(target))) changed.add(parent)
      renameSync(join(paths.staging, stagingName(file.path)), target)
    } catch (cause) {
      throw writeError(target, cause)
    }
    changed.add(dirname(target))
    afterEach()
  }
  for (const folder of changed) fsyncFolder(folder)
}

/** The older of the kept snapshots replays from here: the log needs nothing up to it. 0 while there are fewer than two. */
export function oldestNeededEntry(catalog: Catalog): number {
  const snapshots = catalog.snapshots()
  return snapshots.length < SNAPSHOTS_KEPT ? 0 : snapshots[snapshots.length - 1].entry
}
