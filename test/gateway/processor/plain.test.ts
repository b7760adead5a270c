/** The fast way for plain batches does to the state and the rows exactly what the way for all batches does. */
import { encode } from '@msgpack/msgpack'
import { ROTATING_MACHINE } from '@tidemark/protocol'
import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import type { LogEntry } from '../../../gateway/src/log/schema.js'
import { DecodedEntry, DecodedTables, EntryDecoder } from '../../../gateway/src/processor/decoded.js'
import type { Flush } from '../../../gateway/src/processor/flush.js'
import { ledgersOf } from '../../../gateway/src/processor/ledger.js'
import { Processor } from '../../../gateway/src/processor/processor.js'
import { log, writeLog } from '../../kit/arbitrary-log.js'
import { EventIdsInMemory } from '../../kit/event-ids-in-memory.js'
import { at, PUMP, Timeline } from '../../kit/timeline.js'

const PLAIN = '../../../gateway/src/processor/ingest-plain.js'

interface Boundary {
  readonly flush: Flush
  /** Parts of the state behind it. */
  readonly state: readonly Uint8Array[]
}

function boundariesOf(make: typeof Processor, entries: readonly LogEntry[]): Boundary[] {
  const processor = new make(new EventIdsInMemory())
  return entries.flatMap(entry => {
    const flush = processor.apply(entry)
    if (flush === null) return []
    const encoder = processor.beginSnapshot()
    const state: Uint8Array[] = []
    for (let part = encoder.next(); part !== null; part = encoder.next()) state.push(part)
    return [{ flush, state }]
  })
}

const leftAlone = vi.fn(() => false)

/** The processor without the fast way: every batch goes the way for all. */
async function slowProcessor(): Promise<typeof Processor> {
  vi.resetModules()
  vi.doMock(PLAIN, () => ({ ingestPlain: leftAlone, ingestDecoded: leftAlone }))
  try {
    return (await import('../../../gateway/src/processor/processor.js')).Processor
  } finally {
    vi.doUnmock(PLAIN)
  }
}

function expectSame(fast: readonly Boundary[], slow: readonly Boundary[]): void {
  for (const [i, boundary] of slow.entries()) {
    expect(fast[i].flush).toEqual(boundary.flush)
    expect(Buffer.compare(encode(fast[i]), encode(boundary)), `flush ${i} and the state behind it`).toBe(0)
  }
  expect(fast.length).toBe(slow.length)
  expect(leftAlone).toHaveBeenCalled()
}

test('on logs with everything in them', async () => {
  const slow = await slowProcessor()
  fc.assert(
    fc.property(log, steps => {
      const t = new Timeline()
      writeLog(t, steps)
      t.drain()
      expectSame(boundariesOf(Processor, t.entries), boundariesOf(slow, t.entries))
    }),
    { numRuns: 60 }
  )
})

test('on batches in order, over an hour, late ones among them', async () => {
  const slow = await slowProcessor()
  const t = new Timeline().start()
  for (let seq = 1; seq <= 400; seq++) t.reading({ seq, eventTimeMs: at('10:00') + (seq * 20 - (seq % 7 === 0 ? 90 : 0)) * 1000 })
  t.drain()
  const fast = boundariesOf(Processor, t.entries)
  expectSame(fast, boundariesOf(slow, t.entries))
  expect(ledgersOf(fast.at(-1)!.flush)).toMatchObject([{ archived: 400, missing: 0 }])
})

/** What happens before a reading that is sent by itself: how far its clock goes on, and what else comes. */
const single = fc.record({
  stepMs: fc.constantFrom(5000, 5000, 5000, 5000, 10_000, 25_000, 60_000, 0, -5000, -20_000, -90_000, 400_000, 2_000_000),
  temperature: fc.integer({ min: 0, max: 60 }),
  power: fc.option(fc.integer({ min: 0, max: 500 })),
  before: fc.constantFrom('nothing', 'nothing', 'nothing', 'nothing', 'gap', 'end', 'epoch', 'tick', 'silence')
})

test('on readings that come one a message, whatever their clock does', async () => {
  const slow = await slowProcessor()
  let features = 0
  fc.assert(
    fc.property(fc.array(single, { minLength: 20, maxLength: 150 }), readings => {
      const t = new Timeline()
      t.nowMs = at('48:00')
      t.start({ idleTimeoutMs: 30_000 }, [ROTATING_MACHINE])
      let [epoch, seq, eventTimeMs] = [1, 0, at('10:00')]
      for (const { stepMs, temperature, power, before } of readings) {
        if (before === 'gap') seq++
        if (before === 'end') t.batch({ profile: ROTATING_MACHINE, epoch, endOfStreamSeq: seq })
        if (before === 'epoch') [epoch, seq] = [epoch + 1, 0]
        if (before === 'tick') t.tick(10_000)
        if (before === 'silence') t.tick(45_000, 5000)
        eventTimeMs += stepMs
        const values = { temperature, vibration: temperature / 10, power_consumption: power }
        t.reading({ profile: ROTATING_MACHINE, epoch, seq: ++seq, eventTimeMs, values, oldestHeldSeq: seq })
      }
      t.drain()
      leftAlone.mockClear()
      expectSame(boundariesOf(Processor, t.entries), boundariesOf(slow, t.entries))
      features += t.features().length
    }),
    { numRuns: 60 }
  )
  expect(features).toBeGreaterThan(300)
})

test('on a batch whose first reading is one open pane too many', async () => {
  const slow = await slowProcessor()
  const t = new Timeline()
  t.nowMs = at('300:00')
  t.start()
  for (const [i, time] of ['09:59:30', '10:00:30'].entries()) t.reading({ epoch: 2, seq: 1 + i, eventTimeMs: at(time) })
  for (let first = 2; first <= 8191; first += 910) {
    const readings = Array.from({ length: 910 }, (_, i) => ({ seq: first + i, eventTimeMs: at('10:01:30') + (first + i) * 60_000 }))
    t.batch({ epoch: 1, oldestHeldSeq: 1, readings }) // seq 1 is still to come, so none of them moves the watermark
  }
  t.batch({ epoch: 2, readings: Array.from({ length: 12 }, (_, i) => ({ seq: 3 + i, eventTimeMs: at('10:01:02') + i * 2000 })) })
  t.drain()
  expectSame(boundariesOf(Processor, t.entries), boundariesOf(slow, t.entries))
  expect(t.features().find(row => row.as_of === at('10:02'))).toMatchObject({ revision: 0, event_count: 1 })
})

/** The entries with what they hold decoded, in blocks of so many. */
function decodedAhead(entries: readonly LogEntry[], block: number): { entries: LogEntry[]; plain: number } {
  const decoder = new EntryDecoder([])
  const tables = new DecodedTables()
  let plain = 0
  const all: LogEntry[] = []
  for (let first = 0; first < entries.length; first += block) {
    decoder.beginBlock(new Float64Array(0))
    const places = entries.slice(first, first + block).map(entry => ({ entry, ...decoder.decode(entry) }))
    tables.add(decoder.takeNews())
    for (const { entry, first: from, behind } of places) {
      const decoded = new DecodedEntry(tables, decoder.cells, from, behind)
      for (let record = from; record < behind; record = decoded.next(record)) plain += decoded.isPlain(record) ? 1 : 0
      all.push({ ...entry, decoded })
    }
  }
  return { entries: all, plain }
}

/** Returns how many of the batches were decoded. */
function expectSameDecoded(entries: readonly LogEntry[], block: number): number {
  const ahead = decodedAhead(entries, block)
  const [actual, expected] = [boundariesOf(Processor, ahead.entries), boundariesOf(Processor, entries)]
  expect(actual.length).toBe(expected.length)
  for (const [i, boundary] of expected.entries()) {
    expect(actual[i].flush).toEqual(boundary.flush)
    expect(Buffer.compare(encode(actual[i]), encode(boundary)), `flush ${i} and the state behind it`).toBe(0)
  }
  return ahead.plain
}

test('decoded ahead, on logs with everything in them', () => {
  let plain = 0
  fc.assert(
    fc.property(log, fc.integer({ min: 1, max: 40 }), (steps, block) => {
      const t = new Timeline()
      writeLog(t, steps)
      t.drain()
      plain += expectSameDecoded(t.entries, block)
    }),
    { numRuns: 60 }
  )
  expect(plain).toBeGreaterThan(30)
})

test('decoded ahead, on batches in order, while the profile that judges them changes', () => {
  const t = new Timeline().start()
  for (let seq = 1; seq <= 400; seq++) {
    if (seq === 200)
      t.start({}, [{ ...PUMP, metrics: PUMP.metrics.map(metric => (metric.name === 'temperature' ? { ...metric, max: 21 } : metric)) }])
    const values = { temperature: 20 + (seq % 3), place: seq % 5 === 0 ? null : `hall ${seq % 4}` }
    const clock = seq % 4 === 0 ? 'estimated' : 'synced'
    t.reading({ device: `d${seq % 3}`, seq: Math.ceil(seq / 3), eventTimeMs: at('10:00') + seq * 20_000, values, clock })
  }
  t.drain()
  expect(expectSameDecoded(t.entries, 7)).toBeGreaterThan(300)
  expect(t.quarantine().length).toBeGreaterThan(50)
})

test('decoded ahead, on devices that fall silent and come back, and on readings of the future', () => {
  const t = new Timeline().start({ idleTimeoutMs: 10_000 })
  for (let seq = 1; seq <= 60; seq++) {
    t.reading({ seq, eventTimeMs: t.nowMs + (seq % 10 === 0 ? 400_000 : 0) })
    t.tick(seq % 6 === 0 ? 25_000 : 5000)
  }
  t.drain()
  expect(expectSameDecoded(t.entries, 7)).toBe(54)
  expect(t.quarantine().length).toBe(6)
  expect(t.features().some(({ provisional }) => provisional)).toBe(true)
})

test('decoded ahead, on more texts than its table holds', () => {
  const t = new Timeline().start()
  for (let seq = 1; seq <= 70_000; seq += 500) {
    const readings = Array.from({ length: 500 }, (_, i) => ({
      seq: seq + i,
      eventTimeMs: at('10:00') + seq + i,
      values: { place: `${seq + i}` }
    }))
    t.batch({ readings })
  }
  t.drain()
  const ahead = decodedAhead(t.entries, 20)
  expect(ahead.plain).toBeGreaterThan(125)
  expect(ahead.plain).toBeLessThan(140)
  const [actual, expected] = [boundariesOf(Processor, ahead.entries), boundariesOf(Processor, t.entries)]
  expect(Buffer.compare(encode(actual), encode(expected))).toBe(0)
  expect(t.readings().at(-1)).toMatchObject({ seq: 70_000, place: '70000' })
})
