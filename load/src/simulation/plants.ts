/**
 * Bugs that a test plants to see whether the simulation notices: each breaks one promise as a plausible mistake would. They live
 * in the simulation's shells and around the cores, never in a package that is shipped.
 */
export const PLANTS = {
  /** The front acks what was written but not fsynced. */
  'ack-before-fsync': 'acked-means-durable',
  /** The agent deletes what it has sent, without waiting for the PUBACK. */
  'delete-before-puback': 'acked-means-durable',
  /** A reading that equals the one before it counts as a duplicate. */
  'dedupe-by-value': 'exactly-once',
  /** The committed offset goes into the catalog before the flush's files do. */
  'flush-outside-commit': 'exactly-once',
  /** A snapshot is kept as soon as it is made, whether or not its flush is committed. */
  'snapshot-past-commit': 'exactly-once',
  /** The agent numbers on from what it holds, not from what it gave away. */
  'seq-reused-after-crash': 'exactly-once',
  /** A copy of an event ID that the store has seen is a duplicate, also of itself in a replay. */
  'event-ids-ahead-of-log': 'exactly-once',
  /** A full buffer drops readings without a tombstone. */
  'silent-drop': 'nothing-dropped',
  /** The quarantine keeps reasons, but no bytes. */
  'quarantine-without-bytes': 'nothing-dropped',
  /** What is older than the ingest time by more than the allowed lateness is late. */
  'watermark-by-wall-time': 'event-time-rules',
  /** All devices share the watermark of the one that is ahead. */
  'shared-watermark': 'event-time-rules',
  /** A late reading does not correct the features that went out. */
  'no-corrections': 'nothing-dropped',
  /** Rows carry the clock of the machine that computed them. */
  'computed-at-by-wall-clock': 'reproducible',
  /** The log's torn tail is taken for an entry. */
  'torn-tail-kept': 'goes-on',
  /** The log is cut behind the newest snapshot, though it may turn out to be damaged. */
  'log-cut-too-far': 'goes-on',
  /** A feature row claims to have been known when its hop ended. */
  'known-at-backdated': 'no-leakage',
  /** Labels are joined by the end of the window, whenever it was known. */
  'leaking-join': 'no-leakage',
  /** Labels are joined by known_at alone: a correction of an old row passes for the latest. */
  'join-by-known-at': 'no-leakage'
} as const satisfies Record<string, Broken>

export type Plant = keyof typeof PLANTS

/** DESIGN section 1. */
export type PromiseName = 'acked-means-durable' | 'exactly-once' | 'nothing-dropped' | 'event-time-rules' | 'reproducible' | 'no-leakage'

/** The promise that is broken; `goes-on` where the machinery itself stops. */
export type Broken = PromiseName | 'goes-on'

export interface Violation {
  readonly promise: Broken
  readonly message: string
}
