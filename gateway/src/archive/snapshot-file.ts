import { closeSync, existsSync, fstatSync, openSync, readSync, renameSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { ArchiveOpenError } from './archive-error.js'
import { fsyncFile, fsyncFolder } from './fsync.js'
import { padEntry } from './paths.js'
import { checkSnapshot, HEAD_BYTES, headOf, lengthBefore, partsIn, type Source } from './snapshot-format.js'

/**
 * Snapshots on the disk (their bytes: snapshot-format.ts), written and read part by part. While one is written its name ends in
 * `.tmp`; the head comes last, and only what is whole and durable gets its name.
 */

export interface Snapshot {
  readonly entry: number
  /** Reads the parts from the disk, in the order in which they were written. */
  parts(): Iterable<Uint8Array>
}

export interface WrittenSnapshot {
  readonly file: string
  readonly bytes: number
  /** The checksum in its head, hex. */
  readonly sha256: string
}

export function snapshotFileName(entry: number): string {
  return `${padEntry(entry)}.snapshot`
}

function temporaryPath(folder: string, entry: number): string {
  return join(folder, `${snapshotFileName(entry)}.tmp`)
}

/** Writes the parts of one snapshot. What it leaves behind counts for nothing before `finishSnapshot`. */
export class SnapshotWriter {
  private readonly path: string
  private readonly descriptor: number

  constructor(
    folder: string,
    readonly entry: number
  ) {
    this.path = temporaryPath(folder, entry)
    this.descriptor = openSync(this.path, 'w')
    writeAll(this.descriptor, Buffer.alloc(HEAD_BYTES))
  }

  append(part: Uint8Array): void {
    writeAll(this.descriptor, lengthBefore(part))
    writeAll(this.descriptor, part)
  }

  /** There are no more parts. */
  close(): void {
    closeSync(this.descriptor)
  }

  /** The snapshot will not be whole. */
  discard(): void {
    this.close()
    deleteFile(this.path)
  }
}

/** Gives the snapshot that a `SnapshotWriter` has written its head and its name; durable when it returns. Can be tried again. */
export function finishSnapshot(folder: string, entry: number): WrittenSnapshot {
  const file = snapshotFileName(entry)
  const path = join(folder, file)
  const temporary = temporaryPath(folder, entry)
  const at = existsSync(temporary) ? temporary : path // an earlier try may have renamed it
  const { bytes, sha256 } = writeHead(at, entry)
  fsyncFile(at)
  renameSync(at, path)
  fsyncFolder(folder)
  return { file, bytes, sha256 }
}

/** Writes the parts as a snapshot of the entry; durable when it returns. */
export function writeSnapshot(folder: string, entry: number, parts: Iterable<Uint8Array>): WrittenSnapshot {
  const writer = new SnapshotWriter(folder, entry)
  for (const part of parts) writer.append(part)
  writer.close()
  return finishSnapshot(folder, entry)
}

function writeHead(path: string, entry: number): { bytes: number; sha256: string } {
  const descriptor = openSync(path, 'r+')
  try {
    const source = fileSource(descriptor)
    const { head, sha256 } = headOf(source, entry)
    for (let at = 0; at < HEAD_BYTES; ) at += writeSync(descriptor, head, at, HEAD_BYTES - at, at)
    return { bytes: source.size, sha256 }
  } finally {
    closeSync(descriptor)
  }
}

/**
 * The snapshot in the file, whole and unchanged; or what is wrong with it. Throws an `ArchiveOpenError` where it is whole and another
 * version of the gateway wrote it: that one may be needed to go on.
 */
export function readSnapshot(path: string): Snapshot | string {
  const checked = checkFile(path)
  if (typeof checked === 'string') return checked
  if ('entry' in checked) return { entry: checked.entry, parts: () => readParts(path) }
  throw new ArchiveOpenError(
    path,
    `the snapshot ${path} is of version ${checked.otherVersion}, which this gateway does not read: start the gateway that wrote it; or, ` +
      `if the log still holds its first entry, delete the snapshots, and the log is read from there`
  )
}

function checkFile(path: string): ReturnType<typeof checkSnapshot> {
  let descriptor: number | null = null
  try {
    descriptor = openSync(path, 'r')
    return checkSnapshot(fileSource(descriptor))
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  } finally {
    if (descriptor !== null) closeSync(descriptor)
  }
}

function* readParts(path: string): Generator<Uint8Array> {
  const descriptor = openSync(path, 'r')
  try {
    yield* partsIn(fileSource(descriptor))
  } finally {
    closeSync(descriptor)
  }
}

function fileSource(descriptor: number): Source {
  return { size: fstatSync(descriptor).size, read: (buffer, at) => readSync(descriptor, buffer, 0, buffer.length, at) }
}

function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at)
}

/** Deletes the file; that it is gone already is fine. */
export function deleteFile(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
