/** The same log gives the same flushes, to the bit, wherever the processor is restored from. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decode, encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { SqliteEventIdStore } from '../../../gateway/src/event-id-store.js'
import type { LogEntry } from '../../../gateway/src/log/schema.js'
import type { EventIdStore } from '../../../gateway/src/processor/event-ids.js'
import type { Flush } from '../../../gateway/src/processor/flush.js'
import { Processor } from '../../../gateway/src/processor/processor.js'
import { log, writeLog } from '../../kit/arbitrary-log.js'
import { EventIdsInMemory } from '../../kit/event-ids-in-memory.js'
import { unresolvedRows } from '../../kit/requeues.js'
import { at, Timeline, timeline } from '../../kit/timeline.js'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-determinism-'))
afterAll(() => rmSync(folder, { recursive: true }))
let files = 0

/** The flushes of the entries behind the snapshot; `onFlush` sees each before the next entry is applied. */
function replay(
  entries: readonly LogEntry[],
  eventIds: EventIdStore,
  snapshot: readonly Uint8Array[] | null,
  onFlush = (_flush: Flush, _entry: LogEntry) => {},
  committedEntry = 0
): Flush[] {
  const processor = new Processor(eventIds, snapshot, committedEntry)
  const flushes: Flush[] = []
  for (const entry of entries.slice(processor.entry)) {
    const flush = processor.apply(entry)
    if (flush === null) continue
    onFlush(flush, entry)
    flushes.push(flush)
  }
  return flushes
}

function expectSame(actual: readonly Flush[], expected: readonly Flush[]): void {
  if (actual.length === expected.length && actual.every((flush, i) => Buffer.compare(encode(flush), encode(expected[i])) === 0)) return
  expect(actual).toEqual(expected)
  throw new Error('the flushes differ in bits that do not show')
}

/** Each snapshot, and the flushes behind it. They were taken device by device, while the log went on. */
function restarts(t: Timeline): { snapshot: readonly Uint8Array[]; behind: readonly Flush[] }[] {
  t.finishSnapshot()
  return Array.from(t.snapshots, ([flushes, snapshot]) => ({ snapshot, behind: t.flushes.slice(flushes) }))
}

/** All parts of a snapshot, at once. */
function partsOf(processor: Processor): Uint8Array[] {
  const encoder = processor.beginSnapshot()
  const parts: Uint8Array[] = []
  for (let part = encoder.next(); part !== null; part = encoder.next()) parts.push(part)
  return parts
}

describe('the same log gives the same flushes', () => {
  test('when it is applied again from the beginning', () => {
    fc.assert(
      fc.property(log, steps => {
        const t = new Timeline()
        writeLog(t, steps)
        expectSame(replay(t.entries, new EventIdsInMemory(), null), t.flushes)
      }),
      { numRuns: 40 }
    )
  })

  test('when it is applied from any snapshot on, over a store of event IDs that is ahead of it', () => {
    let restarted = 0
    fc.assert(
      fc.property(log, steps => {
        const eventIds = new EventIdsInMemory()
        const t = new Timeline(eventIds)
        writeLog(t, steps)
        for (const { snapshot, behind } of restarts(t)) {
          expectSame(replay(t.entries, eventIds, snapshot), behind)
          restarted++
        }
      }),
      { numRuns: 40 }
    )
    expect(restarted).toBeGreaterThan(100)
  })

  test('when what is committed needs no rows, from any snapshot and any boundary on', () => {
    let spared = 0
    fc.assert(
      fc.property(log, fc.nat(), (steps, random) => {
        const eventIds = new EventIdsInMemory()
        const t = new Timeline(eventIds)
        writeLog(t, steps)
        for (const { snapshot, behind } of restarts(t)) {
          const committed = random % (behind.length + 1)
          const committedEntry = committed === 0 ? 0 : behind[committed - 1].lastEntry
          const again = replay(t.entries, eventIds, snapshot, () => {}, committedEntry)
          expect(again.slice(0, committed).map(({ lastEntry }) => lastEntry)).toEqual(
            behind.slice(0, committed).map(({ lastEntry }) => lastEntry)
          )
          expectSame(again.slice(committed), behind.slice(committed))
          for (const { files } of behind.slice(0, committed)) for (const { rows } of files) spared += rows
        }
      }),
      { numRuns: 60 }
    )
    expect(spared).toBeGreaterThan(1000)
  })

  test('when the processor is restarted at every snapshot', () => {
    fc.assert(
      fc.property(log, steps => {
        const t = new Timeline()
        writeLog(t, steps)
        const flushes: Flush[] = []
        const ownIds = new EventIdsInMemory()
        let processor = new Processor(ownIds)
        for (const entry of t.entries) {
          const flush = processor.apply(entry)
          if (flush === null) continue
          flushes.push(flush)
          if (flush.snapshotIsDue) processor = new Processor(ownIds, partsOf(processor))
        }
        expectSame(flushes, t.flushes)
      }),
      { numRuns: 40 }
    )
  })

  test('with event IDs in SQLite, which a crash takes back to the last boundary', () => {
    fc.assert(
      fc.property(log, fc.nat(), (steps, random) => {
        const t = new Timeline()
        writeLog(t, steps)
        const path = join(folder, `${++files}.sqlite`)
        const first = new SqliteEventIdStore(path)
        const ran = replay(t.entries, first, null, (_, { ingestMs }) => first.commit(ingestMs))
        first.close()
        expectSame(ran, t.flushes)
        const points = restarts(t)
        const { snapshot, behind } = points[random % points.length]
        const second = new SqliteEventIdStore(path)
        expectSame(
          replay(t.entries, second, snapshot, (_, { ingestMs }) => second.commit(ingestMs)),
          behind
        )
        second.close()
      }),
      { numRuns: 20 }
    )
  })

  test('when quarantined bytes of an hour gone by wait in the snapshot', () => {
    const payload = new Uint8Array(100_000)
    const t = timeline({ snapshotEvery: 1 })
    t.leap(at('14:59:30') - t.nowMs)
    t.drain()
    for (let i = 0; i < 300; i++) t.message('batch', payload)
    t.tick(60_000)
    for (let i = 0; i < 400; i++) t.message('batch', payload)
    expect(t.flushes.map(flush => flush.files.map(file => file.rows))).toEqual([[], [], [300, 372]])
    for (const { snapshot, behind } of restarts(t)) expectSame(replay(t.entries, new EventIdsInMemory(), snapshot), behind)
  })
})

interface DevicesPart {
  readonly plans: readonly unknown[]
  readonly devices: readonly Uint8Array[]
}

function devicesOf([, ...parts]: readonly Uint8Array[]): { place: number; features: { plan: number }[] }[] {
  return parts.flatMap(part => (decode(part) as DevicesPart).devices).map(bytes => decode(bytes) as ReturnType<typeof devicesOf>[number])
}

function placesOf(parts: readonly Uint8Array[]): number[] {
  return devicesOf(parts).map(({ place }) => place)
}

/** What a snapshot holds, in an order that does not depend on when its parts were taken. */
function contentsOf(parts: readonly Uint8Array[]): unknown {
  const plans = parts.slice(1).flatMap(part => (decode(part) as DevicesPart).plans)
  const devices = devicesOf(parts).map(device => ({
    ...device,
    features: device.features.map(each => ({ ...each, plan: plans[each.plan] }))
  }))
  return { head: decode(parts[0]), devices: devices.sort((a, b) => a.place - b.place) }
}

describe('a snapshot', () => {
  test('holds the rows that wait', () => {
    const t = timeline({ snapshotEvery: 1 })
    t.batch({ readings: [{ seq: 1, eventTimeMs: at('12:30'), values: { temperature: 21, place: 'hall 1' } }] })
    t.tick(60_000)
    expect(t.readings()).toEqual([])
    const [flush] = replay(
      t.entries.concat({ ...t.entries[1], entry: t.entries.length + 1 }),
      new EventIdsInMemory(),
      restarts(t)[0].snapshot
    )
    expect(flush).toBeUndefined()
    t.tick(600_000)
    const again = replay(t.entries, new EventIdsInMemory(), restarts(t)[0].snapshot)
    expect(again.flatMap(({ files }) => files).filter(({ layer }) => layer === 'processed')).toMatchObject([{ rows: 1 }])
  })

  test('of another version is refused', () => {
    expect(() => new Processor(new EventIdsInMemory(), [encode({ version: 99 })])).toThrow('the snapshot has version 99')
  })

  test('without a part of it is refused', () => {
    const t = timeline({ snapshotEvery: 1 })
    for (const device of ['a', 'b']) t.batch({ device, readings: [{ seq: 1, eventTimeMs: at('14:00') }] })
    t.drain()
    const [{ snapshot }] = restarts(t)
    expect(snapshot).toHaveLength(3)
    expect(() => new Processor(new EventIdsInMemory(), snapshot.slice(0, 2))).toThrow('the snapshot lacks device 1 of 2')
    expect(() => new Processor(new EventIdsInMemory(), [])).toThrow('the snapshot is empty')
  })

  test('holds no revision that is noted while it is taken', () => {
    const t = timeline({ snapshotEvery: 1 })
    for (const device of ['a', 'b']) t.batch({ device, readings: [1, 2].map(seq => ({ seq, eventTimeMs: at('14:00') + seq * 60_000 })) })
    t.drain()
    const [{ snapshot }] = restarts(t)
    const processor = new Processor(new EventIdsInMemory(), snapshot)
    const encoder = processor.beginSnapshot(1)
    const parts = [encoder.next()!]
    const [asOfMs] = processor.featuresOf('b', 'pump')!.recomputableEnds()
    processor.noteRevision('b', 'pump', asOfMs, 7)
    for (let part = encoder.next(); part !== null; part = encoder.next()) parts.push(part)
    expect(contentsOf(parts)).toEqual(contentsOf(snapshot))
    expect(contentsOf(partsOf(processor))).not.toEqual(contentsOf(snapshot))
  })

  test('taken in parts while the log goes on is the state as of its boundary', () => {
    let changed = 0
    fc.assert(
      fc.property(log, steps => {
        const t = new Timeline()
        writeLog(t, steps)
        const inParts = restarts(t).map(({ snapshot }) => snapshot)
        const processor = new Processor(new EventIdsInMemory())
        const atOnce: Uint8Array[][] = []
        for (const entry of t.entries) if (processor.apply(entry)?.snapshotIsDue) atOnce.push(partsOf(processor))
        expect(inParts).toHaveLength(atOnce.length)
        for (const [i, parts] of inParts.entries()) {
          expect(contentsOf(parts)).toEqual(contentsOf(atOnce[i]))
          changed += Number(placesOf(parts).some((place, k) => place !== k))
        }
      }),
      { numRuns: 40 }
    )
    expect(changed, 'snapshots in which a device changed before its turn').toBeGreaterThan(10)
  })
})

test('every ledger of every log balances, and every reading has one fate, however often it is requeued', () => {
  let resolved = 0
  let stale = 0
  fc.assert(
    fc.property(log, steps => {
      const t = new Timeline()
      writeLog(t, steps)
      for (const { highestSampledSeq, archived, quarantined, shed, buffered, missing, waiting } of t.allLedgers()) {
        expect(archived + quarantined + shed + buffered + missing).toBe(highestSampledSeq)
        expect(waiting).toBe(0)
      }
      const identities = t.readings().map(row => `${row.device_id}/${row.epoch}/${row.seq}/${row.event_id}`)
      expect(new Set(identities).size).toBe(identities.length)
      const sum = (of: 'archived' | 'quarantined') => t.allLedgers().reduce((total, ledger) => total + ledger[of], 0)
      expect(sum('archived')).toBe(identities.length)
      const unresolved = unresolvedRows(t.flushes)
      expect(sum('quarantined')).toBe(unresolved.filter(row => row.accounted).length)
      expect(t.quarantine().length - unresolved.length).toBe(t.stats().resolved)
      const fates = [
        ...identities,
        ...unresolved.filter(row => row.accounted).map(row => `${row.device_id}/${row.epoch}/${row.seq}/${row.event_id}`)
      ]
      expect(new Set(fates).size).toBe(fates.length)
      resolved += t.stats().resolved
      stale += t.stats().staleRequeues
      const rows = t.features().map(row => `${row.device_id}/${row.as_of}/${row.revision}`)
      expect(t.stats()).toMatchObject({
        archived: identities.length,
        quarantined: t.quarantine().length,
        featureRows: rows.length,
        rowsWaiting: 0
      })
    }),
    { numRuns: 80 }
  )
  expect(resolved).toBeGreaterThan(50)
  expect(stale).toBeGreaterThan(20)
})
