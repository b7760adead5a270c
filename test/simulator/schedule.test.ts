import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { RunPlan } from '../../simulator/src/device.js'
import { deviceOf, trueTimeMs } from '../../simulator/src/device.js'
import { NO_FAULTS } from '../../simulator/src/faults.js'
import { dueMs, highestSeq } from '../../simulator/src/schedule.js'

const planOf = (devices: number, intervalMs: number): RunPlan => ({
  seed: 1,
  firstDevice: 0,
  devices,
  startMs: 1e12,
  intervalMs,
  rates: NO_FAULTS
})

//  device 0   |1----------|2-----
//  device 1   ...|1----------|2--        due in the order 0, 1, 2, 0, 1, 2
//  device 2   ......|1----------|2
test('readings fall due in the order of seqs, then devices, each at its event time', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 5000 }), (devices, intervalMs) => {
      const plan = planOf(devices, intervalMs)
      let previous = 0
      for (let k = 0; k < devices * 3; k++) {
        const seq = 1 + Math.floor(k / devices)
        expect(dueMs(plan, k)).toBe(trueTimeMs(plan, deviceOf(plan, k % devices), seq) - plan.startMs)
        expect(dueMs(plan, k)).toBeGreaterThanOrEqual(previous)
        previous = dueMs(plan, k)
      }
    }),
    { numRuns: 50 }
  )
})

test('the highest seqs of all devices add up to what has been sampled', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 0, max: 500 }), (devices, sampled) => {
      const seqs = Array.from({ length: devices }, (_, i) => highestSeq(planOf(devices, 1000), sampled, i))
      expect(seqs.reduce((sum, seq) => sum + seq, 0)).toBe(sampled)
      expect(Math.max(...seqs) - Math.min(...seqs)).toBeLessThanOrEqual(1)
      expect(seqs).toEqual([...seqs].sort((a, b) => b - a))
    })
  )
})
