/** A record of the simulated log: checksum of the rest (u32), length of the rest (u32), entry (f64), ingest time (f64), frames. */
import type { LogEntry } from '@tidemark/gateway/dist/log/schema.js'

const HEAD_BYTES = 24

export function encodeRecord({ entry, ingestMs, frames }: LogEntry): Uint8Array {
  const record = new Uint8Array(HEAD_BYTES + frames.length)
  const view = new DataView(record.buffer)
  view.setUint32(4, frames.length)
  view.setFloat64(8, entry)
  view.setFloat64(16, ingestMs)
  record.set(frames, HEAD_BYTES)
  view.setUint32(0, checksum(record))
  return record
}

/** null where the record is not whole. */
export function decodeRecord(record: Uint8Array): LogEntry | null {
  if (record.length < HEAD_BYTES) return null
  const view = new DataView(record.buffer, record.byteOffset, record.length)
  if (view.getUint32(4) !== record.length - HEAD_BYTES || view.getUint32(0) !== checksum(record)) return null
  return { entry: view.getFloat64(8), ingestMs: view.getFloat64(16), frames: record.slice(HEAD_BYTES) }
}

/** FNV-1a, 32 bit. */
function checksum(record: Uint8Array): number {
  let hash = 0x811c9dc5
  for (let at = 4; at < record.length; at++) hash = Math.imul(hash ^ record[at], 0x01000193)
  return hash >>> 0
}
