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

/** Deepest nesting of arrays in a batch: the body, the extra fields, one of them, its values. */
export const NESTING_DEPTH_MAX = 4

/** Deepest nesting of arrays and objects in a JSON message. Whoever writes a field out again may recurse that far. */
export const JSON_DEPTH_MAX = 16

/** Largest status or ack, in bytes of JSON. */
export const STATUS_BYTES_MAX = 16 * 1024

/** Longest reason of a tombstone, in characters of `[a-z-]`. */
export const TOMBSTONE_REASON_LENGTH_MAX = 32

/** Longest unit of a metric, in UTF-16 code units. */
export const UNIT_LENGTH_MAX = 32

/** Largest version of a profile. */
export const PROFILE_VERSION_MAX = 65_535

/** Longest duration in a profile, in ms: 366 days. */
export const PROFILE_DURATION_MS_MAX = 366 * 86_400_000

/** Most hops in a feature's window: a gateway keeps a pane for each, for every device. 24 h by the minute. */
export const HOPS_PER_WINDOW_MAX = 1440

/** Most decimal places of a resolution: 10^-9. */
export const DECIMALS_MAX = 9

/** Largest integer of any kind, 2^53 - 1: what a double holds exactly. Seqs and epochs are in [1, INTEGER_MAX]. */
export const INTEGER_MAX = Number.MAX_SAFE_INTEGER

/**
 * Largest magnitude of a value times 10^k that is sent as an integer, 2^50. Below it, multiplying, rounding and dividing a value
 * that was rounded before gives the same value, and differences are exact. What is larger travels as float64.
 */
export const SCALED_MAX = 2 ** 50

/** Largest magnitude of a time on the wire, in Unix ms: differences of two are exact, and a Date holds it. The year 128,722. */
export const TIME_MS_MAX = 4e15

/** Earliest event time: 2000-01-01T00:00:00Z, in Unix ms. What claims to be older comes from a clock that was never set. */
export const EVENT_TIME_MS_MIN = Date.UTC(2000, 0, 1)

/** How far an event time may lie ahead of its ingest time, in ms. */
export const EVENT_TIME_AHEAD_MS_MAX = 5 * 60_000

/**
 * Readings that a batch may have however little the gateway grants: a grant spares the gateway, which takes 60 readings in one batch for
 * a tenth of what they cost one by one. The rate holds all the same: the next batch waits for longer.
 */
export const GRANTED_BATCH_READINGS_MIN = 60
