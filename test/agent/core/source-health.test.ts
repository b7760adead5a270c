import { describe, expect, test } from 'vitest'
import { judgeHealth, mayAsk, newHealth, type Outcome, type SourceHealth } from '../../../agent/src/core/source-health.js'

const OK: Outcome = { kind: 'ok' }
const HANGS: Outcome = { kind: 'failed', error: 'no answer', answered: false }
const EMPTY: Outcome = { kind: 'failed', error: 'nothing new', answered: true }
const PARTLY: Outcome = { kind: 'degraded', error: 'inlet: unplugged' }

/** Plays what came of asking at each time, in ms. */
const play = (...events: [number, Outcome][]): SourceHealth =>
  events.reduce((health, [nowMs, outcome]) => judgeHealth(health, outcome, nowMs), newHealth(0))

describe('the health of a source', () => {
  test('begins with neither success nor failure, and may be asked at once', () => {
    expect(newHealth(5)).toEqual({ state: 'starting', sinceMs: 5, failures: 0, failuresTotal: 0, error: null, retryMs: 5 })
    expect(mayAsk(newHealth(5), 5)).toBe(true)
  })

  test('says since when it is as it is, how often it failed, and what went wrong last', () => {
    expect(play([10, OK], [20, HANGS], [30, HANGS], [2000, HANGS])).toMatchObject({
      state: 'failing',
      sinceMs: 20,
      failures: 3,
      error: 'no answer'
    })
    expect(play([10, HANGS], [20, OK], [30, OK])).toMatchObject({
      state: 'ok',
      sinceMs: 20,
      failures: 0,
      failuresTotal: 1,
      error: 'no answer'
    })
    expect(play([10, OK], [20, PARTLY])).toMatchObject({ state: 'degraded', sinceMs: 20, failures: 0, error: 'inlet: unplugged' })
  })

  //  failure   1    2    3    4   …   8   9      the first is asked again at the next reading,
  //  pause s   0    1    2    4      60  60      then the pause doubles, up to a minute
  test('lets a source that keeps failing rest longer and longer, up to a minute', () => {
    let health = newHealth(0)
    const pauses = Array.from({ length: 9 }, () => {
      health = judgeHealth(health, HANGS, 0)
      return health.retryMs / 1000
    })
    expect(pauses).toEqual([0, 1, 2, 4, 8, 16, 32, 60, 60])
    expect(mayAsk(health, 59_999)).toBe(false)
    expect(mayAsk(health, 60_000)).toBe(true)
    expect(judgeHealth(health, OK, 60_000).retryMs).toBe(60_000)
  })

  test('does not rest a source that answers that it has nothing', () => {
    expect(play([10, EMPTY], [20, EMPTY], [30, EMPTY])).toMatchObject({ state: 'failing', failures: 3, retryMs: 30 })
  })
})
