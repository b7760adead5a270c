/** How long to wait before the next connection. Pure: randomness is passed in. */

export interface BackoffRange {
  /** Cap of the first delay, in ms. */
  readonly minMs: number
  /** Cap of every delay, in ms. */
  readonly maxMs: number
}

/**
 * A delay in ms with full jitter: anywhere in [0, cap), where the cap doubles from `minMs` to `maxMs`.
 * So a fleet that lost its gateway at one moment does not come back at one moment.
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 * @param attempt 0 for the first try after a success
 * @param random in [0, 1)
 */
export function fullJitterMs(attempt: number, range: BackoffRange, random: number): number {
  return random * Math.min(range.maxMs, range.minMs * 2 ** Math.min(attempt, 52))
}
