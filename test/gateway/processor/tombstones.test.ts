import { describe, expect, test } from 'vitest'
import { SHED_PIECES_MAX } from '../../../gateway/src/processor/epoch.js'
import { at, timeline } from '../../kit/timeline.js'

const readings = (...seqs: number[]) => seqs.map(seq => ({ seq, eventTimeMs: at('11:00') + seq * 1000 }))
const evens = (first: number, last: number) => readings(...Array.from({ length: (last - first) / 2 + 1 }, (_, i) => first + 2 * i))

describe('a tombstone', () => {
  test('sheds all that it spans', () => {
    const t = timeline()
    t.batch({ highestSampledSeq: 10, tombstones: [{ firstSeq: 3, lastSeq: 7, keepEvery: 0 }] })
    t.drain()
    expect(t.ledger()).toMatchObject({ shed: 5, buffered: 5, missing: 0 })
  })

  //  seq    1 2 3 4 5 6 7 8 9        keep every 3rd: 3, 6 and 9 are still held
  test('keeps every n-th', () => {
    const t = timeline()
    t.batch({ highestSampledSeq: 9, tombstones: [{ firstSeq: 1, lastSeq: 9, keepEvery: 3 }] })
    t.batch({ readings: readings(3, 6, 9) })
    t.drain()
    expect(t.ledger()).toMatchObject({ shed: 6, archived: 3, buffered: 0, missing: 0 })
  })

  test('that overlaps another sheds only what that one did not', () => {
    const t = timeline()
    t.batch({ highestSampledSeq: 12, tombstones: [{ firstSeq: 1, lastSeq: 8, keepEvery: 2 }] })
    t.batch({ tombstones: [{ firstSeq: 5, lastSeq: 12, keepEvery: 3 }] })
    t.drain()
    // 1 3 5 7, then 8 10 11 (6, 9 and 12 are kept; 5 and 7 are shed already); 2 4 6 9 12 are held
    expect(t.ledger()).toMatchObject({ shed: 7, buffered: 5 })
  })

  test('of a second thinning with 2n sheds only more', () => {
    const t = timeline()
    t.batch({ highestSampledSeq: 16, tombstones: [{ firstSeq: 1, lastSeq: 16, keepEvery: 2 }] })
    t.batch({ tombstones: [{ firstSeq: 1, lastSeq: 16, keepEvery: 4 }] })
    t.batch({ readings: readings(4, 8, 12, 16) })
    t.drain()
    expect(t.ledger()).toMatchObject({ shed: 12, archived: 4, buffered: 0, missing: 0 })
  })

  test('counts once however often it comes', () => {
    const t = timeline()
    for (let copy = 0; copy < 3; copy++) t.batch({ highestSampledSeq: 9, tombstones: [{ firstSeq: 2, lastSeq: 9, keepEvery: 4 }] })
    t.drain()
    expect(t.ledger()).toMatchObject({ shed: 6, buffered: 3 })
    expect(t.stats().shed).toBe(6)
  })

  test('has a reading that comes behind it quarantined, which is not the fate of its seq', () => {
    const t = timeline()
    t.batch({ highestSampledSeq: 4, tombstones: [{ firstSeq: 1, lastSeq: 3, keepEvery: 0 }] })
    t.batch({ readings: readings(2, 4) })
    t.drain()
    expect(t.quarantine()).toMatchObject([{ seq: 2, reason: 'shed', accounted: false }])
    expect(t.ledger()).toMatchObject({ shed: 3, archived: 1, quarantined: 0 })
  })

  test('in the batch of a reading that it spans sheds that reading', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 2), tombstones: [{ firstSeq: 2, lastSeq: 2, keepEvery: 0 }] })
    t.drain()
    expect(t.ledger()).toMatchObject({ shed: 1, archived: 1 })
  })

  //  an agent that was killed does not know what was in flight: it sheds 1 to 6, though 2 and 3 had arrived
  test('does not cover what was archived: a copy of that is a duplicate', () => {
    const t = timeline()
    t.batch({ readings: readings(2, 3) })
    t.batch({ highestSampledSeq: 6, tombstones: [{ firstSeq: 1, lastSeq: 6, keepEvery: 0 }] })
    t.batch({ readings: readings(2, 3) })
    t.drain()
    expect(t.ledger()).toMatchObject({ archived: 2, shed: 4, duplicates: 2, missing: 0, buffered: 0 })
    expect(t.quarantine()).toEqual([])
  })

  test('that comes after its seqs were missing turns them to shed', () => {
    const t = timeline()
    t.batch({ readings: readings(9), oldestHeldSeq: 9 })
    t.batch({ oldestHeldSeq: 9, tombstones: [{ firstSeq: 1, lastSeq: 8, keepEvery: 4 }] })
    t.drain()
    expect(t.ledger()).toMatchObject({ archived: 1, shed: 6, missing: 2 })
  })

  //  seq       1  2  3  .  5         4 is shed: nothing holds the watermark
  test('settles what it sheds', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 2, 3, 5) })
    expect(t.watermark()).toBe(at('11:00:03'))
    t.batch({ tombstones: [{ firstSeq: 4, lastSeq: 4, keepEvery: 0 }] })
    expect(t.watermark()).toBe(at('11:00:05'))
  })

  test('of a thinned backlog lets thousands of kept readings pass over a gap, because what lies between them is no gap', () => {
    const t = timeline()
    t.batch({ highestSampledSeq: 8000, tombstones: [{ firstSeq: 3, lastSeq: 8000, keepEvery: 2 }] })
    for (let first = 1002; first <= 8000; first += 1000) t.batch({ readings: evens(first, Math.min(8000, first + 998)) })
    t.batch({ readings: evens(4, 1000) })
    t.batch({ readings: readings(1, 2) })
    t.drain()
    expect(t.quarantine()).toEqual([])
    expect(t.ledger()).toMatchObject({ archived: 4001, shed: 3999, buffered: 0, missing: 0, highestSampledSeq: 8000 })
  })

  test('that comes behind the kept readings joins them as well', () => {
    const t = timeline()
    t.batch({ readings: evens(4, 1000) })
    t.batch({ tombstones: [{ firstSeq: 3, lastSeq: 1000, keepEvery: 2 }], highestSampledSeq: 3000 })
    for (let first = 1002; first <= 2600; first += 500) t.batch({ readings: evens(first, first + 498) })
    t.drain()
    expect(t.quarantine()).toEqual([])
  })

  test('is taken in however many there are, as long as what they shed can settle', () => {
    const t = timeline()
    const highestSampledSeq = 4 * SHED_PIECES_MAX
    for (let i = 0; i < 2 * SHED_PIECES_MAX; i++) {
      const seq = 1 + 2 * i
      t.batch({ highestSampledSeq, tombstones: [{ firstSeq: seq, lastSeq: seq, keepEvery: 0 }] })
      t.batch({ readings: readings(seq + 1) })
    }
    t.drain()
    expect(t.ledger()).toMatchObject({ shed: 2 * SHED_PIECES_MAX, archived: 2 * SHED_PIECES_MAX, buffered: 0, missing: 0 })
    t.batch({ readings: readings(1) })
    t.drain()
    expect(t.quarantine()).toMatchObject([{ seq: 1, reason: 'event-id-fragmented' }])
  })

  test('beyond what can be tracked over a gap leaves its seqs with the device, and the ledger balances', () => {
    const t = timeline()
    const highestSampledSeq = 10 * SHED_PIECES_MAX
    for (let i = 0; i < 2 * SHED_PIECES_MAX; i++) {
      t.batch({ highestSampledSeq, tombstones: [{ firstSeq: 2 + 3 * i, lastSeq: 2 + 3 * i, keepEvery: 0 }] })
    }
    t.drain()
    expect(t.ledger()).toMatchObject({ shed: SHED_PIECES_MAX, buffered: highestSampledSeq - SHED_PIECES_MAX, missing: 0 })
    t.batch({ oldestHeldSeq: highestSampledSeq + 1 })
    t.drain()
    expect(t.ledger()).toMatchObject({ shed: SHED_PIECES_MAX, buffered: 0, missing: highestSampledSeq - SHED_PIECES_MAX })
  })
})
