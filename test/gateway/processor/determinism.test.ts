/** The same log gives the same flushes, to the bit, wherever the processor is restored from. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encode } from '@msgpack/msgpack'
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
  snapshot: Uint8Array | null,
  onFlush = (_flush: Flush, _entry: LogEntry) => {}
): Flush[] {
  const processor = new Processor(eventIds, snapshot)
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
  expect(actual.map(readable)).toEqual(expected.map(readable))
  throw new Error('the flushes differ in bits that do not show')
}

function readable(flush: Flush): unknown {
  return { ...flush, snapshot: flush.snapshot === null ? null : Buffer.from(flush.snapshot).toString('latin1') }
}

/** Each snapshot, and the flushes behind it. */
function restarts(flushes: readonly Flush[]): { snapshot: Uint8Array; behind: readonly Flush[] }[] {
  return flushes.flatMap(({ snapshot }, i) => (snapshot === null ? [] : [{ snapshot, behind: flushes.slice(i + 1) }]))
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
        for (const { snapshot, behind } of restarts(t.flushes)) {
          expectSame(replay(t.entries, eventIds, snapshot), behind)
          restarted++
        }
      }),
      { numRuns: 40 }
    )
    expect(restarted).toBeGreaterThan(100)
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
          if (flush.snapshot !== null) processor = new Processor(ownIds, flush.snapshot.slice())
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
        const points = restarts(t.flushes)
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
    for (const { snapshot, behind } of restarts(t.flushes)) expectSame(replay(t.entries, new EventIdsInMemory(), snapshot), behind)
  })
})

describe('a snapshot', () => {
  test('holds the rows that wait', () => {
    const t = timeline({ snapshotEvery: 1 })
    t.batch({ readings: [{ seq: 1, eventTimeMs: at('12:30'), values: { temperature: 21, place: 'hall 1' } }] })
    t.tick(60_000)
    expect(t.readings()).toEqual([])
    const [flush] = replay(
      t.entries.concat({ ...t.entries[1], entry: t.entries.length + 1 }),
      new EventIdsInMemory(),
      t.flushes[0].snapshot
    )
    expect(flush).toBeUndefined()
    t.tick(600_000)
    const again = replay(t.entries, new EventIdsInMemory(), t.flushes[0].snapshot)
    expect(again.flatMap(({ files }) => files).filter(({ layer }) => layer === 'processed')).toMatchObject([{ rows: 1 }])
  })

  test('of another version is refused', () => {
    expect(() => new Processor(new EventIdsInMemory(), encode({ version: 99 }))).toThrow('the snapshot has version 99')
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
  expect(resolved).toBeGreaterThan(100)
  expect(stale).toBeGreaterThan(20)
})
