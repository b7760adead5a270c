import { INTEGER_MAX } from './limits.js'

/**
 * The identity of a reading from an agent: the epoch is one life of a device's buffer, seq counts 1, 2, 3, … within it.
 * Neither is ever used twice.
 */
export interface EventId {
  readonly deviceId: string
  /** Random integer in [1, 2^53-1]. */
  readonly epoch: number
  /** Integer in [1, 2^53-1]. */
  readonly seq: number
}

/** An epoch from 7 random bytes of the caller: 53 bits, never 0. This folder draws nothing at random itself. */
export function epochFromBytes(bytes: Uint8Array): number {
  if (bytes.length < 7) throw new RangeError('an epoch needs 7 random bytes')
  let epoch = bytes[0] & 0x1f
  for (let i = 1; i < 7; i++) epoch = epoch * 256 + bytes[i]
  return epoch === 0 ? 1 : epoch
}

/** Whether `value` may be a seq or an epoch. */
export function isEventInteger(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= INTEGER_MAX
}
