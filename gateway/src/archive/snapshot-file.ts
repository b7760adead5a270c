import { createHash } from 'node:crypto'
import { closeSync, openSync, readFileSync, renameSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fsyncFile, fsyncFolder } from './fsync.js'
import { padEntry } from './paths.js'

/**
 * A snapshot on the disk: magic (8 bytes), version (u32), entry (u64), length of the state (u64), SHA-256 of all other bytes
 * (32 bytes), the state; integers little-endian. A file that is torn or has a flipped bit anywhere is no snapshot.
 */

const MAGIC = Buffer.from('TMSNAP\r\n', 'latin1')
const VERSION = 1
const HASH_AT = 28
const STATE_AT = 60

export interface Snapshot {
  readonly entry: number
  readonly state: Uint8Array
}

export function snapshotFileName(entry: number): string {
  return `${padEntry(entry)}.snapshot`
}

/** The file's bytes before the state; they hold its checksum. */
export function snapshotHead({ entry, state }: Snapshot): Buffer {
  const head = Buffer.alloc(STATE_AT)
  MAGIC.copy(head)
  head.writeUInt32LE(VERSION, 8)
  head.writeBigUInt64LE(BigInt(entry), 12)
  head.writeBigUInt64LE(BigInt(state.length), 20)
  checksum(head, state).copy(head, HASH_AT)
  return head
}

/** The snapshot in a file's bytes, its state a view into them; or what is wrong with it. */
export function decodeSnapshot(file: Buffer): Snapshot | string {
  if (file.length < STATE_AT) return `it has ${file.length} bytes, fewer than its head`
  if (!file.subarray(0, MAGIC.length).equals(MAGIC)) return 'it does not begin as a snapshot does'
  const version = file.readUInt32LE(8)
  if (version !== VERSION) return `its version is ${version}, not ${VERSION}`
  const state = file.subarray(STATE_AT)
  if (file.readBigUInt64LE(20) !== BigInt(state.length)) return `it has ${state.length} bytes of state, not ${file.readBigUInt64LE(20)}`
  if (!checksum(file, state).equals(file.subarray(HASH_AT, STATE_AT))) return 'its checksum does not fit'
  return { entry: Number(file.readBigUInt64LE(12)), state }
}

/** Writes the snapshot into `folder` so that its name stands for all of it or for nothing; durable when it returns. */
export function writeSnapshot(folder: string, snapshot: Snapshot): { file: string; bytes: number; sha256: string } {
  const file = snapshotFileName(snapshot.entry)
  const path = join(folder, file)
  const temporary = `${path}.tmp`
  const parts = [snapshotHead(snapshot), snapshot.state]
  const descriptor = openSync(temporary, 'w')
  try {
    for (const part of parts) for (let at = 0; at < part.length; ) at += writeSync(descriptor, part, at)
  } finally {
    closeSync(descriptor)
  }
  fsyncFile(temporary)
  renameSync(temporary, path)
  fsyncFolder(folder)
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return { file, bytes: STATE_AT + snapshot.state.length, sha256: hash.digest('hex') }
}

/** The snapshot in the file, or what is wrong with it. */
export function readSnapshot(path: string): Snapshot | string {
  let file: Buffer
  try {
    file = readFileSync(path)
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  return decodeSnapshot(file)
}

/** Deletes the file; that it is gone already is fine. */
export function deleteFile(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

function checksum(head: Buffer, state: Uint8Array): Buffer {
  return createHash('sha256').update(head.subarray(0, HASH_AT)).update(state).digest()
}
