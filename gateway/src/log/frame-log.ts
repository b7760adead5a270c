import type { FrameInPlace, FrameKind } from './frames.js'

/** `error` is null when the frame is durable, in the entry `entry`. */
export type Appended = (error: Error | null, entry: number) => void

/** Whoever appends frames and is told what became of each: one object for many frames, told apart by the tokens that it gave. */
export interface AppendReceiver {
  /** `error` is null when the frame is durable, in the entry `entry`. `appendedMs`: `performance.now()` when it was appended. */
  settled(error: Error | null, entry: number, token: number, appendedMs: number): void
}

/** What a front needs of a log: it appends, is told when that is durable, and holds back while too much waits. */
export interface FrameLog {
  /** `payload` is copied before this returns. */
  appendFor(kind: FrameKind, deviceId: string, payload: Uint8Array, receiver: AppendReceiver, token: number): void
  /** The same for a frame that lies somewhere; `frame` is the caller's again when this returns. */
  appendFrom(frame: FrameInPlace, receiver: AppendReceiver, token: number): void
  readonly isFull: boolean
}

/** What the core needs of a log for fronts in other processes: frames come packed. */
export interface PackedLog {
  /** The frames come into one entry, and `receiver` is told once. `frames` is copied before this returns. */
  appendPacked(frames: Uint8Array, receiver: AppendReceiver, token: number): void
  readonly isFull: boolean
}
