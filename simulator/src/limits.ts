/** Every bound and fixed time of the simulator, with its unit and its reason. */

/** Most devices of a run: their IDs have six digits. */
export const DEVICES_MAX = 1_000_000

/** Largest seed and largest seq: the hash mixes 32-bit numbers. At one reading each 5 s, seqs last for 680 years. */
export const UINT32_MAX = 2 ** 32 - 1

/** Longest interval, in ms: a skewed reading must still lie behind the year 2000. */
export const INTERVAL_MS_MAX = 24 * 3_600_000

/** A reading that is held back is overtaken by at most this many successors. */
export const HOLD_SEQS_MAX = 4

/** A clock that steps back does so by this many intervals at least: further than any reading is held back. */
export const SKEW_INTERVALS_MIN = 16

/** … and by fewer than this many. At 5 s an interval that is 5 minutes: the gateway still merges such readings into its panes. */
export const SKEW_INTERVALS_END = 64

/** A delayed reading waits at most this many intervals. */
export const DELAY_INTERVALS_MAX = 4

/** A device may fall silent once in so many readings, … */
export const SILENCE_BLOCK_SEQS = 64

/** … for this many intervals at least, and fewer than that: a silence that begins in the first half of its block ends within it. */
export const SILENCE_INTERVALS_MIN = 8
export const SILENCE_INTERVALS_END = 32

/** By how much a skewed clock is wrong at most, in ms: a gateway takes up to 5 minutes ahead of its own. */
export const SKEW_MS_MAX = 120_000

/** Most connections of one process: descriptors are limited, often to 20,000, and a process needs some for itself. */
export const PROCESS_CONNECTIONS_MAX = 17_000

/** Most connections to one destination address: Linux takes every other of its 28,000 ports first, and searches long behind those; closed ones linger. */
export const DESTINATION_CONNECTIONS_MAX = 13_000

/** Most readings in one message of the simulator: what an agent sends in backlog. */
export const MESSAGE_READINGS_MAX = 500

/** How far ahead the beginning is that all processes of a fleet are told, in ms. */
export const BEGIN_AHEAD_MS = 200

/** Where the event times of `future` readings begin, in Unix ms: ahead of any clock that a gateway may have. */
export const FUTURE_EVENT_TIME_MS = Date.UTC(2200, 0, 1)

/** Rows of a data chunk of DuckDB. */
export const CHUNK_ROWS = 2048

/** PUBLISHes of a device that wait for their PUBACK; it sends no further reading beyond. */
export const IN_FLIGHT_MAX = 16

/** Largest packet that a broker may send us, in bytes. A device subscribes to nothing, so anything large is a mistake. */
export const PACKET_BYTES_MAX = 64 * 1024

/** MQTT keepalive, in seconds. Devices that publish more often never ping. */
export const KEEPALIVE_S = 60

/** How long a connection may be silent while it owes us an answer, in ms. */
export const SILENCE_MS_MAX = 90_000

/** Full-jitter backoff of reconnects: at most this long at the first try, doubling up to the second, in ms. */
export const BACKOFF_MS_MIN = 500
export const BACKOFF_MS_MAX = 10_000

/** Connections that may be on their way up at once: bounded by a broker's listen backlog. */
export const CONNECTING_MAX = 256

/** New connections a second, unless told otherwise. */
export const CONNECT_PER_S = 1000

/** Sampling waits this long at least for all devices to be connected, in ms; and three times what the connect rate needs. */
export const CONNECT_MS_MIN = 10_000

/** How long a fleet may take to get everything acked when its time is over, in ms. */
export const DRAIN_MS_MAX = 60_000

/**
 * When its time is over, a fleet leaves within so long, in ms, and sooner where so many connections of a process a second are enough: all at
 * once would be a burst of messages that none of its devices means, and would delay the PUBACKs of the last readings.
 */
export const LEAVE_MS_MAX = 5000
export const LEAVE_PER_S = 500

/** How often the fleet looks at the clock, in ms. A reading is sent at most this much behind its time, if the machine keeps up. */
export const TICK_MS = 5

/** A process that takes this many readings a tick sleeps between its ticks: a PUBACK is then seen up to a tick late, and so it counts. */
export const GATHERED_PER_TICK = 4

/** Of each tick, how long a process makes messages of backlogs, in ms: live readings come first. */
export const BACKLOG_MS_PER_TICK = 2

/** How often progress is told, in ms. */
export const PROGRESS_MS = 1000

/** Longest latency that the histogram tells apart, in microseconds: 1 hour. */
export const LATENCY_US_MAX = 3_600_000_000

/** The rate that is told is the mean over this many tellings. */
export const RATE_TELLINGS = 10

/** How often progress is written where there is no terminal, in ms. */
export const PROGRESS_LINE_MS = 5000

/** Memory that DuckDB may take to verify. */
export const VERIFY_MEMORY = '768MB'

/** How long a device of a history is out of reach at least and at most, in ms: from a lost link to one that is fixed after the weekend's night. */
export const OUTAGE_MS_MIN = 2 * 3_600_000
export const OUTAGE_MS_MAX = 36 * 3_600_000

/** Readings in one batch of a history. */
export const HISTORY_BATCH_READINGS = MESSAGE_READINGS_MAX

/** How long a broker may leave a history without a PUBACK, in ms, before it is given up. */
export const HISTORY_STALL_MS_MAX = 60_000

/** Longest history, in days. */
export const HISTORY_DAYS_MAX = 3660

/** PUBLISHes of a connection of a relay that wait for their PUBACK. */
export const SHARED_IN_FLIGHT_MAX = 200
