import type { Value } from '@tidemark/protocol'

/**
 * What the sampler needs of a source. A source only reads: it gives no seqs, keeps no readings and knows no gateway.
 * Live sources measure when they are asked, each some of a profile's metrics (`LiveSource`); `LiveSources` makes readings of what
 * they measure. A replay gives whole readings of itself (`Source`).
 */

/** Tombstone reason of a row that a source found and could not read. */
export const UNREADABLE = 'unreadable'

export type SourceEntry =
  /** A replayed reading. `eventTimeMs` in Unix ms; `values`: one a metric of the profile, in its order. */
  | { readonly eventTimeMs: number; readonly values: readonly Value[] }
  /** A live reading, with the monotonic time (`monotonicMs`) at which measuring began. */
  | { readonly measuredMs: number; readonly values: readonly Value[] }
  /** There was a reading, but it cannot be used: it takes a seq and is declared with this reason. */
  | { readonly shed: string }

/** What a source gives at a time; it is committed as a whole, with the position. */
export interface SourceGroup {
  readonly entries: readonly SourceEntry[]
  /** Where to go on after these entries; null where the source has no place to go back to. */
  readonly position: string | null
  /** Values that could not be read and are null in `entries`. */
  readonly nulledValues: number
  /** What was wrong with the entries, for the log; a few of them, not all. */
  readonly problems: readonly string[]
}

export interface Source {
  /** Live sources cannot wait: what finds no room is lost. Others are read no faster than the buffer takes them. */
  readonly live: boolean
  /** Names the source that positions belong to. */
  readonly key: string
  /** Reads on from a position (null: from the beginning) until the source ends or `signal` aborts; what it is at then, it still gives. */
  groups(position: string | null, signal: AbortSignal): AsyncGenerator<SourceGroup>
  /** Lets go of connections and processes, after the last group was taken. */
  close?(): Promise<void>
}

/** What a live source measured at one time. */
export interface Measured {
  /** By metric; what is absent is null. */
  readonly values: ReadonlyMap<string, Value>
  /** What could not be measured and why, one line each. */
  readonly problems: readonly string[]
  /** Where to go on after a restart; absent where there is nothing to go on from. */
  readonly position?: string
  /** The source has come to its end with this. */
  readonly isLast?: boolean
}

/** A source that measures when it is asked. */
export interface LiveSource {
  /** Names it in logs, in `status`, and its position. Holds no secret. */
  readonly key: string
  /** The metrics that it gives. */
  readonly metrics: readonly string[]
  /**
   * Measures now. Rejects where nothing can be measured; it is asked again later. `signal` aborts when the answer is no longer
   * waited for. Not called again before the last call has settled.
   */
  measure(signal: AbortSignal): Promise<Measured>
  /** Goes on from a position that it gave; called before the first measurement, if at all. False where it has already ended there. */
  resume?(position: string): boolean
  /** Lets go of connections and processes. May be called at any time, and is the last call. */
  close(): Promise<void>
}

/** The source cannot go on. Exit code 1; nothing that was committed is lost. */
export class SourceError extends Error {
  readonly code = 'SOURCE'
}
