/** The agent's own bounds, each with its unit and its reason. What the wire sets is in @tidemark/protocol. */

/** Most readings in one commit of a replay source, and in one chunk. 500 rows make a commit 30 times cheaper a row than one each. */
export const READINGS_PER_COMMIT_MAX = 500

/** Largest chunk in the buffer, in bytes: a chunk is decoded whole, even for one reading of it. */
export const CHUNK_BYTES_MAX = 64 * 1024

/** What a chunk costs in the file beside its payload (row, tree, page slack), in bytes. An estimate, for the buffer's bound. */
export const CHUNK_OVERHEAD_BYTES = 64

/** Most bytes of text in one reading: with the numbers of the widest profile it still fits in one PUBLISH. */
export const TEXT_BYTES_PER_READING_MAX = 64 * 1024

/** Largest `batch_bytes`: 128 KiB on the wire, less 8 KiB for the header and 64 tombstones. */
export const BATCH_BYTES_MAX = 120 * 1024

/** Most batches in flight; MQTT allows 65,535, and the gateway bounds what it holds for a client. */
export const IN_FLIGHT_MAX = 1000

/** How far the durable mark of what may have been published runs ahead, in readings: one commit for so many live readings. */
export const PUBLISH_AHEAD_READINGS = 500

/** The same among readings that are in the buffer already: what is in flight of a backlog by the defaults. */
export const BACKLOG_AHEAD_READINGS = 4000

/** How long what is acked may wait to be deleted together with more, in ms: so much of a backlog goes out again after a crash. */
export const DELETE_WITHIN_MS = 100

/** Connections lost in a row with the same oldest batch unacked, after which that batch is sent alone. */
export const LOSSES_UNTIL_SUSPECT = 2

/** Refusals of a batch after which it is halved. */
export const REFUSALS_UNTIL_HALVED = 3

/** Refusals of a single reading after which it is shed. On a line that loses every other connection, 1 in 1,000 by chance. */
export const REFUSALS_UNTIL_SHED = 10

/** A connection on which a sent batch stays unacked so long is given up, in ms. The gateway delays PUBACK when it is behind. */
export const PUBACK_WAIT_MS_MAX = 120_000

/** How long a connect may take, in ms. */
export const CONNECT_MS_MAX = 30_000

/** MQTT keep-alive, in s: a dead peer is noticed after 1.5 times this. */
export const KEEP_ALIVE_S = 60

/** How long a stopping agent waits for PUBACKs of what is in flight, in ms. */
export const STOP_DRAIN_MS_MAX = 3000

/** How long a stopping agent waits for the PUBACK of its offline status, in ms. */
export const FAREWELL_MS_MAX = 2000

/** How long an append is tried again when the disk is full or busy, in ms, before the agent gives up. */
export const APPEND_RETRY_MS_MAX = 60_000

/** Pause between two tries of an append, in ms. */
export const APPEND_RETRY_PAUSE_MS = 1000

/** Backward step of the wall clock, in ms, from which on live readings get a new epoch instead of slower time. */
export const CLOCK_STEP_BACK_MS_MAX = 60_000

/** How fast event time runs while the wall clock is behind it: slower than real time, never back. */
export const CLOCK_SLEW = 0.9

/** Smallest buffer that is accepted, in bytes. */
export const BUFFER_BYTES_MIN = 64 * 1024

/** Rows with an unreadable time at the very start of a recording after which the configuration is to blame, not the rows. */
export const UNREADABLE_ROWS_AT_START_MAX = 20

/** A connection that stood so long, in ms, was a good one: the next one is tried without a long delay. */
export const STABLE_CONNECTION_MS = 30_000

/** Longest row of a recording, in bytes. A quote that is never closed would take in the rest of the file. */
export const ROW_BYTES_MAX = 1024 * 1024

/** How long a commit waits for another program that holds the buffer's file, in ms. The event loop stands still meanwhile. */
export const BUSY_MS_MAX = 500

/** Most sources of one agent. Each may have a connection or a process of its own. */
export const SOURCES_MAX = 64

/** Most metrics that one source maps: as many as the widest profile has. */
export const MAPPINGS_MAX = 256

/** How long a live source is waited for by default, in ms; not longer than the interval, so that the others do not wait. */
export const SOURCE_TIMEOUT_MS = 5000

/** But so long it is waited for however short the interval is, in ms: the first measurement of a source takes longer than others. */
export const SOURCE_TIMEOUT_MS_LEAST = 1000

/** Pause after the second failure of a source in a row, in ms. It doubles. */
export const SOURCE_BACKOFF_MS_MIN = 1000

/** Longest pause after a failure of a source, in ms: how long a device that is plugged in again may go unnoticed. */
export const SOURCE_BACKOFF_MS_MAX = 60_000

/** Most bytes of one answer that a source takes: a message of a local broker, a page, what a command prints. */
export const ANSWER_BYTES_MAX = 1024 * 1024
/** Most addresses in `gateway.urls`. */
export const GATEWAY_URLS_MAX = 16

/** Least `ring_bytes`: some hundred readings. */
export const RING_BYTES_MIN = 64 * 1024

/** How long a POST of a batch may take, in ms, before it is given up. */
export const POST_MS_MAX = 60_000

/** POSTs on their way at once. */
export const POSTS_MAX = 4

/** Longest wait that a gateway may ask for in Retry-After, in ms. */
export const RETRY_AFTER_MS_MAX = 3_600_000

/**
 * Page of the buffer's file, in bytes. A commit writes each page that it touches whole, so that small pages spare an SD card; of a
 * single reading they make half of what SQLite's usual 4096 do.
 */
export const PAGE_BYTES = 1024

/** Pages of the write-ahead log at which it is copied into the file and begun again: 1 MiB, unless a reader is in the way. */
export const WAL_PAGES_MAX = 1024

/** For how long a `spill` buffer reserves seqs in one commit, in ms. After a crash what is left of them is declared. */
export const RESERVE_MS = 1_800_000

/** Bounds of such a reservation, in readings. */
export const RESERVE_READINGS_MIN = 16
export const RESERVE_READINGS_MAX = 100_000

/** Readings that are thinned together, and become one chunk. */
export const THIN_SEGMENT_READINGS = 500

/** Least that a full buffer frees at a time, in bytes: so that not every reading pays for a commit. */
export const FREE_AT_LEAST_BYTES = 16 * 1024

/** How often the free space of the disk and the age of readings are looked at, in ms. */
export const HOUSEKEEPING_MS = 10_000

/** How often the memory that waits for the disk is looked at, in ms, at most. */
export const UPKEEP_MS = 1000

/** Files up to this size are checked whole when the agent starts, in bytes; larger ones when they turn out to be damaged. */
export const CHECKED_AT_START_BYTES_MAX = 8 * 2 ** 20

/** Damaged buffers that are kept aside; the oldest goes first. */
export const DAMAGED_KEPT_MAX = 2

/** Salvages in one run of the agent, after which it gives up: the disk itself must be broken. */
export const SALVAGES_MAX = 3

/** Least chunks that are packed into one: fewer are not worth a commit. */
export const COMPACT_CHUNKS_MIN = 250

/** How far wall and monotonic clock may be apart from one reading to the next, in ms, before that counts as a step of the wall clock. */
export const CLOCK_JITTER_MS = 20

/** 2025-01-01T00:00:00Z, in Unix ms: a clock that shows less was never set, and what was stored by it has no known age. */
export const CLOCK_EARLIEST_MS = 1_735_689_600_000

/** How far this machine's clock may be from the gateway's, in ms, beside the round trip, to be called synced. */
export const CLOCK_AGREES_MS = 1000

/** How long a gateway may take to tell its time after a connect, in ms, before it counts as one that does not. */
export const GATEWAY_TIME_MS_MAX = 10_000

/** A longer round trip says too little of the gateway's time, in ms. */
export const GATEWAY_ROUND_TRIP_MS_MAX = 10_000

/** How often held readings are looked at, in ms: they go out so soon after the clock is set. */
export const HELD_CHECK_MS = 1000

/** How often the kernel is asked for its clock while that is not synced, in ms. */
export const KERNEL_CLOCK_UNSYNCED_MS = 10_000

/** How often it is asked once it is synced, in ms. */
export const KERNEL_CLOCK_SYNCED_MS = 300_000

/** How long the kernel's answer is waited for, in ms. */
export const KERNEL_CLOCK_WAIT_MS = 2000

/** Most programs that may watch a running agent. */
export const LIVE_CONNECTIONS_MAX = 16

/** A watching program that leaves more unread, in bytes, is let go. */
export const LIVE_BYTES_MAX = 1024 * 1024

/** How long `status` waits for a running agent, in ms. */
export const LIVE_WAIT_MS = 2000

/** A backlog at start from which on speed counts more than memory, in readings: a few hours at one a second. */
export const LARGE_BACKLOG_READINGS = 10_000

/** How long the sampling loop may be late, in ms, before it counts as hung: longer than an append is tried again (`APPEND_RETRY_MS_MAX`). */
export const SAMPLING_LATE_MS_MAX = 90_000

/** How long telling systemd may take, in ms; systemd-notify itself waits 5 s for an answer. */
export const NOTIFY_MS_MAX = 10_000
