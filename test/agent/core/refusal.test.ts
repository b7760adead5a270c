import { describe, expect, test } from 'vitest'
import { RefusalTracker } from '../../../agent/src/core/refusal.js'

/** One connection in suspicion: the probe is acked, the suspect is sent, the connection closes. */
function refuse(tracker: RefusalTracker, id: number, count: number) {
  expect(tracker.admission()).toEqual({ mode: 'probe' })
  tracker.probeAcked()
  expect(tracker.admission()).toEqual({ mode: 'only', id })
  return tracker.lost({ id, count })
}

function suspecting(id: number, count: number): RefusalTracker {
  const tracker = new RefusalTracker()
  tracker.lost({ id, count })
  tracker.lost({ id, count })
  return tracker
}

describe('a batch that the gateway may be refusing', () => {
  test('is suspect after two connections in a row that ended with it unacked', () => {
    const tracker = new RefusalTracker()
    expect(tracker.lost({ id: 7, count: 500 })).toBe('send-again')
    expect(tracker.admission()).toEqual({ mode: 'all' })
    expect(tracker.lost({ id: 7, count: 500 })).toBe('send-again')
    expect(tracker.admission()).toEqual({ mode: 'probe' })
  })

  test('is not suspect when another one was acked between', () => {
    const tracker = new RefusalTracker()
    tracker.lost({ id: 7, count: 500 })
    tracker.acked(6)
    tracker.lost({ id: 7, count: 500 })
    expect(tracker.admission()).toEqual({ mode: 'all' })
  })

  test('is halved when it was refused three times after a probe that was acked', () => {
    const tracker = suspecting(7, 500)
    expect([1, 2, 3].map(() => refuse(tracker, 7, 500))).toEqual(['send-again', 'send-again', 'halve'])
  })

  test('is shed when it has a single reading and was refused ten times', () => {
    const tracker = suspecting(7, 1)
    const verdicts = Array.from({ length: 10 }, () => refuse(tracker, 7, 1))
    expect(verdicts).toEqual([...Array(9).fill('send-again'), 'shed'])
  })

  test('costs nothing, however often a gateway goes away that acks no probe', () => {
    const tracker = suspecting(7, 1)
    for (let i = 0; i < 1000; i++) {
      expect(tracker.admission()).toEqual({ mode: 'probe' })
      expect(tracker.lost({ id: 7, count: 1 })).toBe('send-again')
      expect(tracker.lost(null)).toBe('send-again')
    }
  })

  test('is cleared of suspicion by its PUBACK', () => {
    const tracker = suspecting(7, 500)
    refuse(tracker, 7, 500)
    tracker.probeAcked()
    tracker.acked(7)
    expect(tracker.admission()).toEqual({ mode: 'all' })
  })
})
