import { CLOCK_EARLIEST_MS } from '../limits.js'

/**
 * Which event times readings get that were held because the clock was not set. Pure.
 * Readings of this boot: monotonic time + offset, exactly. Of an earlier boot, whose monotonic clock is gone: what the wall clock
 * said then, if that lies between the last event time before and the boot after it; else so that the last of them lies at the start
 * of that boot. These are estimates, and travel as such.
 */

/** Readings that were held in one boot. */
export interface HeldSpan {
  readonly firstPosition: number
  readonly bootId: string
  /** What the wall clock - the monotonic clock was when they began, in ms; not to be trusted. */
  readonly wallOffsetMs: number
  /** Of the first and the last of them. */
  readonly firstMonotonicMs: number
  readonly lastMonotonicMs: number
}

export interface Rebased {
  readonly firstPosition: number
  /** Event time = monotonic time + this, whole ms. */
  readonly offsetMs: number
  /** But not before this, so that event time does not run back. */
  readonly floorMs: number
  readonly isExact: boolean
}

/** @param lastEventTimeMs of the epoch, before the held readings; null where there is none */
export function rebaseHeld(spans: readonly HeldSpan[], bootId: string, offsetMs: number, lastEventTimeMs: number | null): Rebased[] {
  const offsets = new Map<HeldSpan, number>()
  let untilMs = Math.floor(offsetMs) // this boot began when its monotonic clock stood at 0
  for (const span of [...spans].reverse()) {
    const offset = span.bootId === bootId ? Math.floor(offsetMs) : earlierOffset(span, untilMs, lastEventTimeMs)
    offsets.set(span, offset)
    untilMs = Math.min(untilMs, offset)
  }
  let floorMs = lastEventTimeMs ?? 0
  return spans.map(span => {
    const rebased = { firstPosition: span.firstPosition, offsetMs: offsets.get(span)!, floorMs, isExact: span.bootId === bootId }
    floorMs = Math.max(floorMs, span.lastMonotonicMs + rebased.offsetMs)
    return rebased
  })
}

function earlierOffset(
  { wallOffsetMs, firstMonotonicMs, lastMonotonicMs }: HeldSpan,
  untilMs: number,
  lastEventTimeMs: number | null
): number {
  const wallOffset = Math.floor(wallOffsetMs)
  const isPossible =
    firstMonotonicMs + wallOffset >= Math.max(CLOCK_EARLIEST_MS, lastEventTimeMs ?? 0) && lastMonotonicMs + wallOffset <= untilMs
  return isPossible ? wallOffset : untilMs - lastMonotonicMs
}
