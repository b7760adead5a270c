/** What crosses between the log's client and its worker. */

/** Frames of one wave, packed as `frames.ts` says: they become one entry. */
export interface AppendWave {
  readonly type: 'append'
  readonly wave: number
  readonly frames: Uint8Array<ArrayBuffer>
}

/** Deletes the entries up to and with `throughEntry`: snapshots and the archive no longer need them. */
export interface TruncateLog {
  readonly type: 'truncate'
  readonly throughEntry: number
}

export type ToLogWorker = AppendWave | TruncateLog | { readonly type: 'close' }

export type FromLogWorker =
  /** `thread`: the worker's, as `threadId` has it. */
  | { readonly type: 'open'; readonly lastEntry: number; readonly thread: number | null }
  | { readonly type: 'failed-to-open'; readonly message: string }
  /** The wave is durable as `entry`. */
  | { readonly type: 'appended'; readonly wave: number; readonly entry: number; readonly bytes: number }
  /** The wave is not in the log, nothing of it. */
  | { readonly type: 'refused'; readonly wave: number; readonly message: string }
  | { readonly type: 'ticked'; readonly entry: number }
  | { readonly type: 'closed' }
