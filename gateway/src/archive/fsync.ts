import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'

/** What SQLite does not do for us: making files and folders survive a power cut. */

/** Returns once the file's bytes are on the disk. */
export function fsyncFile(path: string): void {
  fsync(path, 'r+')
}

/** Returns once the folder's entries (files made in it, renamed into it, deleted from it) are on the disk. */
export function fsyncFolder(path: string): void {
  fsync(path, 'r')
}

/** Makes `folder` with its parents; returns the folders that have a new entry and so must be fsynced. */
export function makeFolder(folder: string): string[] {
  const first = mkdirSync(folder, { recursive: true })
  if (first === undefined) return []
  const changed: string[] = []
  for (let at = folder; at.length >= first.length; at = dirname(at)) changed.push(dirname(at))
  return changed
}

function fsync(path: string, flags: string): void {
  const descriptor = openSync(path, flags)
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
