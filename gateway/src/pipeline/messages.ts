/** What crosses between the gateway's main thread and the processor's worker, and between that one and the one that decodes ahead. */
import type { Profile } from '@tidemark/protocol'
import type { DrainConfig } from '../drain/config.js'
import type { DrainStats, Grant } from '../drain/drain-budget.js'
import type { TableNews } from '../processor/decoded.js'
import type { ProcessorStats } from '../processor/processor.js'
import type { Notice } from '../processor/state.js'
import type { Repaired } from '../repair/repair-job.js'
import type { ConfigTold } from './configs.js'
import type { Answer, Question } from './questions.js'

export interface PipelineOptions {
  readonly dataDir: string
  /** The last entry of the log when the gateway started. */
  readonly lastEntry: number
  /** null: no device is granted a drain. */
  readonly drain: DrainConfig | null
}

export type ToPipeline =
  /** The log is durable up to this entry. */
  | { readonly type: 'entry'; readonly entry: number }
  /** Answer `drained` when everything up to this entry is committed in the archive. */
  | { readonly type: 'drain'; readonly entry: number }
  /** Answer the question when everything up to `atEntry` is applied. */
  | { readonly type: 'ask'; readonly id: number; readonly atEntry: number; readonly question: Question }
  /** PUBACKs are late. */
  | { readonly type: 'late' }
  /** Answer `repairs-settled` when no repair that was ordered is left to be made. */
  | { readonly type: 'await-repairs' }
  | { readonly type: 'close' }

export interface PipelineStats {
  readonly processor: ProcessorStats
  /** Bytes of frames applied since the start. */
  readonly appliedBytes: number
  readonly committedEntry: number
  readonly flushes: number
  readonly files: number
  readonly fileRows: number
  readonly fileBytes: number
  readonly snapshots: number
  /** Why the archive cannot be written just now; null: it can. */
  readonly archiveError: string | null
  /** Devices' hours whose features are marked for repair; whether one is ordered and not made yet. */
  readonly repairMarks: number
  readonly repairing: boolean
  /** null: no device is granted a drain. */
  readonly drain: DrainStats | null
}

export type FromPipeline =
  | { readonly type: 'open'; readonly fromEntry: number; readonly behindBytes: number; readonly renamed: number; readonly deleted: number }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'warning'; readonly message: string }
  | { readonly type: 'stats'; readonly stats: PipelineStats }
  | { readonly type: 'notices'; readonly notices: readonly Notice[] }
  | { readonly type: 'configs'; readonly configs: readonly ConfigTold[] }
  | { readonly type: 'grants'; readonly grants: readonly Grant[] }
  /** The log may forget its entries up to this one. */
  | { readonly type: 'truncate'; readonly throughEntry: number }
  | { readonly type: 'answer'; readonly id: number; readonly answer: Answer }
  | { readonly type: 'drained' }
  | { readonly type: 'repair-progress'; readonly marks: number; readonly marksDone: number }
  | { readonly type: 'repaired'; readonly repaired: Repaired; readonly marksLeft: number }
  /** `error`: why the repair that is ordered could not be made so far. */
  | { readonly type: 'repairs-settled'; readonly error: string | null }
  | { readonly type: 'closed' }

export interface DecodeOptions {
  /** Of the log. */
  readonly path: string
  /** Entries behind the one and up to the other are decoded. */
  readonly afterEntry: number
  readonly throughEntry: number
  /** In force behind `afterEntry`. */
  readonly profiles: readonly Profile[]
}

/** Arrays to fill. */
export interface ToDecoder {
  readonly cells: Float64Array<ArrayBuffer>
  readonly frames: Uint8Array<ArrayBuffer>
}

/** Entries one behind another: their frames, and the records of these (decoded.ts). */
export interface DecodedBlock extends ToDecoder {
  readonly type: 'block'
  readonly entries: readonly {
    readonly entry: number
    readonly ingestMs: number
    /** In `frames`. */
    readonly from: number
    readonly to: number
    /** In `cells`. */
    readonly first: number
    readonly behind: number
  }[]
  readonly news: TableNews
}

export type FromDecoder = DecodedBlock | { readonly type: 'end' } | { readonly type: 'failed'; readonly message: string }
