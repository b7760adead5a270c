/**
 * Frames on their way to the log, packed into one buffer, and who is to be told what becomes of them. A wave is filled, sent, settled
 * and filled again: its arrays and its buffer are kept, so that a frame costs no object.
 */
import { performance } from 'node:perf_hooks'
import type { AppendReceiver } from './frame-log.js'
import { FRAME_HEAD_BYTES, type FrameInPlace, type FrameKind, frameBytes, writeFrame, writeFrameFrom } from './frames.js'

const BYTES_START = 16 * 1024

/** A buffer that had to grow beyond this is not kept. */
const BYTES_KEPT_MAX = 4 * 1024 * 1024

export class Wave {
  /** Bytes of frames. */
  used = 0
  /** Whether one of the frames is a status: whoever decides about sessions must look. */
  hasStatus = false
  private buffer = Buffer.allocUnsafeSlow(BYTES_START)
  /** Of receivers to be told. */
  count = 0
  private readonly receivers: (AppendReceiver | null)[] = []
  private readonly tokens: number[] = []
  private readonly appendedMs: number[] = []

  add(kind: FrameKind, deviceId: string, payload: Uint8Array, receiver: AppendReceiver, token: number): void {
    this.reserve(frameBytes(deviceId, payload.length))
    this.used = writeFrame(this.buffer, this.used, kind, deviceId, payload)
    if (kind === 'status') this.hasStatus = true
    this.note(receiver, token)
  }

  /** See `FrameLog.appendFrom`. */
  addFrom(frame: FrameInPlace, receiver: AppendReceiver, token: number): void {
    this.reserve(FRAME_HEAD_BYTES + frame.idEnd - frame.idStart + frame.payloadEnd - frame.payloadStart)
    this.used = writeFrameFrom(this.buffer, this.used, frame)
    if (frame.kind === 'status') this.hasStatus = true
    this.note(receiver, token)
  }

  /** Frames that were packed elsewhere; `receiver` is told once for all of them. */
  addPacked(frames: Uint8Array, receiver: AppendReceiver, token: number): void {
    this.reserve(frames.length)
    this.buffer.set(frames, this.used)
    this.used += frames.length
    this.note(receiver, token)
  }

  /** A view: it holds until the wave is cleared. */
  get frames(): Buffer {
    return this.buffer.subarray(0, this.used)
  }

  /** Tells whose frame is the one with this index that it is not taken. The frame stays in the wave. */
  refuse(index: number, error: Error): void {
    const receiver = this.receivers[index]
    if (index >= this.count || receiver === null) return
    this.receivers[index] = null
    receiver.settled(error, 0, this.tokens[index], this.appendedMs[index])
  }

  /** Tells all who have not been told, and empties the wave. */
  settle(error: Error | null, entry: number): void {
    for (let i = 0; i < this.count; i++) {
      const receiver = this.receivers[i]
      this.receivers[i] = null
      receiver?.settled(error, entry, this.tokens[i], this.appendedMs[i])
    }
    this.count = 0
    this.used = 0
    this.hasStatus = false
    if (this.buffer.length > BYTES_KEPT_MAX) this.buffer = Buffer.allocUnsafeSlow(BYTES_START)
  }

  private note(receiver: AppendReceiver, token: number): void {
    this.receivers[this.count] = receiver
    this.tokens[this.count] = token
    this.appendedMs[this.count] = performance.now()
    this.count++
  }

  private reserve(bytes: number): void {
    const needed = this.used + bytes
    if (needed <= this.buffer.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2))
    grown.set(this.buffer.subarray(0, this.used))
    this.buffer = grown
  }
}
