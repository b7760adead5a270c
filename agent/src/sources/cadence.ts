/** When live sources are read: every so often by the monotonic clock, so that nothing drifts, or as a cron expression says. */
import { ConfigError } from '../config-error.js'
import { monotonicMs } from '../monotonic.js'
import { waitUntil } from './pace.js'

export interface Cadence {
  /** Two that are alike can follow each other without a break. */
  readonly key: string
  /** Monotonic ms of the next moment; infinity where only the machine's clock can tell. */
  readonly dueMs: number
  /** Resolves true at the next moment, false where `signal` aborts before it. Moments that pass while nobody waits are left out. */
  next(signal: AbortSignal): Promise<boolean>
}

/** node-cron would print on the console. What it complains of, a moment that passed unnoticed, is no fault: such are left out. */
const QUIET = { info: () => {}, warn: () => {}, error: () => {}, debug: () => {} }

/** The first moment is now. */
export function everyInterval(intervalMs: number): Cadence {
  let dueMs = monotonicMs()
  return {
    key: `interval:${intervalMs}`,
    get dueMs() {
      return dueMs
    },
    async next(signal) {
      const isDue = await waitUntil(dueMs, signal)
      if (isDue) dueMs += intervalMs * (Math.max(0, Math.floor((monotonicMs() - dueMs) / intervalMs)) + 1)
      return isDue
    }
  }
}

/** The moments of a cron expression, in UTC by the machine's clock. Throws a `ConfigError` where it is none. */
export async function onSchedule(expression: string): Promise<Cadence> {
  const { schedule, validateDetailed } = await import('node-cron')
  const { valid, errors } = validateDetailed(expression)
  if (!valid) throw new ConfigError(`schedule: "${expression}" is no cron expression (${errors[0]?.message}); write one like "*/5 * * * *"`)
  return {
    key: `schedule:${expression}`,
    dueMs: Number.POSITIVE_INFINITY,
    next: signal =>
      new Promise(resolve => {
        if (signal.aborted) return resolve(false)
        const finish = (isDue: boolean) => {
          signal.removeEventListener('abort', onAbort)
          void task.destroy()
          resolve(isDue)
        }
        const onAbort = () => finish(false)
        const task = schedule(expression, () => finish(true), { timezone: 'UTC', logger: QUIET })
        signal.addEventListener('abort', onAbort, { once: true })
      })
  }
}
