import { afterEach, expect, test, vi } from 'vitest'
import { Pace } from '../../gateway/src/pace.js'

let nowMs = 0

vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
afterEach(() => {
  nowMs = 0
})

/** How long it is from the beginning of each run to when the next is due, in ms, if they take so long. */
function pausesMs(pace: Pace, tookMs: number[]): number[] {
  return tookMs.map(took => {
    expect(pace.isDue).toBe(true)
    const beginMs = nowMs
    pace.run(() => {
      nowMs += took
    })
    while (!pace.isDue) nowMs++
    return nowMs - beginMs
  })
}

test('work comes round as often as wanted, or when it has taken a hundredth of the time', () => {
  expect(pausesMs(new Pace(250), [0, 1, 2, 1])).toEqual([250, 250, 250, 250])
  expect(pausesMs(new Pace(250), [20, 20, 20, 20, 30]).slice(2)).toEqual([2000, 2000, 2000])
})

test('what was interrupted once or twice comes round as if it had not been', () => {
  expect(pausesMs(new Pace(250), [1, 150, 40, 2, 200])).toEqual([250, 250, 250, 250, 250])
})
