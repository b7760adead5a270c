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

/** Due time of the k-th reading of the fleet, in ms after the run's start. */
export function dueMs(plan: RunPlan, k: number): number {
  const { devices, intervalMs } = plan
  return Math.floor(((k % devices) * intervalMs) / devices) + Math.floor(k / devices) * intervalMs
}

/** The highest seq of the i-th device once the first `sampled` readings of the fleet have been taken; 0: none yet. */
export function highestSeq(plan: RunPlan, sampled: number, i: number): number {
  return Math.max(0, Math.ceil((sampled - i) / plan.devices))
}
