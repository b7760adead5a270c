import { afterEach, expect, test, vi } from 'vitest'
import { Pace } from '../../gateway/src/pace.js'

afterEach(() => {
  vi.restoreAllMocks()
})

test('work comes round as often as wanted, or when it has taken a hundredth of the time', () => {
  let nowMs = 1000
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
  const [quick, slow] = [new Pace(250), new Pace(250)]
  expect([quick.isDue, slow.isDue]).toEqual([true, true])
  quick.run(() => {})
  slow.run(() => {
    nowMs += 20
  })
  expect([quick.isDue, slow.isDue]).toEqual([false, false])
  nowMs = 1250
  expect([quick.isDue, slow.isDue]).toEqual([true, false])
  nowMs = 2999
  expect(slow.isDue).toBe(false)
  nowMs = 3000
  expect(slow.isDue).toBe(true)
})
