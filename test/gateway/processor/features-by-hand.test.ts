import { ROTATING_MACHINE, type Value } from '@tidemark/protocol'
import { describe, expect, test } from 'vitest'
import { Processor } from '../../../gateway/src/processor/processor.js'
import { EventIdsInMemory } from '../../kit/event-ids-in-memory.js'
import { EVERYTHING } from '../../kit/expect-features.js'
import { at, Timeline, timeline } from '../../kit/timeline.js'

/** Readings of a rotating machine by time; vibration is 1 unless it is given. */
function machine(...readings: [time: string, temperature: number, more?: Record<string, Value>][]): Timeline {
  const t = timeline({}, [ROTATING_MACHINE])
  t.batch({
    profile: ROTATING_MACHINE,
    readings: readings.map(([time, temperature, more], i) => ({
      seq: i + 1,
      eventTimeMs: at(time),
      values: { temperature, vibration: 1, ...more }
    })),
    endOfStreamSeq: readings.length
  })
  t.drain()
  return t
}

describe('a window', () => {
  //  (12:00, 13:00] holds 13:00 and not 12:00
  test('is open at its start and closed at its end', () => {
    const [, row] = machine(['12:00', 10], ['13:00', 30]).latestFeatures()
    expect(row).toMatchObject({ as_of: at('13:00'), temp_mean_1h: 30, event_count: 1 })
  })

  //  as of    13:01 … 13:09        13:10
  //  24 h     up to 13:00          up to 13:10
  test('of a longer hop ends at the latest multiple of it', () => {
    const rows = machine(['12:59', 10], ['13:00:30', 20], ['13:10', 30]).latestFeatures()
    expect(rows.map(row => [row.as_of, row.temp_mean_24h, row.temp_mean_1h])).toEqual([
      [at('12:59'), null, 10],
      [at('13:01'), 10, 15],
      [at('13:10'), 20, 20]
    ])
  })

  test('gives null for the deviation of one reading, and for the rate of two at one time', () => {
    const [one] = machine(['13:00:30', 10]).latestFeatures()
    expect(one).toMatchObject({ temp_std_1h: null, temp_rate_of_change: null, temp_mean_1h: 10, power_sum_24h: null })
    const [two] = machine(['13:00:30', 10], ['13:00:30', 14]).latestFeatures()
    expect(two).toMatchObject({ temp_std_1h: Math.sqrt(8), temp_rate_of_change: null })
  })

  test('gives the rate of the last two readings per 5 min', () => {
    const [row] = machine(['13:00:10', 99], ['13:00:20', 10], ['13:00:50', 13]).latestFeatures()
    expect(row.temp_rate_of_change).toBeCloseTo(30, 12)
  })

  test('says how many of the readings that it should hold it holds', () => {
    const rows = machine(['13:00', 10], ['13:00:05', 10], ['13:10', 10]).latestFeatures()
    expect(rows.map(row => row.coverage)).toEqual([1 / 17_280, 1 / 17_280, 3 / 17_280])
  })
})

describe('a flag', () => {
  test('is null where an operand is', () => {
    const [row] = machine(['13:00:30', 10]).latestFeatures()
    expect(row.temp_anomaly).toBeNull()
  })

  test('is up when some reading of the hop deviates, upwards or downwards', () => {
    const steady = Array.from({ length: 30 }, (_, i): [string, number] => [`13:${10 + i}`, 50 + (i % 2)])
    for (const odd of [90, 10]) {
      const rows = machine(...steady, ['13:41:10', odd], ['13:41:20', 50], ['13:42:10', 50]).latestFeatures()
      expect(rows.slice(-2).map(row => row.temp_anomaly)).toEqual([true, false])
    }
  })

  test('is down where nothing varies', () => {
    const rows = machine(['13:10', 50], ['13:11', 50], ['13:12', 50]).latestFeatures()
    expect(rows.slice(1).map(row => [row.temp_std_1h, row.temp_anomaly])).toEqual([
      [0, false],
      [0, false]
    ])
  })

  test('compares the hop with the window', () => {
    const calm = Array.from({ length: 10 }, (_, i): [string, number] => [`13:0${i}:30`, 50])
    const rows = machine(...calm, ['13:10:20', 50, { vibration: 9 }], ['13:11:30', 50]).latestFeatures()
    expect(rows.slice(-2).map(row => row.vibration_spike)).toEqual([true, false])
  })
})

describe('readings of one time', () => {
  test('are in the order of their epochs, then of their seqs', () => {
    const t = timeline({}, [EVERYTHING])
    const level = (seq: number, value: number) => ({ seq, eventTimeMs: at('13:01'), values: { level: value } })
    t.batch({ profile: EVERYTHING, epoch: 9, readings: [level(2, 92)], endOfStreamSeq: 2 })
    t.batch({ profile: EVERYTHING, epoch: 9, readings: [level(1, 91)] })
    t.batch({ profile: EVERYTHING, epoch: 5, readings: [level(7, 57)], oldestHeldSeq: 7, endOfStreamSeq: 7 })
    t.drain()
    expect(t.latestFeatures()).toMatchObject([{ level_last_6m: 92, event_count: 3 }])
  })

  test('with opaque IDs are in the order of the log', () => {
    const t = timeline({ allowedLatenessMs: 0 }, [EVERYTHING])
    const level = (id: string, value: number) => ({ event_id: id, event_time: at('13:01'), profile: 'everything', level: value })
    t.json([level('z', 1), level('a', 2)])
    t.json([level('m', 3), level('b', 4)])
    t.json({ ...level('end', 0), event_time: at('13:02:01') })
    t.drain()
    expect(t.latestFeatures()).toMatchObject([{ as_of: at('13:02'), level_last_6m: 4, event_count: 4 }])
  })
})

test('the block of a device in time is no longer when its windows of an hour are full than when they began', () => {
  const processor = new Processor(new EventIdsInMemory())
  const t = new Timeline(new EventIdsInMemory(), [], processor).start({}, [ROTATING_MACHINE])
  const lengths: number[] = []
  for (let seq = 1; seq <= 150; seq++) {
    t.reading({ profile: ROTATING_MACHINE, seq, eventTimeMs: at('10:00') + seq * 30_000, values: { temperature: 20, vibration: 1 } })
    lengths.push(processor.featuresOf('pump-7', 'rotating-machine')!.block.length)
  }
  expect(new Set(lengths.slice(0, 2)).size).toBe(1)
  expect(lengths.at(-1)).toBe(lengths[0])
})

test('a pane that has become old and gets more readings than an old one can count loses nothing', () => {
  const t = timeline({}, [ROTATING_MACHINE])
  const MOST = 65_535
  let seq = 0
  const send = (temperature: number, ...times: number[]) =>
    t.batch({
      profile: ROTATING_MACHINE,
      readings: times.map(eventTimeMs => ({ seq: ++seq, eventTimeMs, values: { temperature, vibration: 1, power_consumption: 2 } }))
    })
  while (seq < MOST) send(10, ...Array.from({ length: Math.min(1000, MOST - seq) }, (_, i) => at('08:00') + (seq + i + 1) * 9))
  send(10, at('12:00'), at('12:01'))
  for (const time of ['08:05', '08:06']) send(200, at(time))
  send(10, at('13:00'), at('13:01'))
  t.drain()
  const row = t.latestFeatures().find(({ as_of }) => as_of === at('13:00'))!
  expect(row.power_sum_24h).toBe(2 * (MOST + 5))
  expect(row.temp_mean_24h).toBeCloseTo((10 * (MOST + 3) + 2 * 200) / (MOST + 5), 9)
})
