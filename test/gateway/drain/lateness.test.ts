import { expect, test } from 'vitest'
import { Lateness } from '../../../gateway/src/drain/lateness.js'
import { emptyStats, observePuback } from '../../../gateway/src/front/stats.js'

test('PUBACKs are late where more than one in a hundred takes above half a second, of those since the last time', () => {
  const [stats, lateness] = [emptyStats(), new Lateness()]
  const judge = (...milliseconds: readonly number[]) => {
    for (const each of milliseconds) observePuback(stats, each)
    return lateness.judge(stats.pubacks)
  }
  const quick = (count: number) => new Array<number>(count).fill(490)
  expect(judge()).toBe(false)
  expect(judge(...quick(200), 600)).toBe(false)
  expect(judge(...quick(100), 510, 9000)).toBe(true)
  expect(judge(...quick(3))).toBe(false)
  expect(judge()).toBe(false)
  expect(judge(700)).toBe(true)
})
