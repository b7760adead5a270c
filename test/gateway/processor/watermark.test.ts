import { describe, expect, test } from 'vitest'
import { at, timeline } from '../../kit/timeline.js'

const minutes = (...of: number[]) => of.map(minute => ({ seq: minute, eventTimeMs: at('13:00') + minute * 60_000 }))

describe('the watermark of a device', () => {
  //  seq     1    2    .    4            the gap at 3 holds the watermark at 2,
  //  event  :01  :02       :04           until 3 arrives
  test('is held by a gap until the gap is filled', () => {
    const t = timeline()
    t.batch({ readings: minutes(1) })
    t.batch({ readings: minutes(2) })
    t.batch({ readings: minutes(4) })
    expect(t.watermark()).toBe(at('13:02'))
    t.batch({ readings: minutes(3) })
    expect(t.watermark()).toBe(at('13:04'))
  })

  test('is held by a gap until the device no longer holds what is missing', () => {
    const t = timeline()
    t.batch({ readings: minutes(1, 2, 4) })
    t.batch({ oldestHeldSeq: 4 })
    expect(t.watermark()).toBe(at('13:04'))
  })

  test('follows the lowest gap only', () => {
    const t = timeline()
    t.batch({ readings: minutes(1, 3, 5, 7) })
    t.batch({ readings: minutes(4) })
    expect(t.watermark()).toBe(at('13:01'))
    t.batch({ readings: minutes(2) })
    expect(t.watermark()).toBe(at('13:05'))
  })

  test('never runs back when event time does', () => {
    const t = timeline()
    t.batch({
      readings: [
        { seq: 1, eventTimeMs: at('13:30') },
        { seq: 2, eventTimeMs: at('12:35') }
      ]
    })
    t.drain()
    expect(t.watermark()).toBe(at('13:30'))
    expect(t.readings().map(row => [row.seq, row.late])).toEqual([
      [1, false],
      [2, true]
    ])
  })

  //  sent       1 2 3 | 4 5 6
  //  arrived    4 5 6 | 1 2 3         nobody is late
  test('makes nobody late when two batches swap places', () => {
    const t = timeline()
    t.batch({ readings: minutes(4, 5, 6) })
    t.batch({ readings: minutes(1, 2, 3) })
    t.drain()
    expect(t.readings().some(row => row.late)).toBe(false)
    expect(t.watermark()).toBe(at('13:06'))
  })

  test('makes nobody late in the backlog of a day', () => {
    const t = timeline()
    const readings = Array.from({ length: 1440 }, (_, i) => ({ seq: i + 1, eventTimeMs: at('14:00') - (1440 - i) * 60_000 }))
    for (let first = 0; first < 1440; first += 500) t.batch({ readings: readings.slice(first, first + 500), oldestHeldSeq: first + 1 })
    t.drain()
    expect(t.ledger()).toMatchObject({ archived: 1440, late: 0 })
    expect(t.watermark()).toBe(at('13:59'))
  })

  test('is not moved by a reading from the future, whose seq settles all the same', () => {
    const t = timeline()
    t.batch({ readings: [...minutes(1), { seq: 2, eventTimeMs: at('14:05:00.001') }, ...minutes(3)] })
    expect(t.watermark()).toBe(at('13:03'))
    t.drain()
    expect(t.ledger()).toMatchObject({ archived: 2, quarantined: 1, buffered: 0, missing: 0, late: 0 })
  })

  test('is not moved by a reading from the future that lies above a gap', () => {
    const t = timeline()
    t.batch({ readings: [...minutes(1), { seq: 3, eventTimeMs: at('20:00') }] })
    t.batch({ readings: minutes(2) })
    expect(t.watermark()).toBe(at('13:02'))
  })

  test('is moved by a reading that is quarantined for its values', () => {
    const t = timeline()
    t.reading({ seq: 1, eventTimeMs: at('13:10'), values: { temperature: 999 } })
    expect(t.watermark()).toBe(at('13:10'))
  })

  test('of one is not touched by the clock of another', () => {
    const t = timeline()
    t.batch({ device: 'fast', readings: [{ seq: 1, eventTimeMs: at('14:04') }] })
    t.batch({ device: 'slow', readings: minutes(1) })
    t.drain()
    expect([t.watermark('fast'), t.watermark('slow')]).toEqual([at('14:04'), at('13:01')])
    expect(t.readings().some(row => row.late)).toBe(false)
  })

  test('is the highest over the epochs of a device', () => {
    const t = timeline()
    t.batch({ epoch: 1, readings: minutes(1, 2, 3) })
    t.batch({ epoch: 2, readings: [{ seq: 1, eventTimeMs: at('13:20') }] })
    t.batch({ epoch: 1, readings: minutes(4) })
    expect(t.watermark()).toBe(at('13:20'))
  })
})

describe('a gap that stands', () => {
  //  seq    1   .   .   .   30           after 60 s of ingest time the watermark follows the 30 at 10 min of distance
  //  event :01              :30
  test('for 60 s no longer holds the watermark: it follows the latest reading at the allowed lateness', () => {
    const t = timeline()
    t.batch({ readings: minutes(1, 30) })
    t.tick(59_000)
    expect(t.watermark()).toBe(at('13:01'))
    t.tick(2000)
    expect(t.watermark()).toBe(at('13:20'))
  })

  test('is counted by the time that the gateway was up', () => {
    const t = timeline()
    t.batch({ readings: minutes(1, 30) })
    t.leap(3_600_000)
    t.start()
    t.tick(50_000)
    expect(t.watermark()).toBe(at('13:01'))
  })

  test('is not as old as one below it that has closed', () => {
    const t = timeline()
    t.batch({ readings: minutes(1, 3) })
    t.tick(50_000)
    t.batch({ readings: minutes(30) })
    t.tick(5000)
    t.batch({ readings: minutes(2) })
    t.tick(50_000)
    expect(t.watermark()).toBe(at('13:03'))
    t.tick(10_000)
    expect(t.watermark()).toBe(at('13:20'))
  })

  test('stays as old as it is when a reading falls into it', () => {
    const t = timeline()
    t.batch({ readings: minutes(1, 30) })
    t.tick(50_000)
    t.batch({ readings: minutes(10) })
    t.tick(12_000)
    expect(t.watermark()).toBe(at('13:20'))
  })
})

describe('readings with opaque event IDs', () => {
  const reading = (id: string, time: string) => ({ event_id: id, event_time: at(time), profile: 'pump', temperature: 20 })

  test('hold the watermark back by the allowed lateness', () => {
    const t = timeline()
    t.json(reading('a', '13:30'))
    expect(t.watermark('meter-1')).toBe(at('13:20'))
    t.json([reading('b', '13:21'), reading('c', '13:19')])
    t.drain()
    expect(t.readings().map(row => [row.event_id, row.late])).toEqual([
      ['a', false],
      ['b', false],
      ['c', true]
    ])
  })

  test('move it though they are quarantined, unless it is for their event time', () => {
    const t = timeline()
    t.json({ ...reading('a', '13:30'), profile: 'turbine' })
    expect(t.watermark('meter-1')).toBe(at('13:20'))
    t.json({ ...reading('b', '13:40'), temperature: 999 })
    expect(t.watermark('meter-1')).toBe(at('13:30'))
    t.json({ ...reading('c', '20:00'), profile: 'turbine' })
    expect(t.watermark('meter-1')).toBe(at('13:30'))
  })
})
