import { profileSchema, type Value } from '@tidemark/protocol'
import { describe, expect, test } from 'vitest'
import { EVERYTHING } from '../../kit/expect-features.js'
import { at, PUMP, type Timeline, timeline } from '../../kit/timeline.js'

/** Readings by time; seqs count on from `first`. */
function readings(first: number, ...times: (string | [string, Record<string, Value>])[]) {
  return times.map((time, i) => {
    const [text, values] = typeof time === 'string' ? [time, {}] : time
    return { seq: first + i, eventTimeMs: at(text), values: { temperature: 20, ...values } }
  })
}

function hhmm(ms: unknown): string {
  return new Date(ms as number).toISOString().slice(11, 16)
}

/** Rows that are out, without forcing corrections: a tick closes the flush. */
function rows(t: Timeline): unknown[] {
  return t.features().map(row => [hhmm(row.as_of), row.revision, row.event_count])
}

function repairs(t: Timeline): unknown[] {
  t.drain()
  return t.flushes.flatMap(flush => flush.repairs.map(({ deviceId, profile, hourMs }) => [deviceId, profile, hhmm(hourMs)]))
}

describe("a reading at its device's watermark is not late", () => {
  test.each([
    ['by itself', 1],
    ['in a batch', 3]
  ])('%s', (_, size) => {
    const t = timeline()
    for (let seq = 1; seq <= 3 * size; seq += size) t.batch({ readings: readings(seq, ...Array<string>(size).fill('13:00:30')) })
    t.batch({ readings: readings(3 * size + 1, '13:00:29') })
    t.drain()
    expect(t.readings().map(row => row.late)).toEqual([...Array(3 * size).fill(false), true])
  })
})

describe('a late reading', () => {
  //  event   13:00:30   13:01:30   13:03:00      | late: 13:00:40
  //  rows      13:01      13:02                  | both hold it in their 5 min
  test('is archived as late, and the rows that it changes go out again with the next revision', () => {
    const t = timeline({ flushIntervalMs: 1000, smallHourWaitMs: 0 })
    t.batch({ readings: readings(1, '13:00:30', '13:01:30', '13:03') })
    t.tick(1000)
    t.batch({ readings: readings(4, ['13:00:40', { temperature: 50 }]) })
    t.tick(1000)
    expect(t.readings().map(row => row.late)).toEqual([false, false, false, true])
    expect(rows(t)).toEqual([
      ['13:01', 0, 1],
      ['13:02', 0, 1],
      ['13:01', 1, 2],
      ['13:02', 1, 1]
    ])
    expect(t.latestFeatures().map(row => [row.temp_mean_5m, row.temp_max_5m, row.readings_5m])).toEqual([
      [35, 50, 2],
      [30, 50, 3]
    ])
  })

  test('in a hop that had none makes its row for the first time', () => {
    const t = timeline({ flushIntervalMs: 1000, smallHourWaitMs: 0 })
    t.batch({ readings: readings(1, '13:00:30', '13:03:30', '13:05') })
    t.batch({ readings: readings(4, '13:01:30') })
    t.tick(1000)
    expect(rows(t)).toEqual([
      ['13:01', 0, 1],
      ['13:04', 0, 1],
      ['13:02', 0, 1],
      ['13:04', 1, 1]
    ])
  })

  test('names the ingest time at which it became known', () => {
    const t = timeline({ flushIntervalMs: 1000, smallHourWaitMs: 0 })
    t.batch({ readings: readings(1, '13:00:30', '13:03') })
    t.tick(30_000)
    t.batch({ readings: readings(3, '13:00:40') })
    t.tick(2000)
    expect(t.features().map(row => [row.revision, row.known_at])).toEqual([
      [0, at('14:00')],
      [1, at('14:00:31')]
    ])
  })
})

//  hop of 10 min   | 10:00:30 | …            (10:00, 12:00] is the window of rows as of 12:00 to 12:08
test('a late reading corrects the last row whose window of a longer hop holds it', () => {
  const t = timeline({}, [EVERYTHING])
  const reading = (seq: number, time: string) => ({ seq, eventTimeMs: at(time), values: { pulses: 1 } })
  t.batch({ profile: EVERYTHING, readings: [reading(1, '10:05'), reading(2, '12:07'), reading(3, '12:09'), reading(4, '12:11')] })
  t.batch({ profile: EVERYTHING, readings: [reading(5, '10:00:30')] })
  t.drain()
  expect(t.latestFeatures().map(row => [hhmm(row.as_of), row.revision, row.pulses_sum_2h])).toEqual([
    ['10:06', 0, null],
    ['12:08', 1, 2],
    ['12:10', 0, 2]
  ])
})

describe('corrections', () => {
  test('of one device go out at most once in a correction interval', () => {
    const t = timeline({ flushIntervalMs: 1000, smallHourWaitMs: 0, correctionIntervalMs: 60_000 })
    t.batch({ readings: readings(1, '13:00:30', '13:03') })
    for (let seq = 3; seq < 43; seq++) {
      t.batch({ readings: readings(seq, '13:00:40') })
      t.tick(1000)
    }
    // revision 0 at once, revision 1 at the first tick; the other 39 wait together
    expect(rows(t)).toEqual([
      ['13:01', 0, 1],
      ['13:01', 1, 2]
    ])
    t.tick(30_000)
    expect(rows(t).slice(2)).toEqual([['13:01', 2, 41]])
  })

  test('of one device do not wait for those of another', () => {
    const t = timeline({ flushIntervalMs: 1000, smallHourWaitMs: 0 })
    for (const device of ['a', 'b']) t.batch({ device, readings: readings(1, '13:00:30', '13:03') })
    t.batch({ device: 'a', readings: readings(3, '13:00:40') })
    t.tick(10_000)
    t.batch({ device: 'b', readings: readings(3, '13:00:40') })
    t.tick(1000)
    expect(t.features().map(row => [row.device_id, row.revision])).toEqual([
      ['a', 0],
      ['b', 0],
      ['a', 1],
      ['b', 1]
    ])
  })

  test('that wait go out with a drain', () => {
    const t = timeline()
    t.batch({ readings: readings(1, '13:00:30', '13:03') })
    t.batch({ readings: readings(3, '13:00:40') })
    t.drain()
    expect(rows(t)).toEqual([
      ['13:01', 0, 1],
      ['13:01', 1, 2]
    ])
  })

  //  the watermark leaps 3 h: the panes that the waiting correction needs would be gone at the next tick
  test('that wait go out before their panes are dropped', () => {
    const t = timeline()
    t.batch({ readings: readings(1, '10:00:30', '10:03') })
    t.batch({ readings: readings(3, ['10:00:40', { temperature: 30 }]) })
    t.batch({ readings: readings(4, '13:00:30', '13:03') })
    expect(repairs(t)).toEqual([])
    expect(t.latestFeatures()[0]).toMatchObject({ as_of: at('10:01'), revision: 1, temp_mean_5m: 25, readings_5m: 2 })
  })
})

describe('a reading that is later than panes are kept', () => {
  test('is archived, and the hours that it changes are marked for repair', () => {
    const t = timeline()
    t.batch({ readings: readings(1, '09:00:30', '13:00:30', '13:03') })
    t.batch({ readings: readings(4, '11:58:30') })
    expect(repairs(t)).toEqual([
      ['pump-7', 'pump', '11:00'],
      ['pump-7', 'pump', '12:00']
    ])
    expect(t.ledger()).toMatchObject({ archived: 4, late: 1 })
  })

  //  corrections reach back 15 min and the window is 5 min: rows as of 12:49 and later can be computed again
  test('only partly has the rows within reach corrected, and the hour of the others marked', () => {
    const t = timeline()
    const minutely = Array.from({ length: 30 }, (_, i) => `12:${30 + i}:30`)
    t.batch({ readings: readings(1, ...minutely, '13:04:30') })
    t.batch({ readings: readings(32, '12:47:40') })
    expect(repairs(t)).toEqual([['pump-7', 'pump', '12:00']])
    const corrected = t.features().filter(row => row.revision === 1)
    expect(corrected.map(row => [hhmm(row.as_of), row.readings_5m])).toEqual([
      ['12:49', 6],
      ['12:50', 6],
      ['12:51', 6],
      ['12:52', 6]
    ])
  })
})

describe('a profile that changes', () => {
  const version2 = profileSchema.parse({
    ...PUMP,
    version: 2,
    metrics: [{ name: 'noise' }, ...PUMP.metrics],
    features: [...PUMP.features, { name: 'noise_max_5m', metric: 'noise', aggregate: 'max', window: '5m' }]
  })

  //  version  1  1  1 | 2  2
  //  hop         (13:01, 13:02]          holds readings of both: its window goes on
  test('keeps its windows and its revisions across the change', () => {
    const t = timeline()
    t.batch({ readings: readings(1, '13:00:30', '13:01:10', '13:01:20') })
    t.start({}, [PUMP, version2])
    t.batch({ profile: version2, readings: readings(4, ['13:01:30', { noise: 3 }], ['13:02:30', { noise: 2 }], '13:04') })
    t.batch({ profile: version2, readings: readings(7, '13:00:40') })
    t.drain()
    expect(t.features().map(row => [hhmm(row.as_of), row.revision, row.readings_5m, row.noise_max_5m])).toEqual([
      ['13:01', 0, 1, undefined],
      ['13:02', 0, 4, 3],
      ['13:03', 0, 5, 3],
      ['13:01', 1, 2, null],
      ['13:02', 1, 5, 3],
      ['13:03', 1, 6, 3]
    ])
  })

  test('and is sent in two versions by turns has them share their windows', () => {
    const t = timeline({}, [PUMP, version2])
    t.batch({ profile: version2, readings: readings(1, ['13:00:10', { noise: 9 }]) })
    t.batch({ profile: PUMP, readings: readings(2, '13:00:20') })
    t.batch({ profile: version2, readings: readings(3, ['13:00:30', { noise: 1 }]) })
    t.batch({ profile: PUMP, readings: readings(4, '13:01:30') })
    t.drain()
    expect(t.features()).toMatchObject([{ as_of: at('13:01'), revision: 0, event_count: 3, readings_5m: 3, noise_max_5m: 9 }])
    expect(t.features()).toHaveLength(1)
  })

  test('its hop never has a row and a revision twice', () => {
    const t = timeline()
    t.batch({ readings: readings(1, '13:00:30', '13:01:10', '13:05:20') })
    t.start({}, [profileSchema.parse({ ...PUMP, hop: '5m' })])
    t.batch({ readings: readings(4, '13:05:30', '13:09:30', '13:11', '13:04:40') })
    t.drain()
    const names = t.features().map(row => `${hhmm(row.as_of)} ${row.revision}`)
    expect(names).toEqual([...new Set(names)])
    expect(names).toEqual(['13:01 0', '13:02 0', '13:06 0', '13:10 0'])
  })

  test('and is the same again, as after a restart, changes nothing', () => {
    const t = timeline()
    t.batch({ readings: readings(1, '13:00:30', '13:01:10') })
    t.start({}, [])
    t.start({}, [structuredClone(PUMP)])
    t.batch({ readings: readings(3, '13:01:20', '13:02:10') })
    t.drain()
    expect(t.features().map(row => [hhmm(row.as_of), row.revision, row.readings_5m])).toEqual([
      ['13:01', 0, 1],
      ['13:02', 0, 3]
    ])
  })
})

test('features of more profiles than a device may have are marked for repair, its readings archived', () => {
  const profiles = Array.from({ length: 17 }, (_, i) => profileSchema.parse({ ...PUMP, name: `pump-${i}` }))
  const t = timeline({}, profiles)
  for (const [i, profile] of profiles.entries()) t.batch({ profile, readings: readings(2 * i + 1, '13:00:30', '13:02:30') })
  expect(repairs(t)).toEqual([['pump-7', 'pump-16', '13:00']])
  expect(t.readings()).toHaveLength(34)
  expect(t.features()).toHaveLength(16)
})

test('a clock that scatters event times over more hops than are kept sends the older half out, and corrects it later', () => {
  const t = timeline()
  const times = Array.from({ length: 9000 }, (_, i) => at('14:00') - (9000 - i) * 60_000 + 30_000)
  for (let first = 0; first < 9000; first += 1000) {
    t.batch({ readings: times.slice(first, first + 1000).map((eventTimeMs, i) => ({ seq: first + i + 2, eventTimeMs })) })
  }
  expect(t.stats().featureRows).toBeGreaterThan(4000)
  t.reading({ seq: 1, eventTimeMs: times[0] - 60_000 })
  t.drain()
  expect(t.features().filter(row => row.revision === 0)).toHaveLength(8999)
})
