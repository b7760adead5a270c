import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { SqliteEventIdStore } from '../../../gateway/src/event-id-store.js'
import { eventIdBytes } from '../../../gateway/src/processor/event-ids.js'
import { EventIdsInMemory } from '../../kit/event-ids-in-memory.js'
import { at, Timeline, timeline } from '../../kit/timeline.js'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const HEARTBEAT_MS = 30_000

const folder = mkdtempSync(join(tmpdir(), 'tidemark-event-ids-'))
afterAll(() => rmSync(folder, { recursive: true }))
let files = 0
const newPath = () => join(folder, `${++files}.sqlite`)

function reading(id: string, time = '13:30', more = {}) {
  return { event_id: id, event_time: at(time), profile: 'pump', temperature: 20, ...more }
}

describe('an opaque event ID', () => {
  test('is taken once, in one array and over messages', () => {
    const t = timeline()
    t.json([reading('a'), reading('b'), reading('a')])
    t.json(reading('a'))
    t.json(reading('b', '13:31'))
    t.drain()
    expect(t.readings().map(row => row.event_id)).toEqual(['a', 'b'])
    expect(t.ledger('meter-1', 0)).toMatchObject({ highestSampledSeq: 2, archived: 2, duplicates: 3, buffered: 0, missing: 0, shed: 0 })
  })

  test('is of one device', () => {
    const t = timeline()
    t.json(reading('a'), 'meter-1')
    t.json(reading('a'), 'meter-2')
    t.drain()
    expect(t.readings()).toHaveLength(2)
  })

  test('is a duplicate of a quarantined reading as well', () => {
    const t = timeline()
    t.json(reading('a', '13:30', { temperature: 999 }))
    t.json(reading('a'))
    t.drain()
    expect(t.readings()).toEqual([])
    expect(t.ledger('meter-1', 0)).toMatchObject({ quarantined: 1, duplicates: 1 })
  })

  test('is remembered for 72 h of ingest time', () => {
    const t = timeline()
    t.json(reading('a'))
    t.tick(72 * HOUR_MS, HEARTBEAT_MS)
    t.json(reading('a'))
    t.tick(1000)
    t.json(reading('a'))
    t.json(reading('a'))
    t.drain()
    expect(t.readings()).toHaveLength(2)
    expect(t.ledger('meter-1', 0)).toMatchObject({ archived: 2, duplicates: 2 })
  })

  test('beyond the byte cap is quarantined, and is not the fate of a reading', () => {
    const t = timeline({ eventIdBytesMax: 2 * eventIdBytes('meter-1', 'a') })
    t.json([reading('a'), reading('b'), reading('c')])
    t.json(reading('a'))
    t.drain()
    expect(t.quarantine()).toMatchObject([{ event_id: 'c', reason: 'event-id-store-full', accounted: false }])
    expect(t.ledger('meter-1', 0)).toMatchObject({ archived: 2, quarantined: 0, duplicates: 1 })
  })

  test('has its bytes given back when it expires', () => {
    const t = timeline({ eventIdBytesMax: 2 * eventIdBytes('meter-1', 'a') })
    t.json([reading('a'), reading('b')])
    t.tick(72 * HOUR_MS + 61_000, HEARTBEAT_MS)
    t.json([reading('c'), reading('d'), reading('e')])
    t.drain()
    expect(t.quarantine()).toMatchObject([{ event_id: 'e', reason: 'event-id-store-full' }])
    expect(t.readings()).toHaveLength(4)
  })
})

describe.each([
  ['in memory', () => new EventIdsInMemory()],
  ['in SQLite', () => new SqliteEventIdStore(newPath())]
])('a store of event IDs %s', (_, open) => {
  test('knows an ID only from a lower position, and only since a time', () => {
    const store = open()
    store.add('meter-1', 'a', { entry: 5, place: 7 }, 1000)
    store.add('meter-1', 'a', { entry: 5, place: 7 }, 1000)
    const has = (entry: number, place: number, sinceMs: number) => store.has('meter-1', 'a', { entry, place }, sinceMs)
    expect([has(5, 7, 0), has(5, 6, 0), has(4, 9, 0), has(5, 8, 0), has(6, 0, 0), has(6, 0, 1000), has(6, 0, 1001)]).toEqual([
      false,
      false,
      false,
      true,
      true,
      true,
      false
    ])
    expect(store.has('meter-2', 'a', { entry: 9, place: 0 }, 0)).toBe(false)
    expect([store.bytesBetween(1000, 1001), store.bytesBetween(0, 1000)]).toEqual([eventIdBytes('meter-1', 'a'), 0])
  })
})

describe('the store in SQLite', () => {
  test('keeps what was committed, and takes back what was not', () => {
    const path = newPath()
    const store = new SqliteEventIdStore(path)
    store.add('m', 'a', { entry: 1, place: 0 }, 1000)
    store.commit(1000)
    store.add('m', 'b', { entry: 2, place: 0 }, 2000)
    const other = new SqliteEventIdStore(path) // as after a crash: what is in the transaction is not there
    expect([other.has('m', 'a', { entry: 9, place: 0 }, 0), other.has('m', 'b', { entry: 9, place: 0 }, 0)]).toEqual([true, false])
    store.close()
    other.close()
  })

  test('purges an ID eight days after it expired', () => {
    const store = new SqliteEventIdStore(newPath())
    store.add('m', 'a', { entry: 1, place: 0 }, 0)
    for (let hour = 0; hour <= 264; hour++) {
      store.add('m', `b${hour}`, { entry: 2 + hour, place: 0 }, hour * HOUR_MS)
      store.commit(hour * HOUR_MS)
    }
    expect(store.has('m', 'a', { entry: 999, place: 0 }, 0)).toBe(true)
    store.add('m', 'c', { entry: 300, place: 0 }, 265 * HOUR_MS)
    store.commit(265 * HOUR_MS)
    expect(store.has('m', 'a', { entry: 999, place: 0 }, 0)).toBe(false)
    store.close()
  })

  //  ID a     snapshot      down for 5 days      a flush, then a crash: the replay begins at the snapshot
  test('after days of downtime still has what a replay from before them looks for', () => {
    const store = new SqliteEventIdStore(newPath())
    const beforeMs = 3 * DAY_MS
    store.add('m', 'a', { entry: 1, place: 0 }, beforeMs - 71 * HOUR_MS)
    store.commit(beforeMs)
    for (let i = 0; i < 20; i++) {
      store.add('m', `b${i}`, { entry: 10 + i, place: 0 }, beforeMs + 5 * DAY_MS + i * 60_000)
      store.commit(beforeMs + 5 * DAY_MS + i * 60_000)
    }
    expect(store.has('m', 'a', { entry: 2, place: 0 }, beforeMs - 72 * HOUR_MS)).toBe(true)
    store.close()
  })

  test('gives the same flushes as the one in memory', () => {
    const play = (t: Timeline): Timeline => {
      t.start({ eventIdBytesMax: 700 })
      for (let i = 0; i < 30; i++) {
        t.json([reading(`a${i % 7}`), reading(`b${i}`), reading(`a${i % 7}`)])
        t.tick(4 * HOUR_MS, 600_000)
      }
      t.drain()
      return t
    }
    const store = new SqliteEventIdStore(newPath())
    const [inSqlite, inMemory] = [play(new Timeline(store)), play(new Timeline())]
    store.close()
    expect(inSqlite.flushes).toEqual(inMemory.flushes)
    expect(inMemory.quarantine().length).toBeGreaterThan(5)
    expect(inMemory.readings().length).toBeGreaterThan(20)
  })
})
