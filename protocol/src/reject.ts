/** Why a reading or a message cannot be archived. Stable: these strings are a column of the quarantine. */
export const REJECT_REASONS = [
  /** Neither header nor JSON can be read: the message is kept, its readings are unknown. */
  'undecodable',
  /** The header reads, the columns do not: each reading is accounted, its values are in the bytes. */
  'columns-damaged',
  'unknown-profile',
  'unknown-profile-version',
  /** A field that the profile does not name, under evolution `strict`. */
  'unknown-metric',
  'metric-missing',
  'metric-wrong-type',
  'metric-not-finite',
  'metric-out-of-range',
  'event-time-invalid',
  'event-time-in-future',
  'event-time-too-old',
  'event-id-invalid',
  /** More intervals of seen seqs in an epoch than are tracked. */
  'event-id-fragmented',
  /** A seq that was seen before, with an event time later than any of its epoch: a buffer restored from an image. */
  'event-id-reused',
  'event-id-store-full',
  /** The epoch is so old that its seqs are no longer tracked. */
  'epoch-retired',
  /** The reading arrived after a tombstone had declared it dropped. */
  'shed',
  /** More devices than the gateway is configured for. */
  'device-limit'
] as const

export type RejectReason = (typeof REJECT_REASONS)[number]
