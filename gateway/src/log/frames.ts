/**
 * Frames as they lie in an entry of the log: for each, kind (u8), length of the device ID (u8), the device ID in ASCII, length
 * of the payload (u32, little-endian), the payload. Ticks have neither device nor payload; a control frame's payload is JSON, a
 * requeue frame's what processor/requeue.ts says.
 * An offset is (entry, index of the frame in it).
 */

export type FrameKind = 'batch' | 'json' | 'status' | 'tick' | 'control' | 'requeue'

export interface Frame {
  readonly kind: FrameKind
  /** Empty for ticks and control frames. */
  readonly deviceId: string
  /** A view into the entry: copy it to keep it. */
  readonly payload: Uint8Array
}

const KIND_CODES: Record<FrameKind, number> = { batch: 1, json: 2, status: 3, tick: 16, control: 17, requeue: 18 }
const KINDS = new Map<number, FrameKind>(Object.entries(KIND_CODES).map(([kind, code]) => [code, kind as FrameKind]))
const HEAD_BYTES = 6

/** How many bytes the frame takes in an entry. */
export function frameBytes(deviceId: string, payloadBytes: number): number {
  return HEAD_BYTES + deviceId.length + payloadBytes
}

/** Writes the frame at `at` and returns the offset behind it. `deviceId` is at most 255 ASCII characters. */
export function writeFrame(into: Buffer, at: number, kind: FrameKind, deviceId: string, payload: Uint8Array): number {
  into[at] = KIND_CODES[kind]
  into[at + 1] = deviceId.length
  into.write(deviceId, at + 2, 'latin1')
  const behindId = at + 2 + deviceId.length
  into.writeUInt32LE(payload.length, behindId)
  into.set(payload, behindId + 4)
  return behindId + 4 + payload.length
}

/** The frames of an entry, in order. Throws where the bytes are no entry: the log was damaged. */
export function* readFrames(entry: Uint8Array): Generator<Frame> {
  const bytes = Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength)
  let at = 0
  while (at < bytes.length) {
    const kind = KINDS.get(bytes[at])
    const behindId = at + 2 + bytes[at + 1]
    const end = behindId + 4 <= bytes.length ? behindId + 4 + bytes.readUInt32LE(behindId) : Number.POSITIVE_INFINITY
    if (kind === undefined || end > bytes.length)
      throw new Error(`the log holds an entry that is no list of frames (byte ${at} of ${bytes.length})`)
    yield { kind, deviceId: bytes.toString('latin1', at + 2, behindId), payload: entry.subarray(behindId + 4, end) }
    at = end
  }
}
