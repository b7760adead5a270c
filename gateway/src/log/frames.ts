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

/** A frame whose parts lie in `bytes`: the device ID in ASCII at [idStart, idEnd), the payload at [payloadStart, payloadEnd). */
export interface FrameInPlace {
  kind: FrameKind
  bytes: Uint8Array
  idStart: number
  idEnd: number
  payloadStart: number
  payloadEnd: number
}

const KIND_CODES: Record<FrameKind, number> = { batch: 1, json: 2, status: 3, tick: 16, control: 17, requeue: 18 }
/** By code. */
const KINDS: (FrameKind | undefined)[] = []
for (const [kind, code] of Object.entries(KIND_CODES)) KINDS[code] = kind as FrameKind
/** Bytes of a frame beside its device ID and payload. */
export const FRAME_HEAD_BYTES = 6

/** How many bytes the frame takes in an entry. */
export function frameBytes(deviceId: string, payloadBytes: number): number {
  return FRAME_HEAD_BYTES + deviceId.length + payloadBytes
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

/** A frame as it lies in an entry. */
export function packFrame(kind: FrameKind, deviceId: string, payload: Uint8Array): Buffer<ArrayBuffer> {
  const frame = Buffer.alloc(frameBytes(deviceId, payload.length))
  writeFrame(frame, 0, kind, deviceId, payload)
  return frame
}

/** Bytes that are copied one by one: below this a loop is faster than making a view to copy from. */
const COPIED_SINGLY_MAX = 160

/** The same for a frame that lies somewhere; makes no object. */
export function writeFrameFrom(into: Buffer, at: number, frame: FrameInPlace): number {
  const { kind, bytes, idStart, idEnd, payloadStart, payloadEnd } = frame
  const payloadBytes = payloadEnd - payloadStart
  into[at] = KIND_CODES[kind]
  into[at + 1] = idEnd - idStart
  let to = at + 2
  for (let from = idStart; from < idEnd; ) into[to++] = bytes[from++]
  into[to] = payloadBytes & 0xff
  into[to + 1] = (payloadBytes >>> 8) & 0xff
  into[to + 2] = (payloadBytes >>> 16) & 0xff
  into[to + 3] = payloadBytes >>> 24
  to += 4
  if (payloadBytes > COPIED_SINGLY_MAX) into.set(bytes.subarray(payloadStart, payloadEnd), to)
  else for (let from = payloadStart; from < payloadEnd; ) into[to++] = bytes[from++]
  return at + FRAME_HEAD_BYTES + idEnd - idStart + payloadBytes
}

/** Walks the frames of an entry without making an object of each. `kind` and the rest tell of the frame that `next` has come to. */
export class FrameCursor implements FrameInPlace {
  kind: FrameKind = 'tick'
  idStart = 0
  idEnd = 0
  payloadStart = 0
  payloadEnd = 0

  constructor(readonly bytes: Uint8Array) {}

  /** Whether there is one more. Throws where the bytes are no entry: the log was damaged. */
  next(): boolean {
    const { bytes, payloadEnd: at } = this
    if (at === bytes.length) return false
    const kind = KINDS[bytes[at]]
    const behindId = at + 2 + bytes[at + 1]
    const payloadStart = behindId + 4
    const payloadBytes = bytes[behindId] + bytes[behindId + 1] * 0x100 + bytes[behindId + 2] * 0x1_0000 + bytes[behindId + 3] * 0x100_0000
    if (kind === undefined || !(payloadStart + payloadBytes <= bytes.length))
      throw new Error(`the log holds an entry that is no list of frames (byte ${at} of ${bytes.length})`)
    this.kind = kind
    this.idStart = at + 2
    this.idEnd = behindId
    this.payloadStart = payloadStart
    this.payloadEnd = payloadStart + payloadBytes
    return true
  }

  /** Goes to the frame that begins at `start`: `next` comes to it. */
  seek(start: number): void {
    this.payloadEnd = start
  }

  get deviceId(): string {
    const { buffer, byteOffset } = this.bytes
    return Buffer.from(buffer, byteOffset + this.idStart, this.idEnd - this.idStart).toString('latin1')
  }

  /** A view into the entry: copy it to keep it. */
  get payload(): Uint8Array {
    return this.bytes.subarray(this.payloadStart, this.payloadEnd)
  }
}

/** The frames of an entry, in order. Throws where the bytes are no entry: the log was damaged. */
export function* readFrames(entry: Uint8Array): Generator<Frame> {
  const cursor = new FrameCursor(entry)
  while (cursor.next()) yield { kind: cursor.kind, deviceId: cursor.deviceId, payload: cursor.payload }
}
