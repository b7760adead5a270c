import { createHash, type Hash } from 'node:crypto'

/**
 * The bytes of a snapshot: magic (8 bytes), version (u32), entry (u64), bytes behind the head (u64), SHA-256 of all other bytes
 * (32 bytes); then the parts, each with its length (u32) before it; integers little-endian. What is torn or has a flipped bit
 * anywhere is no snapshot. Every version has this head, so that one which is whole and of another is told from a damaged one.
 *
 * It may be larger than memory should hold, so it is read piece by piece. Knows no files.
 */

const MAGIC = Buffer.from('TMSNAP\r\n', 'latin1')
const VERSION = 2
const HASH_AT = 28
const READ_BYTES = 1024 * 1024

export const HEAD_BYTES = 60
const LENGTH_BYTES = 4

/** Where a snapshot's bytes are. */
export interface Source {
  readonly size: number
  /** Fills the buffer with bytes from `at` on, as many as there are; returns how many. */
  read(buffer: Buffer, at: number): number
}

/** Whole, but of a version that this gateway does not read. */
export interface OtherVersion {
  readonly otherVersion: number
}

/** The length that stands before a part. */
export function lengthBefore(part: Uint8Array): Buffer {
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt32LE(part.length)
  return length
}

/** The head of the bytes that follow it in `source`; what lies in the head's place does not matter. */
export function headOf(source: Source, entry: number): { head: Buffer; sha256: string } {
  const head = Buffer.alloc(HEAD_BYTES)
  MAGIC.copy(head)
  head.writeUInt32LE(VERSION, 8)
  head.writeBigUInt64LE(BigInt(entry), 12)
  head.writeBigUInt64LE(BigInt(source.size - HEAD_BYTES), 20)
  const checksum = checksumOf(source, head)
  checksum.copy(head, HASH_AT)
  return { head, sha256: checksum.toString('hex') }
}

/** The entry that a whole snapshot is as of; or what is wrong with it. */
export function checkSnapshot(source: Source): { readonly entry: number } | OtherVersion | string {
  if (source.size < HEAD_BYTES) return `it has ${source.size} bytes, fewer than its head`
  const head = readAt(source, 0, HEAD_BYTES)
  if (!head.subarray(0, MAGIC.length).equals(MAGIC)) return 'it does not begin as a snapshot does'
  const bytes = head.readBigUInt64LE(20)
  if (bytes !== BigInt(source.size - HEAD_BYTES)) return `it has ${source.size - HEAD_BYTES} bytes of state, not ${bytes}`
  if (!checksumOf(source, head).equals(head.subarray(HASH_AT))) return 'its checksum does not fit'
  const version = head.readUInt32LE(8)
  return version === VERSION ? { entry: Number(head.readBigUInt64LE(12)) } : { otherVersion: version }
}

/** The parts of a whole snapshot, in the order in which they were written. */
export function* partsIn(source: Source): Generator<Uint8Array> {
  for (let at = HEAD_BYTES; at < source.size; ) {
    const length = readAt(source, at, LENGTH_BYTES).readUInt32LE()
    yield readAt(source, at + LENGTH_BYTES, length)
    at += LENGTH_BYTES + length
  }
}

/** A whole snapshot in memory. */
export function encodeSnapshot(entry: number, parts: readonly Uint8Array[]): Uint8Array {
  const bytes = Buffer.concat([Buffer.alloc(HEAD_BYTES), ...parts.flatMap(part => [lengthBefore(part), part])])
  headOf(inMemory(bytes), entry).head.copy(bytes)
  return new Uint8Array(bytes)
}

export function inMemory(bytes: Uint8Array): Source {
  return {
    size: bytes.length,
    read(buffer, at) {
      const found = bytes.subarray(at, at + buffer.length)
      buffer.set(found)
      return found.length
    }
  }
}

/** Of all bytes but those of the checksum; `head` stands for the first ones. */
function checksumOf(source: Source, head: Buffer): Buffer {
  const hash: Hash = createHash('sha256').update(head.subarray(0, HASH_AT))
  const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, source.size))
  for (let at = HEAD_BYTES; ; ) {
    const read = source.read(buffer, at)
    if (read === 0) return hash.digest()
    hash.update(buffer.subarray(0, read))
    at += read
  }
}

function readAt(source: Source, at: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length)
  for (let filled = 0; filled < length; ) {
    const read = source.read(bytes.subarray(filled), at + filled)
    if (read === 0) throw new Error(`it ends at byte ${at + filled}`)
    filled += read
  }
  return bytes
}
