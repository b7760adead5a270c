import { expect, test } from 'vitest'
import { Pace } from '../../gateway/src/pace.js'

function busyFor(ms: number): void {
  for (const endMs = performance.now() + ms; performance.now() < endMs; );
}

test('work comes round as often as wanted, or when it has taken a hundredth of the time', async () => {
  const [quick, slow] = [new Pace(20), new Pace(20)]
  expect([quick.isDue, slow.isDue]).toEqual([true, true])
  quick.run(() => {})
  slow.run(() => busyFor(5))
  expect([quick.isDue, slow.isDue]).toEqual([false, false])
  busyFor(60)
  expect([quick.isDue, slow.isDue]).toEqual([true, false])
  busyFor(500)
  expect(slow.isDue).toBe(true)
})
