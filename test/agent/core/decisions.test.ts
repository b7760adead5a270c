import { columnsOf, encodeBatch, PAYLOAD_BYTES_MAX, profileSchema } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fullJitterMs } from '../../../agent/src/core/backoff.js'
import { BatchSizer, readingsThatFit } from '../../../agent/src/core/batch-size.js'
import { epochIndexAt, seqRanges } from '../../../agent/src/core/epochs.js'
import { type EventClock, tick } from '../../../agent/src/core/event-clock.js'

describe('backoff', () => {
  const range = { minMs: 500, maxMs: 300_000 }

  test('doubles the cap of the delay from 500 ms to 5 min', () => {
    const caps = [0, 1, 2, 9, 10, 1000].map(attempt => fullJitterMs(attempt, range, 1))
    expect(caps).toEqual([500, 1000, 2000, 256_000, 300_000, 300_000])
  })

  test('spreads over the whole of [0, cap)', () => {
    fc.assert(
      fc.property(fc.nat(2000), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (attempt, random) => {
        const delay = fullJitterMs(attempt, range, random)
        expect(delay).toBeGreaterThanOrEqual(0)
        expect(delay).toBeLessThan(Math.min(300_000, 500 * 2 ** attempt))
        expect(delay / fullJitterMs(attempt, range, 1)).toBeCloseTo(random, 9)
      })
    )
  })
})

describe('batch size', () => {
  test('a batch that came out too large is halved, down to one reading, which is sent as it is', () => {
    const sizer = new BatchSizer(500, 1000)
    expect(sizer.judge(500, 5000)).toBe(250)
    expect(sizer.judge(3, 1001)).toBe(1)
    expect(sizer.judge(1, 5000)).toBeNull()
    expect(sizer.judge(500, 1000)).toBeNull()
  })

  test('the next batch is as large as the last one lets expect', () => {
    const sizer = new BatchSizer(500, 1000)
    expect(sizer.next()).toBe(500)
    sizer.judge(50, 500)
    expect(sizer.next()).toBe(100)
    sizer.judge(100, 100)
    expect(sizer.next()).toBe(500)
  })

  test('what certainly fits can always be encoded', () => {
    const text = fc.string({ unit: 'binary', maxLength: 1000 })
    const value = fc.oneof(fc.double(), fc.constant(null))
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 1000 }),
        fc.array(text, { minLength: 1, maxLength: 9 }),
        value,
        (width, count, texts, v) => {
          const numbers = Array.from({ length: width }, (_, i) => ({ name: `m${i}` }))
          const profile = profileSchema.parse({ name: 'wide', interval: '1s', metrics: [...numbers, { name: 'text', type: 'string' }] })
          const rows = Array.from({ length: count }, (_, i) => [...numbers.map(() => (i % 3 === 0 ? v : i * 1.1)), texts[i % texts.length]])
          const fit = readingsThatFit(profile, columnsOf(profile, rows), count)
          const seqs = Array.from({ length: fit }, (_, i) => 1 + i * 2)
          const payload = encodeBatch({
            profile,
            epoch: 1,
            oldestHeldSeq: 1,
            highestSampledSeq: 2 * count,
            buffered: count,
            seqs,
            eventTimesMs: seqs.map(seq => seq * seq * 1e6),
            columns: columnsOf(profile, rows.slice(0, fit))
          })
          expect(payload.length).toBeLessThanOrEqual(PAYLOAD_BYTES_MAX)
        }
      ),
      { numRuns: 50 }
    )
  })
})

describe('epochs', () => {
  const epochs = [
    { epoch: 7, base: 0, highestSeq: 15 }, // positions 1 to 10; 5 more were identified anew
    { epoch: 8, base: 10, highestSeq: 0 }, // none
    { epoch: 9, base: 10, highestSeq: null }
  ]

  test('a position belongs to the epoch with the nearest base below it', () => {
    expect([1, 10, 11, 900].map(position => epochs[epochIndexAt(epochs, position)].epoch)).toEqual([7, 7, 9, 9])
  })

  test('a range of positions is one range of seqs an epoch', () => {
    expect(seqRanges(epochs, 9, 12)).toEqual([
      { epoch: 7, firstSeq: 9, lastSeq: 10 },
      { epoch: 9, firstSeq: 1, lastSeq: 2 }
    ])
  })
})

describe('event time of live sources', () => {
  /** Plays a wall clock against a monotonic one: pairs of [monotonic, wall], in ms. */
  function play(moments: readonly (readonly [number, number])[]) {
    let clock: EventClock | null = null
    return moments.map(([monotonicMs, wallMs]) => {
      const moment = tick(clock, monotonicMs, wallMs)
      clock = moment.clock
      return moment.newEpoch ? `new ${moment.eventTimeMs}` : moment.eventTimeMs
    })
  }

  test('is the wall clock, while that goes on', () => {
    expect(
      play([
        [0, 100_000],
        [5000, 105_000],
        [10_000, 110_000.7]
      ])
    ).toEqual([100_000, 105_000, 110_000])
  })

  test('jumps with a wall clock that is set forward', () => {
    expect(
      play([
        [0, 100_000],
        [5000, 900_000]
      ])
    ).toEqual([100_000, 900_000])
  })

  test('goes on more slowly, never back, while a wall clock that was set back catches up', () => {
    expect(
      play([
        [0, 100_000],
        [5000, 75_000],
        [10_000, 80_000],
        [40_000, 110_000]
      ])
    ).toEqual([100_000, 104_500, 109_000, 110_000])
  })

  test('begins a new epoch when the wall clock is set back by more than a minute', () => {
    expect(
      play([
        [0, 100_000],
        [5000, 30_000],
        [10_000, 35_000]
      ])
    ).toEqual([100_000, 'new 30000', 35_000])
  })

  test('never runs back within an epoch, whatever the clocks do', () => {
    const step = fc.tuple(fc.nat(100_000), fc.integer({ min: -200_000, max: 200_000 }))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 50 }), steps => {
        let [monotonicMs, wallMs] = [0, 1_700_000_000_000]
        let clock: EventClock | null = null
        for (const [elapsedMs, jumpMs] of steps) {
          monotonicMs += elapsedMs
          wallMs += elapsedMs + jumpMs
          const before: EventClock | null = clock
          const moment = tick(before, monotonicMs, wallMs)
          if (!moment.newEpoch && before !== null) expect(moment.eventTimeMs).toBeGreaterThanOrEqual((before as EventClock).eventTimeMs)
          expect(moment.eventTimeMs).toBeLessThanOrEqual(Math.max(wallMs, (before as EventClock | null)?.eventTimeMs ?? 0) + elapsedMs)
          expect(Number.isInteger(moment.eventTimeMs)).toBe(true)
          clock = moment.clock
        }
      })
    )
  })
})
