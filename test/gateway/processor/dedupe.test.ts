import { describe, expect, test } from 'vitest'
import { EPOCHS_MAX } from '../../../gateway/src/processor/device.js'
import { INTERVALS_MAX } from '../../../gateway/src/processor/epoch.js'
import { at, type ReadingSpec, type Timeline, timeline } from '../../kit/timeline.js'

/** A reading a second from 13:00:00 on. */
function reading(seq: number): ReadingSpec {
  return { seq, eventTimeMs: at('13:00') + seq * 1000 }
}

function readings(...seqs: number[]): ReadingSpec[] {
  return seqs.map(reading)
}

function archivedSeqs(t: Timeline): unknown[] {
  t.drain()
  return t.readings().map(row => row.seq)
}

/** Every other seq from `first` on. */
function everyOther(first: number, count: number): ReadingSpec[] {
  return Array.from({ length: count }, (_, i) => reading(first + 2 * i))
}

describe('a reading of an agent', () => {
  test('is archived once when its batch comes twice', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 2, 3) })
    t.batch({ readings: readings(1, 2, 3) })
    expect(archivedSeqs(t)).toEqual([1, 2, 3])
    expect(t.ledger()).toMatchObject({ archived: 3, duplicates: 3, quarantined: 0, missing: 0, buffered: 0 })
  })

  //  batch 1    1  2  3
  //  batch 2       2  3  4  5        only 4 and 5 are new
  test('is archived once when batches overlap', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 2, 3) })
    t.batch({ readings: readings(2, 3, 4, 5) })
    expect(archivedSeqs(t)).toEqual([1, 2, 3, 4, 5])
    expect(t.ledger()).toMatchObject({ archived: 5, duplicates: 2 })
  })

  //  seq   1  .  3  .  5  .  .  8     three intervals above the first gap
  test('is a duplicate above gaps too', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 3, 5, 8) })
    t.batch({ readings: readings(3, 5, 8) })
    t.drain()
    expect(t.ledger()).toMatchObject({ archived: 4, duplicates: 3, buffered: 4, missing: 0, highestSampledSeq: 8 })
  })

  test('fills a gap whenever it comes', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 3, 5, 8) })
    t.batch({ readings: readings(4, 6, 7) })
    t.batch({ readings: readings(2) })
    t.batch({ readings: readings(1, 2, 3, 4, 5, 6, 7, 8) })
    t.drain()
    expect(t.ledger()).toMatchObject({ archived: 8, duplicates: 8, buffered: 0, missing: 0 })
  })

  test('is told from one of another device, or of another epoch, with the same seq', () => {
    const t = timeline()
    t.batch({ readings: readings(1) })
    t.batch({ readings: readings(1), epoch: 2 })
    t.batch({ readings: readings(1), device: 'pump-8' })
    t.drain()
    expect(t.readings()).toHaveLength(3)
    expect([t.ledger('pump-7', 1), t.ledger('pump-7', 2), t.ledger('pump-8', 1)]).toMatchObject([
      { archived: 1 },
      { archived: 1 },
      { archived: 1 }
    ])
  })

  test('is a duplicate of a quarantined one as well', () => {
    const t = timeline()
    for (let copy = 0; copy < 2; copy++) t.reading({ seq: 1, eventTimeMs: at('13:00'), values: { temperature: 999 } })
    t.drain()
    expect(t.quarantine()).toHaveLength(1)
    expect(t.ledger()).toMatchObject({ quarantined: 1, duplicates: 1, archived: 0 })
  })
})

describe('a seq that is used again', () => {
  //  seq      1   2   3   4        the card's image is from after 2:
  //  again            3'  4'       3' and 4' are later than everything that the epoch has seen
  test('after a buffer was restored from an image is quarantined, and the device is told to take a new epoch', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 2, 3, 4) })
    t.batch({
      readings: [
        { seq: 3, eventTimeMs: at('13:30') },
        { seq: 4, eventTimeMs: at('13:31') }
      ]
    })
    t.drain()
    expect(t.quarantine().map(({ seq, reason, accounted }) => ({ seq, reason, accounted }))).toEqual([
      { seq: 3, reason: 'event-id-reused', accounted: false },
      { seq: 4, reason: 'event-id-reused', accounted: false }
    ])
    expect(t.ledger()).toMatchObject({ archived: 4, quarantined: 0, duplicates: 0 })
    expect(t.notices()).toEqual([{ deviceId: 'pump-7', epoch: 1 }])
    expect(t.notices()).toEqual([])
  })

  test('with an event time that the epoch has passed is a duplicate', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 2, 3, 4) })
    t.batch({ readings: readings(3) })
    t.drain()
    expect(t.quarantine()).toEqual([])
    expect(t.notices()).toEqual([])
  })

  test('for a copy of a reading from the future is a duplicate', () => {
    const t = timeline()
    for (let copy = 0; copy < 2; copy++) t.reading({ seq: 1, eventTimeMs: at('20:00') })
    t.drain()
    expect(t.quarantine().map(row => row.reason)).toEqual(['event-time-in-future'])
    expect(t.ledger()).toMatchObject({ quarantined: 1, duplicates: 1 })
  })
})

describe('an epoch with more intervals than are tracked', () => {
  /** Seqs 3, 5, 7, … up to the limit, over a gap at 1 and 2. */
  function fragmented(): Timeline {
    const t = timeline()
    for (let i = 0; i < INTERVALS_MAX; i += 512) t.batch({ readings: everyOther(3 + 2 * i, 512) })
    return t
  }
  const last = 3 + 2 * (INTERVALS_MAX - 1)

  test('quarantines what would make one more, and does not guess', () => {
    const t = fragmented()
    t.batch({ readings: readings(last + 2) })
    t.drain()
    expect(t.quarantine()).toMatchObject([{ seq: last + 2, reason: 'event-id-fragmented', accounted: false }])
    expect(t.ledger()).toMatchObject({ archived: INTERVALS_MAX, quarantined: 0 })
  })

  test('still takes what widens an interval, or the first gap', () => {
    const t = fragmented()
    t.batch({ readings: readings(last + 1) })
    t.batch({ readings: readings(1) })
    t.batch({ readings: readings(8) })
    t.drain()
    expect(t.quarantine()).toEqual([])
    expect(t.ledger()).toMatchObject({ archived: INTERVALS_MAX + 3 })
  })

  test('takes readings again when gaps have closed', () => {
    const t = fragmented()
    t.batch({ readings: readings(1, 2, 4, 6, 8) })
    t.batch({ readings: readings(last + 2) })
    t.drain()
    expect(t.quarantine()).toEqual([])
  })

  test('has room for one more when a gap closes between two', () => {
    const t = fragmented()
    t.batch({ readings: readings(8) })
    t.batch({ readings: readings(last + 2, last + 4) })
    t.drain()
    expect(t.quarantine()).toMatchObject([{ seq: last + 4, reason: 'event-id-fragmented' }])
  })

  test('still takes swapped batches when all its missing intervals have long been settled', () => {
    const t = fragmented()
    t.batch({ oldestHeldSeq: last + 1, highestSampledSeq: last })
    t.batch({ oldestHeldSeq: last + 1, readings: readings(last + 3) })
    t.batch({ oldestHeldSeq: last + 1, readings: readings(last + 1, last + 2) })
    t.drain()
    expect(t.quarantine()).toEqual([])
    expect(t.ledger()).toMatchObject({ archived: INTERVALS_MAX + 3, missing: INTERVALS_MAX + 1, buffered: 0 })
  })

  //  each batch says that all below it is gone: a missing seq between any two
  test('forgets which of the oldest seqs are missing, and quarantines what comes for them', () => {
    const t = timeline()
    for (let i = 0; i <= INTERVALS_MAX; i++) t.batch({ oldestHeldSeq: 2 + 2 * i, readings: readings(2 + 2 * i) })
    const highest = 2 + 2 * INTERVALS_MAX
    t.batch({ readings: readings(1) })
    t.batch({ readings: readings(3) })
    t.drain()
    expect(t.quarantine()).toMatchObject([{ seq: 1, reason: 'event-id-fragmented', accounted: false }])
    expect(t.ledger()).toMatchObject({ archived: INTERVALS_MAX + 2, missing: INTERVALS_MAX, highestSampledSeq: highest, buffered: 0 })
  })
})

describe('a device with many epochs', () => {
  test('has no new epoch refused, and its ledger holds them all', () => {
    const t = timeline()
    for (let epoch = 1; epoch <= EPOCHS_MAX + 10; epoch++) t.batch({ epoch, readings: readings(1) })
    t.drain()
    expect(t.readings()).toHaveLength(EPOCHS_MAX + 10)
    expect(t.allLedgers()).toHaveLength(EPOCHS_MAX + 10)
    expect(t.allLedgers().every(({ archived, waiting }) => archived === 1 && waiting === 0)).toBe(true)
  })

  test('has readings of a forgotten epoch quarantined', () => {
    const t = timeline()
    for (let epoch = 1; epoch <= EPOCHS_MAX + 1; epoch++) t.batch({ epoch, readings: readings(1) })
    t.drain()
    t.batch({ epoch: 1, readings: readings(1, 2) })
    t.batch({ epoch: 2, readings: readings(1, 2) })
    t.drain()
    expect(t.quarantine().map(({ epoch, seq, reason, accounted }) => ({ epoch, seq, reason, accounted }))).toEqual([
      { epoch: 1, seq: 1, reason: 'epoch-retired', accounted: false },
      { epoch: 1, seq: 2, reason: 'epoch-retired', accounted: false }
    ])
    expect(t.ledger('pump-7', 2)).toMatchObject({ archived: 2, duplicates: 1 })
  })

  test('forgets the epoch that was used least recently', () => {
    const t = timeline()
    for (let epoch = 1; epoch <= EPOCHS_MAX; epoch++) t.batch({ epoch, readings: readings(1) })
    t.batch({ epoch: 1, readings: readings(2) })
    t.batch({ epoch: EPOCHS_MAX + 1, readings: readings(1) })
    t.drain()
    t.batch({ epoch: 1, readings: readings(1, 2, 3) })
    t.batch({ epoch: 2, readings: readings(1) })
    t.drain()
    expect(t.ledger('pump-7', 1)).toMatchObject({ archived: 3, duplicates: 2 })
    expect(t.quarantine()).toMatchObject([{ epoch: 2, reason: 'epoch-retired' }])
  })

  test('keeps an epoch until its rows are in files, so that its ledger can say so', () => {
    const t = timeline({ flushIntervalMs: 1000, smallHourWaitMs: 10_000 })
    for (let epoch = 1; epoch <= EPOCHS_MAX + 1; epoch++) t.batch({ epoch, readings: readings(1) })
    t.tick(1000)
    expect(t.ledger('pump-7', 1)).toMatchObject({ archived: 1, waiting: 1 })
    t.tick(10_000)
    expect(t.allLedgers().filter(({ waiting }) => waiting > 0)).toEqual([])
  })
})

test('a device beyond the limit has its readings quarantined', () => {
  const t = timeline({ devicesMax: 1 })
  t.batch({ device: 'pump-1', readings: readings(1) })
  t.batch({ device: 'pump-2', readings: readings(1, 2) })
  t.drain()
  expect(t.quarantine()).toMatchObject([
    { device_id: 'pump-2', seq: 1, reason: 'device-limit', accounted: false },
    { device_id: 'pump-2', seq: 2, reason: 'device-limit', accounted: false }
  ])
})
