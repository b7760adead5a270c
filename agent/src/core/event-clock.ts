import { CLOCK_SLEW, CLOCK_STEP_BACK_MS_MAX } from '../limits.js'

/**
 * Event times of live sources. Pure: both clocks are passed in.
 * Event time follows the wall clock, but never runs back within an epoch: when the wall clock is set back a little, event time
 * goes on by the monotonic clock, slower, until the wall clock has caught up. A larger step back ends the epoch.
 */

export interface EventClock {
  /** Event time of the last reading, Unix ms. */
  readonly eventTimeMs: number
  /** Monotonic time of the last reading, in ms; null where it was taken by another process. */
  readonly monotonicMs: number | null
}

export interface EventTick {
  readonly clock: EventClock
  /** Unix ms, whole. */
  readonly eventTimeMs: number
  /** The clock was set so far back that a new epoch must begin with this reading. */
  readonly newEpoch: boolean
}

/** The event time of a reading that is taken now. `clock` is null before the first reading of an epoch. */
export function tick(clock: EventClock | null, monotonicMs: number, wallMs: number): EventTick {
  const wall = Math.floor(wallMs)
  const at = (eventTimeMs: number, newEpoch: boolean) => ({ clock: { eventTimeMs, monotonicMs }, eventTimeMs, newEpoch })
  if (clock === null) return at(wall, false)
  if (clock.eventTimeMs - wall > CLOCK_STEP_BACK_MS_MAX) return at(wall, true)
  const elapsedMs = clock.monotonicMs === null ? 0 : Math.max(0, monotonicMs - clock.monotonicMs)
  return at(
    Math.max(wall, Math.floor(clock.eventTimeMs + Math.min(elapsedMs, clock.eventTimeMs - wall) * CLOCK_SLEW), clock.eventTimeMs),
    false
  )
}
