import { CLOCK_JITTER_MS, CLOCK_SLEW, CLOCK_STEP_BACK_MS_MAX } from '../limits.js'

/**
 * Event times of live sources: monotonic clock + offset. Pure: both clocks are passed in.
 * The offset follows the wall clock when that is set, but event time never runs back within an epoch: when the wall clock is set
 * back a little, event time goes on by the monotonic clock, slower, until the wall clock has caught up (a slew). A larger step
 * back ends the epoch.
 */

export interface EventClock {
  /** Event time of the last reading, whole Unix ms. */
  readonly eventTimeMs: number
  /** Monotonic time of the last reading, in ms; null where it was taken in another life of the agent. */
  readonly monotonicMs: number | null
  /** Wall clock - monotonic clock, in ms, as it is followed; null where it is not known any more. */
  readonly offsetMs: number | null
  readonly isSlewing: boolean
}

/** What became of the offset. */
export interface ClockChange {
  readonly kind: 'step' | 'slew' | 'caught-up'
  /** How far the wall clock went ahead (positive) or back, in ms. */
  readonly byMs: number
}

export interface EventTick {
  readonly clock: EventClock
  /** Unix ms, whole. */
  readonly eventTimeMs: number
  /** The clock was set so far back that a new epoch must begin with this reading. */
  readonly newEpoch: boolean
  /** Worth a line in the log; null while all goes on as it was. */
  readonly change: ClockChange | null
}

/** The clock of an epoch whose last reading was given in another life of the agent. */
export function resumeClock(eventTimeMs: number): EventClock {
  return { eventTimeMs, monotonicMs: null, offsetMs: null, isSlewing: false }
}

/** The event time of a reading that is taken now. `clock` is null before the first reading of an epoch. */
export function tick(clock: EventClock | null, monotonicMs: number, wallMs: number): EventTick {
  const offset = wallMs - monotonicMs
  const byMs = clock?.offsetMs == null ? 0 : offset - clock.offsetMs
  const isJitter = clock?.offsetMs != null && Math.abs(byMs) <= CLOCK_JITTER_MS
  const offsetMs = isJitter ? clock.offsetMs : offset
  const target = Math.floor(monotonicMs + offsetMs)
  const at = (eventTimeMs: number, isSlewing: boolean, newEpoch: boolean, change: ClockChange | null): EventTick => {
    return { clock: { eventTimeMs, monotonicMs, offsetMs, isSlewing }, eventTimeMs, newEpoch, change }
  }
  const step: ClockChange | null = isJitter || byMs === 0 ? null : { kind: 'step', byMs }
  if (clock === null) return at(target, false, false, null)
  if (clock.eventTimeMs - target > CLOCK_STEP_BACK_MS_MAX)
    return at(target, false, true, { kind: 'step', byMs: target - clock.eventTimeMs })
  if (target >= clock.eventTimeMs) return at(target, false, false, clock.isSlewing ? { kind: 'caught-up', byMs } : step)
  const elapsedMs = clock.monotonicMs === null ? 0 : Math.max(0, monotonicMs - clock.monotonicMs)
  const slower = Math.floor(clock.eventTimeMs + Math.min(elapsedMs, clock.eventTimeMs - target) * CLOCK_SLEW)
  const change: ClockChange | null = clock.isSlewing && step === null ? null : { kind: 'slew', byMs: target - clock.eventTimeMs }
  return at(slower, true, false, change)
}
