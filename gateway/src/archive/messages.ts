import type { Flush } from '../processor/flush.js'
import type { RecordedSnapshot, Written } from './commit.js'

/** What client and archive worker say to each other. The worker answers each request, one at a time, in order. */

export interface ArchiveWorkerData {
  readonly dataDir: string
  readonly shard: number
  readonly memoryMiB: number
}

export type ArchiveRequest =
  | { readonly type: 'write'; readonly flush: Flush }
  /** Writes the flush that failed last once more: its arrays were transferred and are the worker's. */
  | { readonly type: 'retry' }
  /** Records the snapshot that is written as of this entry, whose flush is committed. */
  | { readonly type: 'record-snapshot'; readonly entry: number; readonly ingestMs: number }
  | { readonly type: 'close' }

export type ArchiveReply =
  | { readonly type: 'written'; readonly written: Written }
  | { readonly type: 'recorded'; readonly recorded: RecordedSnapshot }
  | { readonly type: 'failed'; readonly message: string; readonly path: string; readonly retryable: boolean }
  | { readonly type: 'closed' }
