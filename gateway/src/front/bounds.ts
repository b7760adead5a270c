/** What one connection may cost, however it is served. */
import { PAYLOAD_BYTES_MAX } from '@tidemark/protocol'

/** What a PUBLISH has beside its payload: topic, message ID, and room to spare. */
const PACKET_OVERHEAD_BYTES = 256

/** The largest remaining length of a packet, bytes. */
export const PACKET_BYTES_MAX = PAYLOAD_BYTES_MAX + PACKET_OVERHEAD_BYTES

/** Publishes and bytes of one connection that may wait for their PUBACK before its socket is no longer read. */
export const UNACKED_MAX = 256
export const UNACKED_BYTES_MAX = 1024 * 1024

/** A connection that has sent no CONNECT after this time is ended, ms. */
export const CONNECT_MS_MAX = 30_000

/** A connection that does not read what it is sent is ended after this time, ms. */
export const DRAIN_MS_MAX = 60_000
