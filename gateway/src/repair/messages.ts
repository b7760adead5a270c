/** What crosses between whoever wants repairs and the repair worker. */
import type { Repaired } from './repair-job.js'

export interface RepairWorkerData {
  readonly dataDir: string
  /** DuckDB's memory in the worker, in MiB. */
  readonly memoryMiB: number
}

export type ToRepair =
  /** Make all repairs that are ordered in the catalog. */
  | { readonly type: 'run' }
  /** End at the next batch, whatever is under way. */
  | { readonly type: 'close' }

export type FromRepair =
  | { readonly type: 'progress'; readonly marks: number; readonly marksDone: number }
  | { readonly type: 'repaired'; readonly repaired: Repaired }
  /** Nothing is ordered any more. */
  | { readonly type: 'done' }
  /** The repair stays ordered. */
  | { readonly type: 'failed'; readonly message: string }
