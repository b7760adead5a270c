/**
 * Snapshots that are kept beside the raw frames, in snapshots/daily/: the first of each day of ingest time, so that reprocessing can
 * replay from there. They leave when the raw frames behind them have left. A file that the catalog does not record counts for nothing.
 */
import { copyFileSync, linkSync } from 'node:fs'
import { join } from 'node:path'
import type { Catalog, SnapshotRecord } from './catalog.js'
import { fsyncFile, fsyncFolder, makeFolder } from './fsync.js'
import type { DataPaths } from './paths.js'
import { deleteFile } from './snapshot-file.js'

export const DAY_MS = 86_400_000

/** Keeps the recorded snapshot where it is the first of its day. */
export function keepDaily(paths: DataPaths, catalog: Catalog, snapshot: SnapshotRecord, ingestMs: number): void {
  if (catalog.reprocessing.keptSnapshots().some(kept => dayOf(kept.ingestMs) === dayOf(ingestMs))) return
  for (const folder of makeFolder(paths.keptSnapshots)) fsyncFolder(folder)
  copySnapshot(join(paths.snapshots, snapshot.file), join(paths.keptSnapshots, snapshot.file))
  fsyncFolder(paths.keptSnapshots)
  catalog.reprocessing.keepSnapshot({ ...snapshot, ingestMs, profiles: null })
}

export function dayOf(ingestMs: number): number {
  return Math.floor(ingestMs / DAY_MS)
}

/** Gives a finished file another name, or copies it where the file system has no hard links; the folder is the caller's to fsync. */
export function copySnapshot(from: string, to: string): void {
  deleteFile(to)
  try {
    linkSync(from, to)
  } catch {
    copyFileSync(from, to)
    fsyncFile(to)
  }
}

/** Deletes kept snapshots behind which raw frames are gone. Returns their number. */
export function dropUseless(paths: DataPaths, catalog: Catalog): number {
  const firstRaw = Math.min(...catalog.files('raw').map(file => file.firstEntry), catalog.committedEntry(0) + 1)
  const useless = catalog.reprocessing.keptSnapshots().filter(kept => kept.entry + 1 < firstRaw)
  for (const { entry, file } of useless) {
    catalog.reprocessing.forgetKeptSnapshot(entry)
    deleteFile(join(paths.keptSnapshots, file))
  }
  return useless.length
}
