/** The features of spoiled streams, each row at its latest revision, against a computation over all readings. */
import { type Profile, ROTATING_MACHINE, WATER_LOOP } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Delivery, deliveries, play, type StreamOptions } from '../../kit/arbitrary-stream.js'
import { EVERYTHING, expectFeatures, expectRevisionsInOrder } from '../../kit/expect-features.js'
import { at, type Timeline, timeline } from '../../kit/timeline.js'

const HOUR_MS = 3_600_000

/** Nothing but event time itself is out of order by more than profiles correct. */
const WITHIN: StreamOptions = { stepBackMsMax: 14 * 60_000, loses: false }
const BEYOND: StreamOptions = { stepBackMsMax: 30 * HOUR_MS, loses: true }

function played(profile: Profile, all: readonly Delivery[], gapTimeoutMs: number): Timeline {
  const t = timeline({ gapTimeoutMs }, [profile])
  t.leap(at('48:00') - t.nowMs)
  play(t, profile, all)
  const readings = all.flatMap(delivery => delivery.readings.map(({ seq }) => seq))
  expect(new Set(t.readings().map(row => row.seq))).toEqual(new Set(readings))
  expect(t.ledger()).toMatchObject({ archived: new Set(readings).size, buffered: 0, missing: 0 })
  return t
}

describe.each([ROTATING_MACHINE, WATER_LOOP, EVERYTHING])('the features of $name', profile => {
  test('are those of all readings, where none comes later than corrections are made', () => {
    fc.assert(
      fc.property(deliveries(profile, WITHIN), all => {
        const t = played(profile, all, 30 * 24 * HOUR_MS)
        expectFeatures(profile, t.readings(), t.latestFeatures())
        expectRevisionsInOrder(t.features())
        expect(t.flushes.flatMap(({ repairs }) => repairs)).toEqual([])
        expect(t.latestFeatures().some(row => row.provisional)).toBe(false)
      }),
      { numRuns: 150 }
    )
  })

  test('are those of all readings, or their hours are marked for repair, however late readings come', () => {
    fc.assert(
      fc.property(deliveries(profile, BEYOND), all => {
        const t = played(profile, all, 60_000)
        const marked = new Set(t.flushes.flatMap(({ repairs }) => repairs.map(({ hourMs }) => hourMs)))
        expectFeatures(profile, t.readings(), t.latestFeatures(), asOfMs => marked.has(Math.floor(asOfMs / HOUR_MS) * HOUR_MS))
        expectRevisionsInOrder(t.features())
      }),
      { numRuns: 150 }
    )
  })
})
