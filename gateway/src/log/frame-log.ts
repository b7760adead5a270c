import type { FrameKind } from './frames.js'

/** `error` is null when the frame is durable, in the entry `entry`. */
export type Appended = (error: Error | null, entry: number) => void

/** What a front needs of a log: it appends, is told when that is durable, and holds back while too much waits. */
export interface FrameLog {
  /** `payload` is copied before this returns. */
  append(kind: FrameKind, deviceId: string, payload: Uint8Array, done: Appended): void
  readonly isFull: boolean
}
