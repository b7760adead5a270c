import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Wheel } from '../../simulator/src/wheel.js'

test('everything is woken exactly once, never early, and at most a slot late', () => {
  const step = fc.record({
    passMs: fc.integer({ min: 0, max: 400 }),
    delaysMs: fc.array(fc.integer({ min: -50, max: 3000 }), { maxLength: 4 })
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 10_000 }), (steps, startMs) => {
      const wheel = new Wheel(startMs, 10, 16) // a round is 160 ms: most delays take several
      const due = new Map<number, number>()
      let [nowMs, id] = [startMs, 0]
      const advance = (passMs: number) => {
        nowMs += passMs
        wheel.advance(nowMs, woken => {
          expect(due.get(woken)).toBeLessThanOrEqual(nowMs)
          due.delete(woken)
        })
        for (const atMs of due.values()) expect(atMs).toBeGreaterThan(nowMs - 20)
      }
      for (const { passMs, delaysMs } of steps) {
        for (const delayMs of delaysMs) {
          due.set(id, nowMs + delayMs)
          wheel.add(id++, nowMs + delayMs)
        }
        advance(passMs + 20)
      }
      advance(4000)
      expect(due.size).toBe(0)
    })
  )
})
