/**
 * What the processor hands over at a flush boundary, and the archive makes durable in one commit. Plain data: it crosses
 * from worker to worker. No I/O here.
 */
import type { Profile } from '@tidemark/protocol'
import type { FleetFlush } from './fleet.js'

/** One column of the rows of a file. Doubles are cast to `type` when written; NaN is null. */
export interface NumberColumn {
  readonly name: string
  readonly type: 'double' | 'bigint' | 'integer' | 'boolean' | 'timestamp'
  /** `timestamp`: Unix ms. `boolean`: 0 or 1. */
  readonly values: Float64Array
}

export interface StringColumn {
  readonly name: string
  readonly type: 'string'
  /** Index into `Flush.strings`; -1 is null. */
  readonly values: Int32Array
}

export interface BytesColumn {
  readonly name: string
  readonly type: 'bytes'
  readonly values: readonly (Uint8Array | null)[]
}

export type FileColumn = NumberColumn | StringColumn | BytesColumn

export type Layer = 'raw' | 'processed' | 'curated' | 'quarantine' | 'resolved'

/** The rows of one file. */
export interface FileRows {
  readonly layer: Layer
  /** The profile's name; null for the quarantine and what is resolved of it. */
  readonly profile: string | null
  /** The profile's version: rows of two versions go to two files. */
  readonly profileVersion: number | null
  /** Start of the hour of the partition, Unix ms. */
  readonly hourMs: number
  readonly rows: number
  readonly columns: readonly FileColumn[]
  /** Names of the columns that the file is sorted by. */
  readonly sortBy: readonly string[]
}

/** What is known of one epoch of a device at the boundary; `epoch` 0 stands for readings with opaque event IDs. */
export interface EpochLedger {
  readonly deviceId: string
  readonly epoch: number
  readonly highestSampledSeq: number
  /** Archived readings, those that wait in the log for a later flush included. */
  readonly archived: number
  /** Of the archived: rows that no file holds yet, because their hour is small and waits (they are safe in the log). */
  readonly waiting: number
  /** Quarantined readings that count as the fate of a seq. */
  readonly quarantined: number
  readonly shed: number
  /** Seqs neither seen nor shed, that the device still holds. */
  readonly buffered: number
  /** Seqs neither seen nor shed, that the device no longer holds. */
  readonly missing: number
  readonly duplicates: number
  readonly late: number
}

export const LEDGER_NUMBERS = [
  'epoch',
  'highestSampledSeq',
  'archived',
  'waiting',
  'quarantined',
  'shed',
  'buffered',
  'missing',
  'duplicates',
  'late'
] as const satisfies readonly (keyof EpochLedger)[]

export type LedgerNumber = (typeof LEDGER_NUMBERS)[number]

/** An `EpochLedger` a place. */
export interface EpochColumns extends Readonly<Record<LedgerNumber, Float64Array>> {
  /** Places in `Flush.deviceIds`. */
  readonly device: Int32Array
}

/** How many readings of a profile and an hour of event time the flush brings; the catalog adds them up. */
export interface HourLedger {
  readonly profile: string
  readonly hourMs: number
  readonly archived: number
  readonly late: number
}

/** Feature rows of an hour that need a repair from the archive, because a reading came later than panes are kept. */
export interface RepairMark {
  readonly deviceId: string
  readonly profile: string
  readonly hourMs: number
  /** Rows as of (fromMs, throughMs]: those of the hour that the processor can no longer make, and so will never make again. */
  readonly fromMs: number
  readonly throughMs: number
}

/** The flush's boundary is one that a repair is to be made as of. */
export interface RepairOrder {
  /** Ingest time of the boundary. */
  readonly ingestMs: number
  /** One a name: the profiles whose features are to be computed. */
  readonly profiles: readonly Profile[]
}

export interface Flush {
  readonly shard: number
  /** The log entries that the flush covers, both included. Entries are numbered 1, 2, 3, … */
  readonly firstEntry: number
  readonly lastEntry: number
  /** The dictionary of `StringColumn`s. */
  readonly strings: readonly string[]
  readonly files: readonly FileRows[]
  /** The dictionary of devices: of `epochs`, and of the fleet's progress and hours. */
  readonly deviceIds: readonly string[]
  /** Epochs that changed since the last boundary. */
  readonly epochs: EpochColumns
  readonly hours: readonly HourLedger[]
  readonly repairs: readonly RepairMark[]
  readonly fleet: FleetFlush
  /** Present where a control frame asks for a repair as of this boundary. */
  readonly repairOrder?: RepairOrder
  /** Whether a snapshot of the state at `lastEntry` is to be taken; it is kept once the flush is committed. */
  readonly snapshotIsDue: boolean
}
