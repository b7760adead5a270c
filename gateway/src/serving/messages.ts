/** What crosses between the gateway's main thread and the worker that reads the archive for it. */
import type { MemoryTable, ServedRows } from '../pipeline/served-state.js'
import type { Cell } from '../processor/row-table.js'
import type { ReadingKey } from './reading-key.js'

export type Rows = Pick<ServedRows, 'entry' | 'ingestMs' | 'files'> & { readonly memory: readonly MemoryTable[] }

export interface ReadingsJob {
  readonly job: 'readings'
  readonly deviceId: string
  /** Event times, Unix ms: [fromMs, toMs). */
  readonly fromMs: number
  readonly toMs: number
  readonly after: ReadingKey | null
  readonly limit: number
  /** null: all. */
  readonly metrics: readonly string[] | null
  readonly rows: Rows
}

/** Of a device, the row that was available at a time. Unix ms. */
export interface Wanted {
  readonly deviceId: string
  readonly timeMs: number
}

export interface AsOfJob {
  readonly job: 'as-of'
  readonly wanted: readonly Wanted[]
  readonly embargoMs: number
  readonly rows: Rows
}

export type Job = ReadingsJob | AsOfJob

/** A feature row by column; times are Unix ms. */
export type FeatureCells = Readonly<Record<string, Cell>>

export type JobResult<J extends Job> = J extends ReadingsJob ? Uint8Array<ArrayBuffer> : readonly (FeatureCells | null)[]

export interface ToServing {
  readonly id: number
  readonly job: Job
}

export type FromServing =
  /** Of readings, the answer's JSON; of feature rows, one for each that was wanted. */
  | { readonly id: number; readonly result: JobResult<Job> }
  /** A file was moved meanwhile: ask again. */
  | { readonly id: number; readonly failure: 'vanished' }
  /** It took too long and was ended. */
  | { readonly id: number; readonly failure: 'slow' }
  | { readonly id: number; readonly failure: 'failed'; readonly message: string }
