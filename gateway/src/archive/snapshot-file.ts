import { createHash, type Hash } from 'node:crypto'
import { closeSync, existsSync, fstatSync, openSync, readSync, renameSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fsyncFile, fsyncFolder } from './fsync.js'
import { padEntry } from './paths.js'

/**
 * A snapshot on the disk: magic (8 bytes), version (u32), entry (u64), bytes behind the head (u64), SHA-256 of all other bytes
 * (32 bytes); then the parts, each with its length (u32) before it; integers little-endian. A file that is torn or has a flipped
 * bit anywhere is no snapshot.
 *
 * It may be larger than memory should hold, so it is written and read part by part. While it is written its name ends in `.tmp`;
 * the head comes last, and only what is whole and durable gets its name.
 */

const MAGIC = Buffer.from('TMSNAP\r\n', 'latin1')
const VERSION = 2
const HASH_AT = 28
const HEAD_BYTES = 60
const LENGTH_BYTES = 4
const READ_BYTES = 1024 * 1024

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
  private readonly length = Buffer.alloc(LENGTH_BYTES)

  constructor(
    folder: string,
    readonly entry: number
  ) {
    this.path = temporaryPath(folder, entry)
    this.descriptor = openSync(this.path, 'w')
    writeAll(this.descriptor, Buffer.alloc(HEAD_BYTES))
  }

  append(part: Uint8Array): void {
    this.length.writeUInt32LE(part.length)
    writeAll(this.descriptor, this.length)
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

function writeHead(path: string, entry: number): { bytes: number; sha256: string } {
  const descriptor = openSync(path, 'r+')
  try {
    const bytes = fstatSync(descriptor).size
    const head = Buffer.alloc(HEAD_BYTES)
    MAGIC.copy(head)
    head.writeUInt32LE(VERSION, 8)
    head.writeBigUInt64LE(BigInt(entry), 12)
    head.writeBigUInt64LE(BigInt(bytes - HEAD_BYTES), 20)
    const checksum = checksumOf(descriptor, head)
    checksum.copy(head, HASH_AT)
    for (let at = 0; at < HEAD_BYTES; ) at += writeSync(descriptor, head, at, HEAD_BYTES - at, at)
    return { bytes, sha256: checksum.toString('hex') }
  } finally {
    closeSync(descriptor)
  }
}

/** The snapshot in the file, whole and unchanged; or what is wrong with it. */
export function readSnapshot(path: string): Snapshot | string {
  let descriptor: number | null = null
  try {
    descriptor = openSync(path, 'r')
    const checked = check(descriptor)
    return typeof checked === 'string' ? checked : { entry: checked.entry, parts: () => readParts(path) }
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  } finally {
    if (descriptor !== null) closeSync(descriptor)
  }
}

function check(descriptor: number): { entry: number } | string {
  const { size } = fstatSync(descriptor)
  if (size < HEAD_BYTES) return `it has ${size} bytes, fewer than its head`
  const head = readAt(descriptor, 0, HEAD_BYTES)
  if (!head.subarray(0, MAGIC.length).equals(MAGIC)) return 'it does not begin as a snapshot does'
  const version = head.readUInt32LE(8)
  if (version !== VERSION) return `its version is ${version}, not ${VERSION}`
  const bytes = head.readBigUInt64LE(20)
  if (bytes !== BigInt(size - HEAD_BYTES)) return `it has ${size - HEAD_BYTES} bytes of state, not ${bytes}`
  if (!checksumOf(descriptor, head).equals(head.subarray(HASH_AT))) return 'its checksum does not fit'
  return { entry: Number(head.readBigUInt64LE(12)) }
}

function* readParts(path: string): Generator<Uint8Array> {
  const descriptor = openSync(path, 'r')
  try {
    const { size } = fstatSync(descriptor)
    for (let at = HEAD_BYTES; at < size; ) {
      const length = readAt(descriptor, at, LENGTH_BYTES).readUInt32LE()
      yield readAt(descriptor, at + LENGTH_BYTES, length)
      at += LENGTH_BYTES + length
    }
  } finally {
    closeSync(descriptor)
  }
}

/** Of all bytes of the file but those of the checksum; `head` stands for its first ones. */
function checksumOf(descriptor: number, head: Buffer): Buffer {
  const hash: Hash = createHash('sha256').update(head.subarray(0, HASH_AT))
  const buffer = Buffer.allocUnsafe(READ_BYTES)
  for (let at = HEAD_BYTES; ; ) {
    const read = readSync(descriptor, buffer, 0, READ_BYTES, at)
    if (read === 0) return hash.digest()
    hash.update(buffer.subarray(0, read))
    at += read
  }
}

function readAt(descriptor: number, at: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length)
  for (let filled = 0; filled < length; ) {
    const read = readSync(descriptor, bytes, filled, length - filled, at + filled)
    if (read === 0) throw new Error(`it ends at byte ${at + filled}`)
    filled += read
  }
  return bytes
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
