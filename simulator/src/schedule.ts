/**
 * When each reading of a fleet is due. Phases spread the devices evenly over the interval, in the order of their indices, so the readings
 * of all devices fall due in one fixed order: reading k is that of device k mod N, seq k / N + 1. One cursor serves them all;
 * no device needs a timer.
 *
 *   device 0   |1------------|2------------|3--          k = 0, 3, 6
 *   device 1   .....|1------------|2------------         k = 1, 4
 *   device 2   .........|1------------|2--------         k = 2, 5
 */
import type { RunPlan } from './device.js'

/** What one of several processes plays of a run: every `of`-th device, from the `index`-th on; so each is as busy at any time. */
export interface Share {
  readonly index: number
  readonly of: number
}

export const WHOLE: Share = { index: 0, of: 1 }

/** How many devices a share has. */
export function devicesOf(plan: RunPlan, { index, of }: Share): number {
  return Math.max(0, Math.ceil((plan.devices - index) / of))
}

/** Which device of the run the j-th of a share is. */
export function placeOf(share: Share, j: number): number {
  return share.index + j * share.of
}

/** Due time of the k-th reading of a share, in ms after the run's start. */
export function dueMs(plan: RunPlan, k: number, share: Share = WHOLE): number {
  const mine = devicesOf(plan, share)
  return Math.floor((placeOf(share, k % mine) * plan.intervalMs) / plan.devices) + Math.floor(k / mine) * plan.intervalMs
}

/** How many readings the j-th device of a share has taken once the share has taken its first `sampled`, those before the run apart. */
export function highestSeq(plan: RunPlan, sampled: number, j: number, share: Share = WHOLE): number {
  return Math.max(0, Math.ceil((sampled - j) / devicesOf(plan, share)))
}
