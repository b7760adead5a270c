import { SOURCE_BACKOFF_MS_MAX, SOURCE_BACKOFF_MS_MIN } from '../limits.js'

/**
 * How a live source is doing, and when it may be asked again. Pure: monotonic time is passed in.
 * A source that fails once is asked at the next reading; from the second failure in a row on it is left alone for a while that
 * doubles, up to a minute, so that a dead device costs the others nothing.
 */

export type HealthState = 'starting' | 'ok' | 'degraded' | 'failing'

export interface SourceHealth {
  /** `degraded`: it gives some of its metrics. */
  readonly state: HealthState
  /** Monotonic ms; since when it is in this state. */
  readonly sinceMs: number
  /** Failures in a row. */
  readonly failures: number
  /** Failures since the agent started. */
  readonly failuresTotal: number
  /** The last that went wrong, also when it is well again; null where nothing did. */
  readonly error: string | null
  /** Monotonic ms; not to be asked before. */
  readonly retryMs: number
}

/** What came of asking once. */
export type Outcome =
  | { readonly kind: 'ok' }
  | { readonly kind: 'degraded'; readonly error: string }
  /** `answered`: it said itself that it has nothing to give; asking costs nothing, and it is asked at the next reading. */
  | { readonly kind: 'failed'; readonly error: string; readonly answered: boolean }

export function newHealth(nowMs: number): SourceHealth {
  return { state: 'starting', sinceMs: nowMs, failures: 0, failuresTotal: 0, error: null, retryMs: nowMs }
}

export function judgeHealth(health: SourceHealth, outcome: Outcome, nowMs: number): SourceHealth {
  const state = outcome.kind === 'failed' ? 'failing' : outcome.kind
  const failures = outcome.kind === 'failed' ? health.failures + 1 : 0
  return {
    state,
    sinceMs: state === health.state ? health.sinceMs : nowMs,
    failures,
    failuresTotal: health.failuresTotal + (outcome.kind === 'failed' ? 1 : 0),
    error: outcome.kind === 'ok' ? health.error : outcome.error,
    retryMs: outcome.kind === 'failed' && !outcome.answered ? nowMs + backoffMs(failures) : nowMs
  }
}

export function mayAsk(health: SourceHealth, nowMs: number): boolean {
  return nowMs >= health.retryMs
}

function backoffMs(failures: number): number {
  return failures < 2 ? 0 : Math.min(SOURCE_BACKOFF_MS_MAX, SOURCE_BACKOFF_MS_MIN * 2 ** (failures - 2))
}
