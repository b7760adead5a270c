import { type Dirent, existsSync, lstatSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ArchiveOpenError } from './archive-error.js'
import { Catalog, type CatalogFile } from './catalog.js'
import { oldestNeededEntry, renameStaged } from './commit.js'
import { fsyncFolder, makeFolder } from './fsync.js'
import { recoverMarkers } from './markers.js'
import { type DataPaths, dataPaths, stagingName } from './paths.js'
import { deleteFile, readSnapshot, type Snapshot } from './snapshot-file.js'
import { redoSwaps } from './swap.js'

/**
 * Brings the disk to what the catalog records: redoes the renames that a crash has cut off, deletes the files of flushes that
 * were never committed; and so with swaps (swap.ts). Deletes nothing but Parquet files, completeness markers, snapshots and
 * temporary files of ours, and follows no symbolic link below archive/, staging/ and superseded/.
 */

export interface Recovered {
  /** The last entry whose flush is committed; 0: none is. */
  readonly committedEntry: number
  /** The log's entries up to this one, included, are needed by no kept snapshot; 0: all are needed. */
  readonly oldestNeededEntry: number
  /** Files whose rename was redone, and files that were deleted. */
  readonly renamed: number
  readonly deleted: number
  /** The newest snapshot that is whole, to be read before the archive is written; null: there is none. A damaged one is forgotten, with a warning. */
  loadNewestSnapshot(): Snapshot | null
}

/** Nobody else may have the archive open. `warn` gets lines for the operator. */
export function recoverArchive(dataDir: string, shard: number, warn: (message: string) => void): Recovered {
  const paths = dataPaths(dataDir)
  makeFolders(paths)
  const catalog = openCatalog(paths)
  try {
    fsyncFolder(paths.root)
    const swapped = redoSwaps(paths, catalog)
    const files = catalog.files()
    const present = new Set<string>()
    for (const path of parquetFiles(paths.archive, '')) present.add(path)
    const absent = files.filter(file => !present.has(file.path))
    const lost = absent.filter(file => !existsSync(join(paths.staging, stagingName(file.path))))
    if (lost.length > 0) throw lostFiles(paths, lost)
    renameStaged(paths, absent, () => {})
    const recorded = new Set(files.map(file => file.path))
    const deleted = deleteUnrecorded(
      paths,
      [...present].filter(path => !recorded.has(path))
    )
    recoverMarkers(paths, catalog.fleet.markers())
    settleSuperseded(paths, catalog)
    deleteUnrecordedSnapshots(paths, catalog)
    return {
      committedEntry: catalog.committedEntry(shard),
      oldestNeededEntry: oldestNeededEntry(catalog),
      renamed: absent.length + swapped,
      deleted,
      loadNewestSnapshot: () => loadNewestSnapshot(paths, warn)
    }
  } finally {
    catalog.close()
  }
}

function makeFolders(paths: DataPaths): void {
  for (const folder of [
    paths.root,
    paths.archive,
    paths.staging,
    paths.compaction,
    paths.superseded,
    paths.snapshots,
    paths.keptSnapshots
  ]) {
    try {
      for (const changed of makeFolder(folder)) fsyncFolder(changed)
    } catch (cause) {
      throw new ArchiveOpenError(
        folder,
        `cannot make the folder ${folder}: ${(cause as Error).message}; check its owner, or choose another data folder`,
        cause
      )
    }
  }
  for (const folder of [paths.staging, paths.compaction, paths.superseded]) {
    if (statSync(folder).dev === statSync(paths.archive).dev) continue
    throw new ArchiveOpenError(
      folder,
      `${folder} and ${paths.archive} are on different file systems: put both on one, files are renamed from one to the other`
    )
  }
}

function openCatalog(paths: DataPaths): Catalog {
  try {
    return Catalog.open(paths.catalog)
  } catch (cause) {
    throw new ArchiveOpenError(
      paths.catalog,
      `cannot open the catalog ${paths.catalog}: ${(cause as Error).message}; check its owner, and restore it from a backup if it is damaged`,
      cause
    )
  }
}

function lostFiles(paths: DataPaths, lost: readonly CatalogFile[]): ArchiveOpenError {
  const first = join(paths.archive, lost[0].path)
  const others = lost.length === 1 ? '' : ` and ${lost.length - 1} more files`
  return new ArchiveOpenError(
    first,
    `the archive lacks ${first}${others}, which the catalog records: put back what was moved or deleted by hand, or restore a backup`
  )
}

function deleteUnrecorded(paths: DataPaths, unrecorded: readonly string[]): number {
  for (const path of unrecorded) deleteFile(join(paths.archive, path))
  let deleted = unrecorded.length
  for (const entry of readdirSync(paths.staging, { withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.parquet')) continue
    deleteFile(join(paths.staging, entry.name))
    deleted++
  }
  for (const spill of [paths.spill, paths.compactionSpill, paths.reprocessing]) {
    if (existsSync(spill) && lstatSync(spill).isDirectory()) rmSync(spill, { recursive: true })
  }
  return deleted
}

/** A deletion that was cut off leaves a record without its file: it is forgotten. A file without a record is nobody's. */
function settleSuperseded(paths: DataPaths, catalog: Catalog): void {
  const present = new Set(parquetFiles(paths.superseded, ''))
  const gone = catalog.superseded().filter(({ path }) => !present.delete(path))
  catalog.forgetSuperseded(gone.map(({ path }) => path))
  for (const path of present) deleteFile(join(paths.superseded, path))
}

function deleteUnrecordedSnapshots(paths: DataPaths, catalog: Catalog): void {
  const recorded = new Set(catalog.snapshots().map(snapshot => snapshot.file))
  for (const name of readdirSync(paths.snapshots)) {
    if (/\.snapshot(\.tmp)?$/.test(name) && !recorded.has(name)) deleteFile(join(paths.snapshots, name))
  }
  const kept = new Set(catalog.reprocessing.keptSnapshots().map(snapshot => snapshot.file))
  for (const name of readdirSync(paths.keptSnapshots)) {
    if (name.endsWith('.snapshot') && !kept.has(name)) deleteFile(join(paths.keptSnapshots, name))
  }
}

/**
 * A damaged snapshot is forgotten, so that the one before is not dropped in its favour when the next is written, and the log
 * is kept for it.
 */
function loadNewestSnapshot(paths: DataPaths, warn: (message: string) => void): Snapshot | null {
  const catalog = openCatalog(paths)
  try {
    for (const { entry, file } of catalog.snapshots()) {
      const path = join(paths.snapshots, file)
      const snapshot = readSnapshot(path)
      if (typeof snapshot !== 'string' && snapshot.entry === entry) return snapshot
      const fault = typeof snapshot === 'string' ? snapshot : `it is of entry ${snapshot.entry}, not ${entry}`
      warn(`the snapshot ${path} is damaged (${fault}): the one before it is used`)
      catalog.forgetSnapshot(entry)
      deleteFile(path)
    }
    return loadReprocessed(paths, catalog)
  } finally {
    catalog.close()
  }
}

/**
 * The state that a reprocessing has left is kept twice: a replay of the log from before it would judge as was judged then, and not agree
 * with the archive. null where there was none.
 */
function loadReprocessed(paths: DataPaths, catalog: Catalog): Snapshot | null {
  const reprocessedEntry = Math.max(0, ...catalog.reprocessing.reprocessings().map(({ entry }) => entry))
  if (reprocessedEntry === 0) return null
  for (const { entry, file } of catalog.reprocessing.keptSnapshots().filter(kept => kept.entry >= reprocessedEntry)) {
    const snapshot = readSnapshot(join(paths.keptSnapshots, file))
    if (typeof snapshot !== 'string' && snapshot.entry === entry) return snapshot
  }
  throw new ArchiveOpenError(
    paths.snapshots,
    `no snapshot in ${paths.snapshots} from behind the last reprocessing (entry ${reprocessedEntry}) is whole: restore that folder`
  )
}

/** Paths of the Parquet files below `folder`, relative to `root`, with `/`. */
function* parquetFiles(root: string, folder: string): Generator<string> {
  const entries: Dirent[] = readdirSync(join(root, folder), { withFileTypes: true })
  for (const entry of entries) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (entry.isDirectory()) yield* parquetFiles(root, path)
    else if (entry.isFile() && entry.name.endsWith('.parquet')) yield path
  }
}
