/**
 * When a device of a history is out of reach: it goes on measuring, keeps its readings, and sends them in order once it is back. A pure
 * function of (seed, device, day of event time) and the rate.
 */
import { OUTAGE_MS_MAX, OUTAGE_MS_MIN } from './limits.js'
import { mix, STREAM, unit } from './prng.js'

const DAY_MS = 24 * 3_600_000

const lanes = new Uint32Array(4)

/** Whether the device is out of reach at a time. `rate`: the share of days, in [0, 1], on which an outage begins. */
export function isOut(seed: number, device: number, rate: number, timeMs: number): boolean {
  if (rate === 0) return false
  const today = Math.floor(timeMs / DAY_MS)
  for (let day = today - Math.ceil(OUTAGE_MS_MAX / DAY_MS); day <= today; day++) {
    mix(lanes, seed, device, day, STREAM.outage)
    if (unit(lanes[0]) >= rate) continue
    const fromMs = day * DAY_MS + unit(lanes[1]) * DAY_MS
    if (timeMs >= fromMs && timeMs < fromMs + OUTAGE_MS_MIN + unit(lanes[2]) * (OUTAGE_MS_MAX - OUTAGE_MS_MIN)) return true
  }
  return false
}
