import { setTimeout as delay } from 'node:timers/promises'
import { monotonicMs } from '../monotonic.js'

/** Waiting by the monotonic clock, for sources that sample or replay in time. */

/** setTimeout's longest delay is 2^31 - 1 ms. */
const DELAY_MS_MAX = 2_000_000_000

/** Waits until `monotonicMs()` reaches a time; false where `signal` aborts first. */
export async function waitUntil(dueMs: number, signal: AbortSignal): Promise<boolean> {
  for (;;) {
    if (signal.aborted) return false
    const leftMs = dueMs - monotonicMs()
    if (leftMs <= 0) return true
    try {
      await delay(Math.min(leftMs, DELAY_MS_MAX), undefined, { signal })
    } catch {
      return false
    }
  }
}
