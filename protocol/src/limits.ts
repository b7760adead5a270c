/**
 * Every bound that the wire format sets, with its unit and its reason.
 * A decoder refuses what exceeds them before it allocates for it.
 */

/** Largest MQTT payload of a batch, a JSON message or a status, in bytes. Bounds memory per message in the gateway. */
export const PAYLOAD_BYTES_MAX = 128 * 1024

/** Most readings in one batch or one JSON array. 500 is what an agent sends in backlog; twice that leaves room for others. */
export const READINGS_PER_BATCH_MAX = 1000

/** Most metrics in a profile, and most extra fields of a batch. Wider machines are better split over several profiles. */
export const METRICS_PER_PROFILE_MAX = 256

/** Most tombstones in one batch. An agent that has more to declare sends another batch. */
export const TOMBSTONES_PER_BATCH_MAX = 64

/** Longest device ID, in characters of `[A-Za-z0-9._-]`. */
export const DEVICE_ID_LENGTH_MAX = 64

/** Longest opaque event ID of a JSON reading, in UTF-16 code units. */
export const EVENT_ID_LENGTH_MAX = 128

/** Longest name of a profile, a metric or a feature, in characters. */
export const NAME_LENGTH_MAX = 64

/** Longest string that a batch may hold, in bytes of UTF-8. A metric's own `max` (in characters) is usually far smaller. */
export const STRING_BYTES_MAX = 4096

/** Deepest nesting of a batch: body, columns, one column, and the parts of a column with nulls. */
export const NESTING_DEPTH_MAX = 4

/** Most decimal places of a resolution: 10^-9. */
export const DECIMALS_MAX = 9

/** Largest seq, epoch and time: what a double holds exactly. */
export const INTEGER_MAX = Number.MAX_SAFE_INTEGER

/** Earliest event time: 2000-01-01T00:00:00Z, in Unix ms. What claims to be older comes from a clock that was never set. */
export const EVENT_TIME_MS_MIN = Date.UTC(2000, 0, 1)

/** How far an event time may lie ahead of its ingest time, in ms. */
export const EVENT_TIME_AHEAD_MS_MAX = 5 * 60_000
