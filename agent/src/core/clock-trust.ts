import type { ClockQuality } from '@tidemark/protocol'
import { CLOCK_AGREES_MS, CLOCK_EARLIEST_MS } from '../limits.js'

/**
 * Whether this machine's clock is to be believed. Pure: what is known is passed in.
 *
 * A machine without a battery for its clock boots in the past, often in a plausible one. So a year that may be right is not enough
 * where the kernel itself says that nobody has set the clock yet: then readings are held until the kernel says otherwise, or the
 * gateway tells its time. Once an offset was believed, readings are never held again in this boot.
 */

export interface ClockEvidence {
  /** Unix ms. */
  readonly wallMs: number
  readonly monotonicMs: number
  /** What the kernel says of its clock; unknown where it cannot be asked. */
  readonly kernel: 'synced' | 'unsynced' | 'unknown'
  /** `silent`: connected, but it does not tell its time. */
  readonly gateway: GatewayTime | 'silent' | 'unknown'
  /** Wall - monotonic, in ms, as it was last believed in this boot; null where it never was. */
  readonly believedOffsetMs: number | null
}

export interface GatewayTime {
  /** The gateway's time - our monotonic time, in ms. */
  readonly offsetMs: number
  /** It is that exact: half the round trip, in ms. */
  readonly toleranceMs: number
}

/** What event times are made of, and why; null: hold the readings. */
export interface ClockVerdict {
  /** Event time - monotonic time, in ms. */
  readonly offsetMs: number
  readonly quality: ClockQuality
  readonly because: 'kernel-synced' | 'gateway-agrees' | 'gateway-time' | 'wall-clock' | 'believed-before'
}

export function judgeClock({ wallMs, monotonicMs, kernel, gateway, believedOffsetMs }: ClockEvidence): ClockVerdict | null {
  const wallOffset = wallMs - monotonicMs
  const isPlausible = wallMs >= CLOCK_EARLIEST_MS
  if (isPlausible && kernel === 'synced') return { offsetMs: wallOffset, quality: 'synced', because: 'kernel-synced' }
  if (typeof gateway === 'object' && monotonicMs + gateway.offsetMs >= CLOCK_EARLIEST_MS) {
    return Math.abs(wallOffset - gateway.offsetMs) <= gateway.toleranceMs + CLOCK_AGREES_MS
      ? { offsetMs: wallOffset, quality: 'synced', because: 'gateway-agrees' }
      : { offsetMs: gateway.offsetMs, quality: 'estimated', because: 'gateway-time' }
  }
  const isBelievable = kernel === 'unknown' || gateway === 'silent' || believedOffsetMs !== null
  if (isPlausible && isBelievable) return { offsetMs: wallOffset, quality: 'estimated', because: 'wall-clock' }
  return believedOffsetMs === null ? null : { offsetMs: believedOffsetMs, quality: 'estimated', because: 'believed-before' }
}
