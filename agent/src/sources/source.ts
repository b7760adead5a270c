import type { Value } from '@tidemark/protocol'

/**
 * What the sampler needs of a source. A source only reads: it gives no seqs, keeps no readings and knows no gateway.
 */

/** Tombstone reason of a row that a source found and could not read. */
export const UNREADABLE = 'unreadable'

export type SourceEntry =
  /** `eventTimeMs` in Unix ms; null: now. `values`: one a metric of the profile, in its order. */
  | { readonly eventTimeMs: number | null; readonly values: readonly Value[] }
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
  /** Reads on from a position (null: from the beginning) until the source ends or `signal` aborts. */
  groups(position: string | null, signal: AbortSignal): AsyncGenerator<SourceGroup>
}

/** The source cannot go on. Exit code 1; nothing that was committed is lost. */
export class SourceError extends Error {
  readonly code = 'SOURCE'
}
