/** Where a reading lies in the log: the entry, and its place in it (frame index * 1,024 + index in a JSON array). */
export interface Position {
  readonly entry: number
  readonly place: number
}

export const PLACES_PER_FRAME = 1024

/**
 * The opaque event IDs that were seen, on disk. A reading is a duplicate only of a lower position, so that a replay of the log
 * over a store that is ahead of it agrees with the first run.
 */
export interface EventIdStore {
  /** Whether the ID was first seen at a lower position, at an ingest time of at least `sinceMs`. */
  has(deviceId: string, eventId: string, before: Position, sinceMs: number): boolean
  add(deviceId: string, eventId: string, at: Position, ingestMs: number): void
  /** The bytes of the IDs first seen at ingest times in [fromMs, toMs): what expires when time passes. */
  bytesBetween(fromMs: number, toMs: number): number
}

/** How long an opaque event ID is remembered, in ms of ingest time. */
export const EVENT_ID_KEPT_MS = 72 * 3_600_000

/** What an ID counts for in the store's byte cap: its text and its row. */
export function eventIdBytes(deviceId: string, eventId: string): number {
  return deviceId.length + eventId.length + 48
}
