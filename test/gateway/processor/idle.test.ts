import { describe, expect, test } from 'vitest'
import { at, type Timeline, timeline } from '../../kit/timeline.js'

function rows(t: Timeline): unknown[] {
  t.drain()
  return t
    .features()
    .map(row => [new Date(row.as_of as number).toISOString().slice(11, 16), row.revision, row.provisional, row.event_count])
}

describe('a feature row', () => {
  //  hop      (13:00, 13:01]   (13:01, 13:02]        the row as of 13:01 goes out when the watermark is past it
  //  event       :30 1:00           1:00.001
  test('goes out when the watermark has passed the end of its hop, not when it has reached it', () => {
    const t = timeline()
    t.batch({
      readings: [
        { seq: 1, eventTimeMs: at('13:00:30') },
        { seq: 2, eventTimeMs: at('13:01') }
      ]
    })
    expect(rows(t)).toEqual([])
    t.reading({ seq: 3, eventTimeMs: at('13:01:00.001') })
    expect(rows(t)).toEqual([['13:01', 0, false, 2]])
  })

  test('is made for each hop that holds a reading, and for no other', () => {
    const t = timeline()
    t.batch({ readings: ['13:00:30', '13:04:30', '13:09:30'].map((time, i) => ({ seq: i + 1, eventTimeMs: at(time) })) })
    expect(rows(t)).toEqual([
      ['13:01', 0, false, 1],
      ['13:05', 0, false, 1]
    ])
  })
})

describe('an idle device', () => {
  test('has its open hop shown as a provisional row, and once more when the watermark passes it', () => {
    const t = timeline()
    t.reading({ seq: 1, eventTimeMs: at('13:00:30') })
    t.tick(11 * 60_000)
    expect(rows(t)).toEqual([['13:01', 0, true, 1]])
    expect(t.watermark()).toBe(at('13:00:30'))
    t.batch({
      readings: [
        { seq: 2, eventTimeMs: at('13:00:40') },
        { seq: 3, eventTimeMs: at('13:02') }
      ]
    })
    expect(rows(t)).toEqual([
      ['13:01', 0, true, 1],
      ['13:01', 1, false, 2]
    ])
  })

  test('is not idle yet a moment before', () => {
    const t = timeline()
    t.reading({ seq: 1, eventTimeMs: at('13:00:30') })
    t.tick(9.9 * 60_000)
    expect(t.stats().idleDevices).toBe(0)
  })

  test('has its provisional row in the next flush, though nothing but ticks came', () => {
    const t = timeline({ smallHourWaitMs: 3_600_000 })
    t.reading({ seq: 1, eventTimeMs: at('14:00:30') })
    t.tick(12 * 60_000)
    expect(t.features()).toHaveLength(1)
  })

  test('is shown once, not at every tick', () => {
    const t = timeline()
    t.reading({ seq: 1, eventTimeMs: at('13:00:30') })
    t.tick(40 * 60_000)
    expect(rows(t)).toHaveLength(1)
  })

  test('leaves the fleet watermark', () => {
    const t = timeline()
    t.reading({ device: 'silent', seq: 1, eventTimeMs: at('10:00') })
    t.reading({ device: 'talks', seq: 1, eventTimeMs: at('14:00') })
    expect(t.stats().fleetWatermarkMs).toBe(at('10:00'))
    t.tick(6 * 60_000)
    t.reading({ device: 'talks', seq: 2, eventTimeMs: at('14:01') })
    t.tick(5 * 60_000)
    expect(t.stats()).toMatchObject({ fleetWatermarkMs: at('14:01'), idleDevices: 1 })
  })

  test('that sends again is in the fleet watermark again, and has its open hop shown anew when it falls silent again', () => {
    const t = timeline({ smallHourWaitMs: 0 })
    t.reading({ device: 'talks', seq: 1, eventTimeMs: at('14:00') })
    t.reading({ seq: 1, eventTimeMs: at('13:00:10') })
    t.tick(11 * 60_000)
    expect(t.stats()).toMatchObject({ idleDevices: 2, fleetWatermarkMs: null })
    t.reading({ seq: 2, eventTimeMs: at('13:00:30') })
    expect(t.stats()).toMatchObject({ idleDevices: 1, fleetWatermarkMs: at('13:00:30') })
    t.tick(11 * 60_000)
    expect(t.stats().idleDevices).toBe(2)
    t.drain()
    const shown = t.features().filter(({ device_id }) => device_id === 'pump-7')
    expect(shown.map(({ revision, provisional, event_count }) => [revision, provisional, event_count])).toEqual([
      [0, true, 1],
      [1, true, 2]
    ])
  })

  test('is nobody because the gateway was down', () => {
    const t = timeline()
    t.reading({ seq: 1, eventTimeMs: at('13:00:30') })
    t.leap(24 * 3_600_000)
    t.start()
    t.tick(60_000)
    expect(t.stats().idleDevices).toBe(0)
    expect(rows(t)).toEqual([])
  })

  test('is nobody because the gateway stood still between two ticks', () => {
    const t = timeline()
    t.reading({ seq: 1, eventTimeMs: at('13:00:30') })
    t.tick(24 * 3_600_000, 24 * 3_600_000)
    expect(t.stats().idleDevices).toBe(0)
  })
})

describe('an end of the stream', () => {
  test('closes the open hops for good', () => {
    const t = timeline()
    t.batch({ readings: [{ seq: 1, eventTimeMs: at('13:00:30') }], endOfStreamSeq: 1 })
    expect(rows(t)).toEqual([['13:01', 0, false, 1]])
    expect(t.watermark()).toBe(at('13:00:30'))
  })

  test('in a batch of its own closes them too', () => {
    const t = timeline()
    t.reading({ seq: 1, eventTimeMs: at('13:00:30') })
    t.batch({ oldestHeldSeq: 2, endOfStreamSeq: 1 })
    expect(rows(t)).toEqual([['13:01', 0, false, 1]])
  })

  test('that comes over a gap waits for it to be settled', () => {
    const t = timeline()
    t.batch({ readings: [{ seq: 2, eventTimeMs: at('13:00:40') }], endOfStreamSeq: 2 })
    expect(rows(t)).toEqual([])
    t.reading({ seq: 1, eventTimeMs: at('13:00:30') })
    expect(rows(t)).toEqual([['13:01', 0, false, 2]])
  })

  test('that comes again closes nothing again', () => {
    const t = timeline()
    const last = { readings: [{ seq: 1, eventTimeMs: at('13:00:30') }], endOfStreamSeq: 1 }
    t.batch(last)
    t.batch(last)
    expect(rows(t)).toHaveLength(1)
  })

  test('holds no longer when the epoch goes on: hops stay open until the watermark passes them', () => {
    const t = timeline()
    t.batch({ readings: [{ seq: 1, eventTimeMs: at('13:00:30') }], endOfStreamSeq: 1 })
    t.reading({ seq: 2, eventTimeMs: at('13:05:10') })
    t.reading({ seq: 3, eventTimeMs: at('13:05:20') })
    expect(rows(t)).toEqual([['13:01', 0, false, 1]])
    t.reading({ seq: 4, eventTimeMs: at('13:06:10') })
    expect(rows(t)).toEqual([
      ['13:01', 0, false, 1],
      ['13:06', 0, false, 2]
    ])
  })
})
