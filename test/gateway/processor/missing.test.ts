import { describe, expect, test } from 'vitest'
import { at, timeline } from '../../kit/timeline.js'

const readings = (...seqs: number[]) => seqs.map(seq => ({ seq, eventTimeMs: at('13:00') + seq * 60_000 }))

describe('a seq that was never seen', () => {
  test('is buffered as long as the device may still hold it', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 4), highestSampledSeq: 6 })
    t.drain()
    expect(t.ledger()).toMatchObject({ highestSampledSeq: 6, archived: 2, buffered: 4, missing: 0 })
  })

  //  seq   1  .  .  4        the device says that its oldest is 4:
  //           ^  ^           2 and 3 will never come
  test('is missing once it lies below the oldest that the device holds', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 4) })
    t.batch({ oldestHeldSeq: 4 })
    t.drain()
    expect(t.ledger()).toMatchObject({ archived: 2, buffered: 0, missing: 2, highestSampledSeq: 4 })
  })

  test('is no longer missing when it comes after all, and counts as late', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 4) })
    t.batch({ oldestHeldSeq: 4 })
    t.batch({ readings: readings(3) })
    t.batch({ readings: readings(3) })
    t.drain()
    expect(t.ledger()).toMatchObject({ archived: 3, missing: 1, late: 1, duplicates: 1 })
    expect(t.readings().map(row => [row.seq, row.late])).toEqual([
      [1, false],
      [4, false],
      [3, true]
    ])
  })

  test('stays missing when an old message says again that it is held', () => {
    const t = timeline()
    t.batch({ readings: readings(5), oldestHeldSeq: 5 })
    t.batch({ oldestHeldSeq: 1 })
    t.drain()
    expect(t.ledger()).toMatchObject({ archived: 1, missing: 4, buffered: 0 })
  })

  test('is missing in the middle of what was seen, one by one', () => {
    const t = timeline()
    t.batch({ readings: readings(2, 4, 6, 8) })
    t.batch({ oldestHeldSeq: 7 })
    t.drain()
    expect(t.ledger()).toMatchObject({ archived: 4, missing: 3, buffered: 1 })
  })
})
