import { expect, test } from 'vitest'
import { Gathering } from '../../../gateway/src/front/gathering.js'

/** A clock that stands still but for who sleeps and who says so. */
class StillClock {
  nowMs = 1000
  readonly slept: number[] = []
  readonly now = () => this.nowMs
  readonly sleep = (ms: number) => {
    this.slept.push(ms)
    this.nowMs += ms
  }
}

test('a front is busy from half a message a ms on, as judged over 100 ms', () => {
  const clock = new StillClock()
  const gathering = new Gathering(clock)
  clock.nowMs += 99
  gathering.note(1000)
  expect(gathering.isBusy).toBe(false) // too early to tell
  clock.nowMs += 1
  gathering.note(0)
  expect(gathering.isBusy).toBe(true)
  clock.nowMs += 100
  gathering.note(50)
  expect(gathering.isBusy).toBe(true)
  clock.nowMs += 100
  gathering.note(49)
  expect(gathering.isBusy).toBe(false)
})

test('a turn lasts 6 ms: what it has worked is not slept', () => {
  const clock = new StillClock()
  const gathering = new Gathering(clock)
  clock.nowMs += 2
  gathering.endTurn()
  expect(clock.slept).toEqual([4])
  clock.nowMs += 6
  gathering.endTurn()
  expect(clock.slept).toEqual([4])
  gathering.endTurn()
  expect(clock.slept).toEqual([4, 6])
})

test('the system clock sleeps as long as it is told', () => {
  const gathering = new Gathering()
  gathering.endTurn()
  const beganMs = performance.now()
  for (let turn = 0; turn < 5; turn++) gathering.endTurn()
  expect(performance.now() - beganMs).toBeGreaterThanOrEqual(29)
})
