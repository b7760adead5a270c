import { setTimeout as delay } from 'node:timers/promises'
import { ReplayError } from './replay-error.js'

const POLL_MS = 50

/** Between two looks at whether anything moves. */
const LOOK_MS = 1000

/** Longer than an agent waits for a PUBACK before it tries another connection. */
const STALL_MS = 150_000

/** Resolves once `condition` holds. Rejects where that takes longer than `limitMs`. */
export async function until(condition: () => boolean, what: string, limitMs: number): Promise<void> {
  const limit = performance.now() + limitMs
  while (!condition()) {
    if (performance.now() > limit) throw new ReplayError(`${what} did not happen within ${limitMs / 1000} s`)
    await delay(POLL_MS)
  }
}

/** The outcome of `work`, but rejects where `progress` does not change for a long time meanwhile. */
export async function whileItMoves<T>(work: Promise<T>, what: string, progress: () => number): Promise<T> {
  let last = progress()
  let movedMs = performance.now()
  const done = new AbortController()
  const watch = async (): Promise<never> => {
    for (;;) {
      await delay(LOOK_MS, undefined, { signal: done.signal })
      const now = progress()
      if (now !== last) movedMs = performance.now()
      last = now
      if (performance.now() - movedMs > STALL_MS) throw new ReplayError(`${what} has made no progress for ${STALL_MS / 1000} s`)
    }
  }
  const watching = watch()
  watching.catch(() => undefined)
  try {
    return await Promise.race([work, watching])
  } finally {
    done.abort()
  }
}
