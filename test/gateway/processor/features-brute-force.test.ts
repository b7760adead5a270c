/** The features of spoiled streams, each row at its latest revision, against a computation over all readings. */
import { type Profile, ROTATING_MACHINE, WATER_LOOP } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RepairMark } from '../../../gateway/src/processor/flush.js'
import { type Delivery, deliveries, play, type StreamOptions } from '../../kit/arbitrary-stream.js'
import { EVERYTHING, expectFeatures, expectRevisionsInOrder } from '../../kit/expect-features.js'
import type { Row } from '../../kit/flush-rows.js'
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

/** The rows that were made behind the boundary that brought a mark for them. (Rows of small hours may only be written behind it.) */
function madeAgain(t: Timeline): Row[] {
  const marks: (RepairMark & { boundaryMs: number })[] = []
  for (const { lastEntry, repairs } of t.flushes)
    for (const mark of repairs) marks.push({ ...mark, boundaryMs: t.entries[lastEntry - 1].ingestMs })
  return t
    .features()
    .filter(({ as_of, known_at }) =>
      marks.some(mark => mark.fromMs < (as_of as number) && (as_of as number) <= mark.throughMs && (known_at as number) > mark.boundaryMs)
    )
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

  test('are those of all readings, or exactly they are marked for repair, however late readings come', () => {
    fc.assert(
      fc.property(deliveries(profile, BEYOND), all => {
        const t = played(profile, all, 60_000)
        const marks = t.flushes.flatMap(({ repairs }) => repairs)
        const isMarked = (asOfMs: number) => marks.some(({ fromMs, throughMs }) => fromMs < asOfMs && asOfMs <= throughMs)
        expectFeatures(profile, t.readings(), t.latestFeatures(), isMarked)
        expectRevisionsInOrder(t.features())
        expect(madeAgain(t), 'a row that is marked is never made by the processor again').toEqual([])
      }),
      { numRuns: 150 }
    )
  })
})
