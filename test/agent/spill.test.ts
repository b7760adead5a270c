/** Durability `spill`: readings are published from memory, and written only when they are not acked in time. */
import { copyFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { profileSchema } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { BufferMark, readMark } from '../../agent/src/buffer-mark.js'
import { Sqlite } from '../../agent/src/sqlite.js'
import type { SqliteBuffer } from '../../agent/src/sqlite-buffer.js'
import { openBuffer, temporaryFolder } from './kit.js'

const PROFILE = profileSchema.parse({ name: 'one', interval: '1s', metrics: [{ name: 'value' }] })
const SPILL = { reserveReadings: 20, isLive: true } as const

function sample(buffer: SqliteBuffer, count = 1): void {
  for (let i = 0; i < count; i++) {
    const position = buffer.state.nextPosition
    const entries = [{ eventTimeMs: position, values: [position] }]
    buffer.append({ profile: PROFILE, entries, source: null, nulledValues: 0, eventTimeMs: position })
  }
}

function positions(buffer: SqliteBuffer, after: number, max = 1000): number[] {
  const found: number[] = []
  for (let at = after; ; ) {
    const read = buffer.readAfter(at, max)
    if (read?.kind !== 'readings') return found
    expect([...read.readings.columns[0].values]).toEqual([...read.readings.positions])
    found.push(...read.readings.positions)
    at = found[found.length - 1]
  }
}

/** The file as another process finds it after this one was killed. */
function killed(path: string, to: string): string {
  for (const suffix of ['', '-wal', '.mark']) if (existsSync(path + suffix)) copyFileSync(path + suffix, to + suffix)
  return to
}

function storedReadings(path: string): number {
  const database = new Sqlite(path, { readonly: true })
  try {
    return database.prepare<[], number>('SELECT coalesce(sum(readings), 0) FROM chunks').pluck().get()!
  } finally {
    database.close()
  }
}

describe('a buffer with durability spill', () => {
  test('lets readings be published at once, and writes none that is acked', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const buffer = openBuffer(path, SPILL)
    sample(buffer, 3)
    expect(positions(buffer, 0)).toEqual([1, 2, 3])
    buffer.willPublish(3, 3)
    buffer.settle(3, 3, [])
    expect(buffer.facts()).toMatchObject({ oldestHeldSeq: 4, highestSampledSeq: 3, buffered: 0 })
    expect(storedReadings(path)).toBe(0)
    buffer.close()
  })

  test('commits for a reservation only, as long as readings are acked in time', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const buffer = openBuffer(path, { ...SPILL, reserveReadings: 1000 })
    const beside = new Sqlite(path, { readonly: true })
    const version = () => beside.pragma('data_version', { simple: true })
    sample(buffer)
    let [commits, before] = [0, version()]
    for (let i = 2; i <= 4000; i++) {
      sample(buffer)
      buffer.willPublish(i, i)
      buffer.settle(i, i === 2 ? 2 : 1, [])
      const now = version()
      if (now !== before) commits++
      before = now
    }
    beside.close()
    expect(commits).toBeGreaterThan(0)
    expect(commits).toBeLessThanOrEqual(16) // twice a reservation at most: it, and that it may be published
    buffer.close()
  })

  test('writes what is not acked when its time has come, and reads it from there', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    let nowMs = 0
    const buffer = openBuffer(path, { ...SPILL, monotonicMs: () => nowMs })
    sample(buffer, 2)
    nowMs = 1000
    sample(buffer, 2)
    buffer.keepUp(1001)
    expect(storedReadings(path)).toBe(0)
    buffer.keepUp(1000)
    expect(storedReadings(path)).toBe(4)
    sample(buffer, 1)
    expect(positions(buffer, 0)).toEqual([1, 2, 3, 4, 5])
    buffer.settle(5, 5, [])
    expect(buffer.state).toMatchObject({ held: 0, bytes: 0, settledPosition: 5 })
    expect(storedReadings(path)).toBe(0)
    buffer.close()
  })

  test('lets nothing be published beyond the seqs that are reserved, while the disk takes no more', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    let nowMs = 0
    const buffer = openBuffer(path, { ...SPILL, monotonicMs: () => nowMs })
    sample(buffer)
    const { reservedPosition } = buffer.state
    const beside = new Sqlite(path)
    beside.exec('BEGIN IMMEDIATE') // so that the agent cannot write
    sample(buffer, 60)
    expect(reservedPosition).toBeLessThan(61)
    expect(positions(buffer, 0).at(-1)).toBe(reservedPosition)
    expect(buffer.facts().highestSampledSeq).toBe(reservedPosition)
    beside.close()
    nowMs = 10_000
    buffer.keepUp(0)
    expect(positions(buffer, 0)).toHaveLength(61)
    buffer.close()
  })

  test('declares after a crash what is left of its reservation, and gives no seq twice', async () => {
    const folder = await temporaryFolder()
    const buffer = openBuffer(join(folder, 'b.sqlite'), SPILL)
    sample(buffer, 5)
    buffer.willPublish(2, 2)
    buffer.settle(2, 2, [])
    const again = openBuffer(killed(buffer.path, join(folder, 'c.sqlite')), SPILL)
    expect(again.epoch).toBe(buffer.epoch)
    const { carried } = again.tombstonesFor(again.epoch, 1000)
    expect(carried).toMatchObject([{ firstSeq: 1, lastSeq: 21, keepEvery: 0, reason: 'crash' }])
    sample(again)
    expect(positions(again, 0)).toEqual([22])
    // Nobody is told that seqs are settled which are only declared.
    expect(again.facts()).toMatchObject({ oldestHeldSeq: 22, highestSampledSeq: 22, buffered: 1 })
    for (const each of [buffer, again]) each.close()
  })

  test('declares after a clean stop nothing, and goes on where it was', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const first = openBuffer(path, SPILL)
    sample(first, 5)
    first.close()
    const second = openBuffer(path, SPILL)
    expect(second.epochOfTombstones()).toBeNull()
    sample(second, 1)
    expect(positions(second, 0)).toEqual([1, 2, 3, 4, 5, 6])
    second.close()
  })

  test('is never ahead of its mark, nor behind it when it was closed', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const buffer = openBuffer(path, SPILL)
    sample(buffer, 7)
    expect(readMark(path, 'pump-7')).toMatchObject({ epoch: buffer.epoch, base: 0, lastPosition: 21 })
    buffer.close()
    expect(readMark(path, 'pump-7')?.lastPosition).toBe(7)
  })

  test('that dies while it is closed, with its last commit made, has lost nothing', async () => {
    const folder = await temporaryFolder()
    const buffer = openBuffer(join(folder, 'b.sqlite'), SPILL)
    sample(buffer, 7)
    const copy = join(folder, 'c.sqlite')
    const dies = vi.spyOn(BufferMark.prototype, 'write').mockImplementationOnce(() => void killed(buffer.path, copy))
    buffer.close()
    dies.mockRestore()
    const again = openBuffer(copy, SPILL)
    expect(again).toMatchObject({ wasDamaged: false, epoch: buffer.epoch })
    expect(again.epochOfTombstones()).toBeNull()
    sample(again)
    expect(positions(again, 0)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    again.close()
  })

  test('after any number of crashes: each reading was acked, is held, or is declared, and none has the ID of another', async () => {
    const folder = await temporaryFolder()
    const action = fc.oneof(
      { weight: 6, arbitrary: fc.record({ do: fc.constant('sample' as const), count: fc.integer({ min: 1, max: 9 }) }) },
      { weight: 4, arbitrary: fc.record({ do: fc.constant('deliver' as const), count: fc.integer({ min: 1, max: 9 }) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('write' as const, 'crash' as const, 'stop' as const) }) }
    )
    let files = 0
    fc.assert(
      fc.property(fc.array(action, { minLength: 5, maxLength: 40, size: 'max' }), actions => {
        let path = join(folder, `${files++}.sqlite`)
        let buffer = openBuffer(path, { ...SPILL, monotonicMs: () => 0 })
        const acked = new Set<number>()
        let sampled = 0
        for (const step of actions) {
          if (step.do === 'sample') {
            expect(buffer.state.nextPosition).toBeGreaterThan(sampled)
            sample(buffer, step.count)
            sampled = buffer.state.nextPosition - 1
          } else if (step.do === 'deliver') {
            const read = buffer.readAfter(buffer.settledPosition, step.count)
            if (read?.kind !== 'readings') continue
            const last = read.readings.positions[read.readings.positions.length - 1]
            buffer.willPublish(last, last)
            for (const position of read.readings.positions) {
              expect(acked.has(position)).toBe(false)
              acked.add(position)
            }
            buffer.settle(last, read.readings.positions.length, [])
          } else if (step.do === 'write') buffer.keepUp(0)
          else {
            if (step.do === 'stop') buffer.close()
            const next = killed(path, join(folder, `${files++}.sqlite`))
            if (step.do === 'crash') buffer.close()
            path = next
            buffer = openBuffer(path, { ...SPILL, monotonicMs: () => 0 })
          }
        }
        const held = new Set(positions(buffer, buffer.settledPosition))
        const shed = buffer.tombstonesFor(buffer.epoch, 1e9).carried
        for (let position = 1; position < buffer.state.nextPosition; position++) {
          const isShed = shed.some(({ firstSeq, lastSeq }) => firstSeq <= position && position <= lastSeq)
          expect(acked.has(position) || held.has(position) || isShed, `position ${position}`).toBe(true)
        }
        expect(buffer.state.held).toBe(held.size)
        buffer.close()
      }),
      { numRuns: 60 }
    )
  })
})
