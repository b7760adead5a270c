/** Flushes under way lie in memory that is lent: to the archive until it has committed them, then to the rows that come next. */
import { describe, expect, test } from 'vitest'
import { UncommittedRows } from '../../../gateway/src/pipeline/uncommitted-rows.js'
import type { FileRows, Flush } from '../../../gateway/src/processor/flush.js'
import { Processor } from '../../../gateway/src/processor/processor.js'
import { RowMemory } from '../../../gateway/src/processor/row-memory.js'
import { EventIdsInMemory } from '../../kit/event-ids-in-memory.js'
import { type Row, rowsOf } from '../../kit/flush-rows.js'
import { at, type Timeline, timeline } from '../../kit/timeline.js'

describe('the memory of rows', () => {
  test('that was given back is taken by those who want about as much', () => {
    const memory = new RowMemory()
    const [small, large] = [memory.take(10_000), memory.take(50_000)]
    memory.give(large)
    memory.give(small)
    expect(memory.freeBytes).toBe(small.byteLength + large.byteLength)
    expect(memory.take(10_100)).toBe(small)
    const fresh = memory.take(9990)
    expect([small, large].includes(fresh)).toBe(false)
    expect(fresh.byteLength).toBeGreaterThanOrEqual(9990)
    expect(memory.take(50_100)).toBe(large)
    expect(memory.freeBytes).toBe(0)
  })

  test.each([1, 4096, 4097, 10_000, 65_536, 1_000_000, 2_640_123])('of %i bytes is at most an eighth too long, or a page', bytes => {
    const { byteLength } = new RowMemory().take(bytes)
    expect(byteLength).toBeGreaterThanOrEqual(bytes)
    expect(byteLength).toBeLessThanOrEqual(Math.max(4096, bytes * 1.126))
  })

  test('that no flush has needed for some time is let go, and no other', () => {
    const memory = new RowMemory()
    const [used, idle] = [memory.take(10_000), memory.take(50_000)]
    memory.give(used)
    memory.give(idle)
    for (let round = 0; round < 2; round++) {
      memory.endRound()
      memory.give(memory.take(10_000))
    }
    expect(memory.freeBytes).toBe(used.byteLength)
    expect(memory.take(10_000)).toBe(used)
  })

  test('that one flush needed beside what all need is let go too', () => {
    const memory = new RowMemory()
    const [first, second, third] = [memory.take(10_000), memory.take(10_000), memory.take(10_000)]
    for (const each of [third, first, second]) memory.give(each)
    let underWay = memory.take(10_000)
    for (let round = 0; round < 2; round++) {
      const next = memory.take(10_000)
      memory.give(underWay)
      memory.endRound()
      underWay = next
    }
    expect([first, second]).toContain(underWay)
    expect(memory.freeBytes).toBe(first.byteLength)
  })
})

/** Minutes of so many readings each. Of many rows some are written by column, some staged; with nulls and texts in each. */
function minutesOf(counts: readonly number[]): Timeline {
  const t = timeline({ flushRows: 100_000, devicesMax: 10_000, smallHourRows: 1 })
  const seqs = new Map<string, number>()
  for (const [minute, count] of counts.entries()) {
    const frames = []
    for (let i = 0; i < count; ) {
      const device = `d${(i * 7) % 1000}`
      const readings = Array.from({ length: i % 3 === 0 ? 1 : 9 }, () => {
        const seq = (seqs.get(device) ?? 0) + 1
        seqs.set(device, seq)
        const values = { temperature: (seq * minute) % 90, ...(i % 2 === 0 && { flow: i % 100, running: i % 4 === 0, place: `p${i % 5}` }) }
        return { seq, eventTimeMs: at('14:00') + minute * 60_000 + (seq % 60) * 1000, values }
      })
      i += readings.length
      frames.push({ kind: 'batch' as const, device, payload: t.encode({ device, readings }) })
    }
    t.append(...frames)
    t.tick(60_000, 60_000)
  }
  t.drain()
  return t
}

test('at the turn of an hour the new one takes room for what is still to come', () => {
  const t = timeline({ flushRows: 1_000_000, smallHourRows: 1 })
  let seq = 0
  const send = (time: string, batches: number) => {
    for (let i = 0; i < batches; i++)
      t.batch({ readings: Array.from({ length: 1000 }, () => ({ seq: ++seq, eventTimeMs: at(time) + (seq % 20) * 1000 })) })
  }
  send('13:58', 100)
  t.tick(60_000, 60_000)
  send('13:59', 70)
  send('14:00', 30)
  t.tick(60_000, 60_000)
  const [before, turn] = t.flushes.map(({ files }) => files.filter(({ layer }) => layer === 'processed'))
  expect(before.map(({ rows }) => rows)).toEqual([100_000])
  expect(turn.map(({ rows }) => rows)).toEqual([70_000, 30_000])
  const [old, fresh] = turn.map(file => bytesOf(file))
  expect(fresh).toBeLessThan(0.5 * old)
})

/** Bytes of the memory that the file's first column of numbers lies in. */
function bytesOf({ columns }: FileRows): number {
  for (const { values } of columns) if (values instanceof Float64Array) return values.buffer.byteLength
  return Number.NaN
}

const LAYERS = ['processed', 'curated'] as const

function rowsIn(flush: Flush): Row[][] {
  return LAYERS.map(layer => rowsOf([flush], layer))
}

describe('rows in memory that others had before', () => {
  test('are those that a processor makes that gives none back, while the archive has one flush in work and one waits', () => {
    const t = minutesOf([20_000, 20_300, 20_100, 20_200, 300, 20_100, 24_900, 25_000, 24_800, 25_100, 9000])
    const processor = new Processor(new EventIdsInMemory())
    const uncommitted = new UncommittedRows(processor.show(({ outputs }) => outputs.memory))
    const underWay: { flush: Flush; expected: Row[][] }[] = []
    const lent = new Set<SharedArrayBuffer>()
    let [flushes, reused] = [0, 0]
    for (const entry of t.entries) {
      const flush = processor.apply(entry)
      if (flush === null) continue
      underWay.push({ flush: uncommitted.add(flush), expected: rowsIn(t.flushes[flushes++]) })
      for (const each of underWay) expect(rowsIn(each.flush)).toEqual(each.expected)
      expect(uncommitted.behind(0).reduce((sum, { count }) => sum + count, 0)).toBe(
        underWay.reduce((sum, { expected }) => sum + expected.flat().length, 0)
      )
      if (underWay.length < 2) continue
      const done = underWay.shift()!
      uncommitted.forget(done.flush.lastEntry)
      const memories = memoriesOf(done.flush)
      if (memories.some(memory => lent.has(memory))) reused++
      for (const memory of memories) {
        lent.add(memory)
        new Uint8Array(memory).fill(0x5a) // what was given back may hold anything
      }
    }
    expect(flushes).toBe(t.flushes.length)
    expect(flushes).toBeGreaterThan(5)
    expect(reused).toBeGreaterThan(3)
  })
})

function memoriesOf({ files }: Flush): SharedArrayBuffer[] {
  const buffers = files.flatMap(({ columns }) => columns.map(({ values }) => (ArrayBuffer.isView(values) ? values.buffer : null)))
  return buffers.filter(buffer => buffer instanceof SharedArrayBuffer)
}
