/**
 * Requeue frames: a quarantined message on its way to be judged again, with the rejected readings of it that are meant. Who makes
 * them has read from the archive, as of a committed entry, which rows of the quarantine are unresolved; so the processor need not
 * remember what it has rejected. It only refuses what was read before the last resolution could be seen.
 *
 * A frame's payload: length of the head (u32, little-endian), the head (JSON), the bytes of the message.
 */
import { EVENT_ID_LENGTH_MAX, NAME_LENGTH_MAX, PAYLOAD_BYTES_MAX, READINGS_PER_BATCH_MAX } from '@tidemark/protocol'
import { z } from 'zod'

const identities = z.array(z.union([z.int().positive(), z.string().max(EVENT_ID_LENGTH_MAX)])).max(READINGS_PER_BATCH_MAX)

const headSchema = z.object({
  /** One run of the command: its messages come once each, in the order of their offsets. */
  run: z.string().min(1).max(64),
  /** The last committed entry when the run read the archive. */
  asOfEntry: z.int().nonnegative(),
  /** The offset and the ingest time of the message, as its rows in the quarantine give them. */
  entry: z.int().positive(),
  frameIndex: z.int().nonnegative(),
  ingestMs: z.int(),
  kind: z.enum(['batch', 'json']),
  /** Rejected readings that the ledger counts as quarantined: seqs of a batch, opaque event IDs of JSON. */
  accounted: identities,
  /** Rejected readings that it does not count. */
  unaccounted: identities,
  /**
   * JSON: the profile under which those of its readings were counted that name none: what their device's default was when they were
   * quarantined. Left out where all name one, and by versions that took the default of now for it.
   */
  defaultProfile: z.string().max(NAME_LENGTH_MAX).nullable().optional(),
  /** Whether the message was rejected as a whole: then its readings are not known. */
  isWhole: z.boolean()
})

export type RequeueHead = Readonly<z.output<typeof headSchema>>

/** What a requeue frame says. */
export interface Requeue extends RequeueHead {
  /** The bytes of the message. */
  readonly payload: Uint8Array
}

const LENGTH_BYTES = 4

export function encodeRequeue({ payload, ...head }: Requeue): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(head))
  const bytes = new Uint8Array(LENGTH_BYTES + text.length + payload.length)
  new DataView(bytes.buffer).setUint32(0, text.length, true)
  bytes.set(text, LENGTH_BYTES)
  bytes.set(payload, LENGTH_BYTES + text.length)
  return bytes
}

/** `payload` of the result is a view into `bytes`. Throws where the log holds a requeue frame that this version cannot read. */
export function decodeRequeue(bytes: Uint8Array): Requeue {
  if (bytes.length < LENGTH_BYTES) throw new Error('the log holds a requeue frame without a head')
  const behindHead = LENGTH_BYTES + new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0, true)
  const payload = bytes.subarray(behindHead)
  if (behindHead > bytes.length || payload.length > PAYLOAD_BYTES_MAX) throw new Error('the log holds a requeue frame with a false length')
  return { ...headSchema.parse(JSON.parse(new TextDecoder().decode(bytes.subarray(LENGTH_BYTES, behindHead)))), payload }
}

/** The last requeue frame that was applied. */
export interface RequeueMark {
  /** The run that it was of; empty before the first. */
  readonly run: string
  /** The offset of its message. */
  readonly entry: number
  readonly frameIndex: number
  /** The entry that it lay in. */
  readonly appliedEntry: number
}

export const NO_REQUEUE: RequeueMark = { run: '', entry: 0, frameIndex: 0, appliedEntry: 0 }

/**
 * Whether what the frame says of the quarantine still holds. Frames of one run name different messages, in order; so one that is
 * not behind the last is a copy. Another run must have read the archive when all that was applied before was committed there.
 */
export function isCurrent(frame: RequeueHead, last: RequeueMark): boolean {
  if (frame.run !== last.run) return frame.asOfEntry >= last.appliedEntry
  return frame.entry > last.entry || (frame.entry === last.entry && frame.frameIndex > last.frameIndex)
}
