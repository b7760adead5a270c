import { setTimeout as delay } from 'node:timers/promises'

/** Waiting by the monotonic clock, for sources that sample or replay in time. */

/** setTimeout's longest delay is 2^31 - 1 ms. */
const DELAY_MS_MAX = 2_000_000_000

/** Waits until `performance.now()` reaches a time; false where `signal` aborts first. */
export async function waitUntil(monotonicMs: number, signal: AbortSignal): Promise<boolean> {
  for (;;) {
    if (signal.aborted) return false
    const leftMs = monotonicMs - performance.now()
    if (leftMs <= 0) return true
    try {
      await delay(Math.min(leftMs, DELAY_MS_MAX), undefined, { signal })
    } catch {
      return false
    }
  }
}

/** Yields at once and then every `intervalMs`, until `signal` aborts. Moments that pass while nobody listens are left out. */
export async function* moments(intervalMs: number, signal: AbortSignal): AsyncGenerator<void> {
  let dueMs = performance.now()
  while (await waitUntil(dueMs, signal)) {
    yield
    const behind = Math.floor((performance.now() - dueMs) / intervalMs)
    dueMs += intervalMs * (Math.max(0, behind) + 1)
  }
}
