/**
 * What crosses between the core and a front in a process of its own, over a socket that only these two have: messages, each its
 * length (u32, little-endian), its type (u8) and its body. A wave's body is its number (u32), whether it holds a status (u8), and
 * frames as they lie in the log; any other is one MessagePack value.
 */
import { decode, encode } from '@msgpack/msgpack'
import type { Connected, DeviceMessage, DownstreamKind } from './core.js'
import type { FrontStats, ProcessStats } from './stats.js'

export type ToCore =
  | ({ readonly type: 'connected' } & Connected)
  | { readonly type: 'disconnected'; readonly deviceId: string; readonly number: number }
  | { readonly type: 'watch-statuses' }
  | { readonly type: 'watch-devices' }
  /** The next page of what is kept of the devices that the filter names. */
  | { readonly type: 'kept'; readonly request: number; readonly filter: string }
  /** No more of its pages are wanted. */
  | { readonly type: 'kept-end'; readonly request: number }
  | { readonly type: 'config'; readonly deviceId: string }
  /** A line of the front's log, JSON. */
  | { readonly type: 'log'; readonly line: string }
  | { readonly type: 'stats'; readonly stats: FrontStats; readonly usage: ProcessStats }
  | { readonly type: 'listening'; readonly isListening: boolean }
  | { readonly type: 'failed-to-listen'; readonly code: string; readonly message: string }

export type ToFront =
  /** What became of the waves above the last settled one, up to and with `through`; `refused`: frames not taken, by wave and index. */
  | {
      readonly type: 'settled'
      readonly through: number
      readonly error: string | null
      readonly refused: readonly (readonly [number, number])[]
    }
  | { readonly type: 'take-over'; readonly deviceId: string; readonly number: number }
  | {
      readonly type: 'deliver'
      readonly deviceId: string
      readonly kind: DownstreamKind
      readonly payload: Uint8Array
      readonly isRetained: boolean
    }
  | { readonly type: 'relay'; readonly deviceId: string; readonly kind: DownstreamKind; readonly payload: Uint8Array }
  | ({ readonly type: 'status' } & DeviceMessage)
  | {
      readonly type: 'page'
      readonly request: number
      readonly isLast: boolean
      readonly kept: readonly (readonly [string, Uint8Array])[]
    }
  | { readonly type: 'close' }

const WAVE = 1
const VALUE = 2

const HEAD_BYTES = 5

/** Bytes of a wave's message before its frames. */
const WAVE_HEAD_BYTES = HEAD_BYTES + 5

/** A longer message is a mistake of ours. */
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024

export function encodeMessage(message: ToCore | ToFront): Buffer {
  const body = encode(message)
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + body.length)
  bytes.writeUInt32LE(body.length + 1, 0)
  bytes[4] = VALUE
  bytes.set(body, HEAD_BYTES)
  return bytes
}

/** What stands before the frames of a wave. */
export function encodeWaveHead(wave: number, hasStatus: boolean, framesBytes: number): Buffer {
  const head = Buffer.allocUnsafe(WAVE_HEAD_BYTES)
  head.writeUInt32LE(framesBytes + WAVE_HEAD_BYTES - 4, 0)
  head[4] = WAVE
  head.writeUInt32LE(wave, HEAD_BYTES)
  head[HEAD_BYTES + 4] = hasStatus ? 1 : 0
  return head
}

/** Whoever takes what a `MessageSplitter` has found. */
export interface MessageSink<Message> {
  message(message: Message): void
  /** `frames` is a view: copy it to keep it. */
  wave(wave: number, hasStatus: boolean, frames: Uint8Array): void
}

/** Makes messages of a stream's chunks. */
export class MessageSplitter<Message extends ToCore | ToFront> {
  /** The message that has come in part, in a buffer of its full length once that is known. */
  private partial = Buffer.alloc(0)
  private has = 0

  constructor(private readonly sink: MessageSink<Message>) {}

  feed(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      if (this.has === 0 && chunk.length - at >= 4) {
        const bytes = 4 + lengthAt(chunk, at)
        if (chunk.length - at >= bytes) {
          this.take(chunk.subarray(at, at + bytes))
          at += bytes
          continue
        }
      }
      at += this.gather(chunk, at)
    }
  }

  /** Adds to the partial message; returns the bytes used. */
  private gather(chunk: Buffer, at: number): number {
    if (this.partial.length < 4) this.partial = Buffer.allocUnsafe(4)
    const used = chunk.copy(this.partial, this.has, at)
    this.has += used
    if (this.has < this.partial.length) return used
    if (this.partial.length === 4) {
      const whole = Buffer.allocUnsafe(4 + lengthAt(this.partial, 0))
      this.partial.copy(whole)
      this.partial = whole
      return used
    }
    const { partial } = this
    this.partial = Buffer.alloc(0)
    this.has = 0
    this.take(partial)
    return used
  }

  private take(bytes: Buffer): void {
    if (bytes[4] === WAVE) this.sink.wave(bytes.readUInt32LE(HEAD_BYTES), bytes[HEAD_BYTES + 4] === 1, bytes.subarray(WAVE_HEAD_BYTES))
    else this.sink.message(decode(bytes.subarray(HEAD_BYTES)) as Message)
  }
}

function lengthAt(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32LE(at)
  if (length < 1 || length > MESSAGE_BYTES_MAX) throw new Error(`a message of ${length} bytes between core and front`)
  return length
}
