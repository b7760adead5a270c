import { describe, expect, test } from 'vitest'
import { ledgersOf } from '../../../gateway/src/processor/ledger.js'
import { PAYLOAD_BYTES_WAITING_MAX } from '../../../gateway/src/processor/outputs.js'
import { at, timeline } from '../../kit/timeline.js'

const HOUR_MS = 3_600_000

/** Within one hop, so that no feature row goes out. */
function readings(first: number, count: number, time: string) {
  return Array.from({ length: count }, (_, i) => ({ seq: first + i, eventTimeMs: at(time) + 1 + i }))
}

describe('a flush boundary lies', () => {
  test('behind the tick that closes the flush interval', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 3, '14:00') })
    t.tick(59_000)
    expect(t.flushes).toEqual([])
    t.tick(1000)
    expect(t.flushes).toHaveLength(1)
    expect(t.flushes[0]).toMatchObject({ shard: 0, firstEntry: 1, lastEntry: t.entries.length })
  })

  test('behind a tick only: a message at that time makes none', () => {
    const t = timeline()
    t.leap(120_000)
    expect(t.batch({ readings: readings(1, 3, '14:00') })).toBeNull()
    t.tick(1000)
    expect(t.flushes).toHaveLength(1)
  })

  test('behind so many rows, whatever the time', () => {
    const t = timeline({ flushRows: 10 })
    expect(t.batch({ readings: readings(1, 9, '14:00') })).toBeNull()
    const flush = t.batch({ readings: readings(10, 9, '14:00:01') })
    expect(flush?.files).toMatchObject([{ rows: 18 }])
  })

  test('between entries, so that a large one is not cut', () => {
    const t = timeline({ flushRows: 10 })
    const flush = t.batch({ readings: readings(1, 500, '14:00') })
    expect(flush?.files).toMatchObject([{ rows: 500 }])
  })

  test('behind a drain, even when nothing waits', () => {
    const t = timeline()
    expect(t.drain()).toMatchObject({ firstEntry: 1, lastEntry: 2, files: [] })
    expect(t.drain()).toMatchObject({ firstEntry: 3, lastEntry: 3, files: [] })
  })

  test('nowhere in an hour of ticks alone', () => {
    const t = timeline()
    t.drain()
    t.tick(HOUR_MS - 1000)
    expect(t.flushes).toHaveLength(1)
    t.tick(1000)
    expect(t.flushes).toHaveLength(2)
  })

  test('behind so many bytes of quarantined payloads, which all go out', () => {
    const t = timeline()
    const payload = new Uint8Array(100_000)
    const messages = Math.ceil(PAYLOAD_BYTES_WAITING_MAX / payload.length)
    t.message('batch', payload)
    t.leap(HOUR_MS) // what is there belongs to a small hour that waits
    for (let i = 2; i < messages; i++) t.message('batch', payload)
    expect(t.flushes).toEqual([])
    expect(t.message('batch', payload)?.files.map(({ rows }) => rows)).toEqual([1, messages - 1])
    expect(t.message('batch', payload)).toBeNull()
  })
})

describe('rows of an hour behind the current one', () => {
  test('wait while they are few, and go out when they have waited', () => {
    const t = timeline()
    t.batch({ readings: [...readings(1, 3, '13:00'), ...readings(4, 2, '14:00')] })
    t.tick(60_000)
    expect(t.flushes[0].files.map(({ hourMs, rows }) => [hourMs, rows])).toEqual([[at('14:00'), 2]])
    t.tick(540_000)
    const files = t.flushes.flatMap(flush => flush.files).filter(({ layer }) => layer === 'processed')
    expect(files.map(({ hourMs, rows }) => [hourMs, rows])).toEqual([
      [at('14:00'), 2],
      [at('13:00'), 3]
    ])
  })

  test('wait together with those that join them', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 3, '13:00') })
    t.tick(300_000)
    t.batch({ readings: readings(4, 3, '13:00:10') })
    t.tick(300_000)
    expect(t.flushes.flatMap(({ files }) => files).map(({ rows }) => rows)).toEqual([6])
  })

  test('do not wait when they are many', () => {
    const t = timeline({ smallHourRows: 3 })
    t.batch({ readings: [...readings(1, 3, '13:00'), ...readings(4, 2, '12:00')] })
    t.tick(60_000)
    expect(t.flushes[0].files.map(({ hourMs, rows }) => [hourMs, rows])).toEqual([[at('13:00'), 3]])
  })

  test('go out with a drain', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 3, '13:00') })
    t.drain()
    expect(t.readings()).toHaveLength(3)
  })

  test('go out on ticks alone', () => {
    const t = timeline()
    t.batch({ readings: readings(1, 3, '13:00') })
    t.tick(61_000)
    t.tick(600_000)
    expect(t.readings()).toHaveLength(3)
  })
})

describe('the ledger of a flush', () => {
  test('says how many archived readings wait, and says so again when they are out', () => {
    const t = timeline()
    t.batch({ readings: [...readings(1, 3, '13:00'), ...readings(4, 2, '14:00')] })
    t.json({ event_id: 'a', event_time: at('13:00'), profile: 'pump', temperature: 20 })
    t.tick(60_000)
    expect([t.ledger(), t.ledger('meter-1', 0)]).toMatchObject([
      { archived: 5, waiting: 3 },
      { archived: 1, waiting: 1 }
    ])
    t.tick(600_000)
    expect([t.ledger(), t.ledger('meter-1', 0)]).toMatchObject([
      { archived: 5, waiting: 0 },
      { archived: 1, waiting: 0 }
    ])
  })

  test('names the epochs that changed, and no others', () => {
    const t = timeline()
    t.batch({ device: 'a', readings: readings(1, 1, '14:00') })
    t.batch({ device: 'b', readings: readings(1, 1, '14:00') })
    t.tick(60_000)
    t.batch({ device: 'b', readings: readings(1, 1, '14:00') })
    t.tick(60_000)
    expect(t.flushes.map(flush => ledgersOf(flush).map(({ deviceId }) => deviceId))).toEqual([['a', 'b'], ['b']])
  })

  test('names every epoch of a device that has many', () => {
    const t = timeline()
    const sent = [['a', 1], ...Array.from({ length: 40 }, (_, i) => ['b', i + 1])] as [string, number][]
    for (const [device, epoch] of sent) t.batch({ device, epoch, readings: readings(1, 1, '14:00') })
    expect(ledgersOf(t.drain()).map(({ deviceId, epoch, archived }) => [deviceId, epoch, archived])).toEqual(
      sent.map(([device, epoch]) => [device, epoch, 1])
    )
  })

  test('counts the readings of each hour that the flush brings', () => {
    const t = timeline()
    t.batch({ readings: [...readings(1, 2, '13:59'), ...readings(3, 1, '14:00'), ...readings(4, 1, '13:59:30')] })
    expect(t.drain().hours).toEqual([
      { profile: 'pump', hourMs: at('13:00'), archived: 3, late: 1 },
      { profile: 'pump', hourMs: at('14:00'), archived: 1, late: 0 }
    ])
    t.batch({ readings: readings(5, 1, '14:00:10') })
    expect(t.drain().hours).toEqual([{ profile: 'pump', hourMs: at('14:00'), archived: 1, late: 0 }])
  })
})

describe('a snapshot', () => {
  test('is taken at every so many boundaries, and at a drain', () => {
    const t = timeline({ snapshotEvery: 3 })
    for (let i = 1; i <= 7; i++) {
      t.batch({ readings: readings(i, 1, '14:00') })
      t.tick(60_000)
    }
    t.drain()
    expect(t.flushes.map(({ snapshotIsDue }) => snapshotIsDue)).toEqual([false, false, true, false, false, true, false, true])
  })
})

test('time that the gateway was down is a boundary at the first tick', () => {
  const t = timeline()
  t.batch({ readings: readings(1, 1, '14:00') })
  t.leap(HOUR_MS)
  t.start()
  t.tick(1000)
  expect(t.flushes).toHaveLength(1)
})

test('a hole in the log is refused', () => {
  const t = timeline()
  t.entries.length = 3
  expect(() => t.append({ kind: 'tick' })).toThrow('the log has no entry 2: it goes on with 4')
})
