import { existsSync, linkSync, readdirSync, renameSync, rmdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { crashPoint } from '../crash-point.js'
import { writeError } from './archive-error.js'
import type { Catalog, CatalogFile } from './catalog.js'
import { fsyncFile, fsyncFolder, makeFolder } from './fsync.js'
import { type DataPaths, stagingName } from './paths.js'
import { deleteFile } from './snapshot-file.js'
import type { Supersession } from './supersede.js'

/**
 * Replaces files of the archive by others, exactly once: the new ones are fsynced in staging/compaction/; one transaction of the
 * catalog records them and marks the old ones as superseded (the commit point); then the old ones are renamed out of archive/
 * into superseded/, the new ones into archive/, and the folders are fsynced; later the old ones are deleted.
 *
 * A globbing reader sees all of the old files, or, for the moment that the renames take, some of them or none, or the new file:
 * never a row twice, because the new comes in when the last of the old is out. A file that it has open stays readable; one that
 * it has listed and not opened when the renames come is an error of its, never a wrong answer, because no name is ever used for
 * other rows. Who reads the catalog's list sees the old files or the new ones, and nothing between; for them, files that are about
 * to be superseded are offered under their later name beforehand, so that a long query is not overtaken by one swap after another.
 * A crash before the commit point leaves nothing that counts, one behind it nothing that `redoSwaps` cannot finish.
 */

/** Where a new file waits for its swap. */
export function mergingPath(paths: DataPaths, file: Pick<CatalogFile, 'path'>): string {
  return join(paths.compaction, stagingName(file.path))
}

/**
 * Links the files into superseded/ too, where our own readers prefer them (views.ts): there they stay while swaps go on. `withdraw`
 * ends it. Where the file system has no hard links, readers start again more often.
 */
export function offer(paths: DataPaths, files: readonly CatalogFile[]): void {
  for (const { path } of files) {
    const place = join(paths.superseded, path)
    try {
      makeFolder(dirname(place))
      if (!existsSync(place)) linkSync(join(paths.archive, path), place)
    } catch {
      return
    }
  }
}

/** Deletes what was offered and is not superseded. */
export function withdraw(paths: DataPaths, catalog: Catalog, files: readonly CatalogFile[]): void {
  const superseded = new Set(catalog.superseded().map(({ path }) => path))
  const left = files.filter(({ path }) => !superseded.has(path))
  for (const { path } of left) deleteFile(join(paths.superseded, path))
  for (const folder of new Set(left.map(({ path }) => dirname(path)))) deleteEmptyFolders(paths.superseded, folder)
}

/**
 * Swaps the files, the new ones being closed in staging/compaction/. False, with the new ones deleted, where an old one is no
 * longer recorded. Throws an `ArchiveWriteError` where the disk fails; behind the commit point `redoSwaps` does the rest.
 * `beforeCommit` is called within the transaction, when all is recorded.
 */
export function swap(paths: DataPaths, catalog: Catalog, supersession: Supersession, beforeCommit: () => void = () => {}): boolean {
  const { old, files } = supersession
  const places = old.map(file => join(paths.superseded, file.path))
  const changed = new Set<string>()
  try {
    for (const file of files) fsyncFile(mergingPath(paths, file))
    if (files.length > 0) fsyncFolder(paths.compaction)
    crashPoint('compact-staged')
    // Folders are made before, so that nothing but renames lies between old and new.
    for (const place of [...places, ...files.map(file => join(paths.archive, file.path))]) {
      for (const parent of makeFolder(dirname(place))) changed.add(parent)
    }
    if (!catalog.supersede(supersession, beforeCommit)) {
      for (const file of files) deleteFile(mergingPath(paths, file))
      return false
    }
    crashPoint('compact-commit')
    for (const file of old) moveOut(paths, file.path, changed)
    for (const file of files) moveIn(paths, file, changed)
    for (const folder of changed) fsyncFolder(folder)
    for (const file of old) deleteEmptyFolders(paths.archive, dirname(file.path))
    return true
  } catch (cause) {
    throw writeError(paths.root, cause)
  }
}

/** Does again what a crash or an error has left undone of swaps that are recorded; deletes new files that are not. Returns the renames. */
export function redoSwaps(paths: DataPaths, catalog: Catalog): number {
  const changed = new Set<string>()
  const left = new Set<string>()
  let renamed = 0
  try {
    for (const { path } of catalog.superseded()) {
      if (!existsSync(join(paths.archive, path))) continue
      left.add(dirname(path))
      for (const parent of makeFolder(dirname(join(paths.superseded, path)))) changed.add(parent)
      moveOut(paths, path, changed)
      renamed++
    }
    const staged = new Set(existsSync(paths.compaction) ? readdirSync(paths.compaction).filter(name => name.endsWith('.parquet')) : [])
    if (staged.size > 0) {
      for (const file of catalog.files()) {
        if (!staged.delete(stagingName(file.path))) continue
        for (const parent of makeFolder(dirname(join(paths.archive, file.path)))) changed.add(parent)
        moveIn(paths, file, changed)
        renamed++
      }
      for (const name of staged) deleteFile(join(paths.compaction, name))
    }
    for (const folder of changed) fsyncFolder(folder)
    for (const folder of left) deleteEmptyFolders(paths.archive, folder)
    return renamed
  } catch (cause) {
    throw writeError(paths.root, cause)
  }
}

/** Deletes files superseded at or before `untilMs` of wall time, and the folders that this empties. Returns their number. */
export function deleteSuperseded(paths: DataPaths, catalog: Catalog, untilMs: number): number {
  const due = catalog.superseded().filter(file => file.sinceMs <= untilMs)
  if (due.length === 0) return 0
  try {
    for (const { path } of due) deleteFile(join(paths.superseded, path))
    catalog.forgetSuperseded(due.map(file => file.path))
    for (const folder of new Set(due.map(file => dirname(file.path)))) deleteEmptyFolders(paths.superseded, folder)
    return due.length
  } catch (cause) {
    throw writeError(paths.superseded, cause)
  }
}

/**
 * Deletes `folder`, below `root`, and the folders above it, as far as they are empty. A flush that has just made one of them for a
 * late reading finds it gone, and tries again.
 */
function deleteEmptyFolders(root: string, folder: string): void {
  for (let at = folder; at !== '.'; at = dirname(at)) {
    try {
      rmdirSync(join(root, at))
    } catch {
      return // it is not empty, or gone
    }
  }
}

function moveOut(paths: DataPaths, path: string, changed: Set<string>): void {
  const from = join(paths.archive, path)
  const to = join(paths.superseded, path)
  // A rename from one name of a file to another of its names does nothing (POSIX).
  if (existsSync(to)) deleteFile(from)
  else renameSync(from, to)
  changed.add(dirname(from)).add(dirname(to))
  crashPoint('compact-moved')
}

function moveIn(paths: DataPaths, file: CatalogFile, changed: Set<string>): void {
  const to = join(paths.archive, file.path)
  renameSync(mergingPath(paths, file), to)
  changed.add(dirname(to)).add(paths.compaction)
  crashPoint('compact-rename')
}
