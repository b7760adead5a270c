import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { profileSchema, WATER_LOOP } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BufferOpenError, BufferWriteError } from '../../agent/src/buffer-error.js'
import { bufferOptionsOf } from '../../agent/src/buffer-options.js'
import { Sqlite } from '../../agent/src/sqlite.js'
import type { SampledEntry, SqliteBuffer } from '../../agent/src/sqlite-buffer.js'
import { openBuffer, replayConfigRead, temporaryFolder } from './kit.js'

const PROFILE = profileSchema.parse({ name: 'one', interval: '1s', metrics: [{ name: 'value' }] })

/** Appends readings whose value and time are their position; a letter in `pattern` is a reading, an x a row that was shed. */
function append(buffer: SqliteBuffer, pattern: string, position: string | null = null): void {
  const first = buffer.state.nextPosition
  const entries = [...pattern].map<SampledEntry>((letter, i) =>
    letter === 'x' ? { shed: 'unreadable' } : { eventTimeMs: first + i, values: [first + i] }
  )
  buffer.append({
    profile: PROFILE,
    entries,
    source: position === null ? null : { key: 'test', position },
    nulledValues: 0,
    eventTimeMs: null
  })
}

function positionsAfter(buffer: SqliteBuffer, after: number, max = 1000): number[] {
  const read = buffer.readAfter(after, max)
  if (read === null) return []
  if (read.kind === 'damaged') throw new Error('damaged')
  expect([...read.readings.columns[0].values]).toEqual([...read.readings.positions])
  expect([...read.readings.eventTimesMs]).toEqual([...read.readings.positions])
  return [...read.readings.positions]
}

describe('what is in the buffer', () => {
  test('comes out oldest first, over chunks and around what was shed', async () => {
    const buffer = openBuffer(join(await temporaryFolder(), 'b.sqlite'))
    append(buffer, 'aaxa')
    append(buffer, 'x')
    append(buffer, 'aa')
    expect(positionsAfter(buffer, 0)).toEqual([1, 2, 4, 6, 7])
    expect(positionsAfter(buffer, 0, 3)).toEqual([1, 2, 4])
    expect(positionsAfter(buffer, 4, 1)).toEqual([6])
    expect(positionsAfter(buffer, 7)).toEqual([])
    expect(buffer.state.held).toBe(5)
    expect(buffer.tombstonesFor(buffer.epoch, 100).carried).toMatchObject([
      { firstSeq: 3, lastSeq: 3, reason: 'unreadable' },
      { firstSeq: 5, lastSeq: 5, reason: 'unreadable' }
    ])
    buffer.close()
  })

  test('survives closing and opening, with the epoch, the next seq and the source position', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const first = openBuffer(path)
    append(first, 'aaa', 'row 3')
    const { epoch } = first
    first.close()
    const second = openBuffer(path)
    expect(second.epoch).toBe(epoch)
    expect(second.state).toMatchObject({ nextPosition: 4, held: 3, sourceKey: 'test', sourcePosition: 'row 3' })
    append(second, 'a')
    expect(positionsAfter(second, 0)).toEqual([1, 2, 3, 4])
    second.close()
  })

  test('is stored with the profile that it was sampled with, and a batch has one profile', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const first = openBuffer(path)
    append(first, 'aa')
    first.append({
      profile: WATER_LOOP,
      entries: [{ eventTimeMs: 3, values: Array(8).fill(3) }],
      source: null,
      nulledValues: 0,
      eventTimeMs: null
    })
    first.close()
    const second = openBuffer(path)
    expect(second.readAfter(0, 10)).toMatchObject({ readings: { profile: { name: 'one' }, positions: new Float64Array([1, 2]) } })
    expect(second.readAfter(2, 10)).toMatchObject({ readings: { profile: { name: 'water-loop' }, positions: new Float64Array([3]) } })
    second.close()
  })

  test('keeps floats to the bit: NaN, infinities, -0 and the edges', async () => {
    const buffer = openBuffer(join(await temporaryFolder(), 'b.sqlite'))
    const values = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0, 5e-324, Number.MAX_VALUE, 0.1 + 0.2]
    buffer.append({
      profile: PROFILE,
      entries: values.map(v => ({ eventTimeMs: 1, values: [v] })),
      source: null,
      nulledValues: 0,
      eventTimeMs: null
    })
    const read = buffer.readAfter(0, 100)
    if (read?.kind !== 'readings') throw new Error('nothing to read')
    expect([...read.readings.columns[0].values].map(v => (Object.is(v, -0) ? '-0' : String(v)))).toEqual(
      values.map(v => (Object.is(v, -0) ? '-0' : String(v)))
    )
    buffer.close()
  })

  test('is deleted only up to what was settled, and a seq is never given twice', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const buffer = openBuffer(path)
    append(buffer, 'aaaa')
    buffer.settle(2, 2, [])
    expect(positionsAfter(buffer, buffer.state.settledPosition)).toEqual([3, 4])
    expect(buffer.facts()).toMatchObject({ oldestHeldSeq: 3, highestSampledSeq: 4, buffered: 2 })
    buffer.settle(4, 2, [])
    expect(buffer.state).toMatchObject({ held: 0, bytes: 0, settledPosition: 4 })
    expect(buffer.facts()).toMatchObject({ oldestHeldSeq: 5, highestSampledSeq: 4, buffered: 0 })
    buffer.close()
    const again = openBuffer(path)
    append(again, 'a')
    expect(positionsAfter(again, 0)).toEqual([5])
    again.close()
  })

  test('equals a plain list, whatever is appended, settled, shed and reopened', async () => {
    const folder = await temporaryFolder()
    let files = 0
    const action = fc.oneof(
      fc.record({
        do: fc.constant('append' as const),
        pattern: fc.string({ unit: fc.constantFrom('a', 'a', 'a', 'x'), minLength: 1, maxLength: 20 })
      }),
      fc.record({ do: fc.constant('settle' as const), count: fc.integer({ min: 1, max: 12 }) }),
      fc.record({ do: fc.constant('shed' as const) }),
      fc.record({ do: fc.constant('reopen' as const) }),
      fc.record({ do: fc.constant('epoch' as const) })
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), actions => {
        const path = join(folder, `${files++}.sqlite`)
        let buffer = openBuffer(path)
        const held: number[] = []
        let next = 1
        for (const step of actions) {
          if (step.do === 'append') {
            append(buffer, step.pattern)
            held.push(...[...step.pattern].flatMap((letter, i) => (letter === 'x' ? [] : [next + i])))
            next += step.pattern.length
          } else if (step.do === 'settle' && held.length > 0) {
            const done = held.splice(0, step.count)
            buffer.settle(done[done.length - 1], done.length, [])
          } else if (step.do === 'shed' && held.length > 0) {
            const position = held.shift()!
            buffer.shed({ after: position - 1, last: position, count: 1 }, 'refused')
          } else if (step.do === 'epoch') {
            buffer.takeNewEpoch()
          } else if (step.do === 'reopen') {
            buffer.close()
            buffer = openBuffer(path)
          }
          expect(buffer.state.held).toBe(held.length)
          expect(buffer.state.nextPosition).toBe(next)
        }
        const out: number[] = []
        for (let after = buffer.state.settledPosition; ; after = out[out.length - 1]) {
          const positions = positionsAfter(buffer, after, 7)
          if (positions.length === 0) break
          out.push(...positions)
        }
        expect(out).toEqual(held)
        if (held.length === 0) expect(buffer.state.bytes).toBe(0)
        buffer.close()
      }),
      { numRuns: 60 }
    )
  })
})

describe('tombstones', () => {
  test('are made longer by what follows, and removed only as far as they were declared', async () => {
    const buffer = openBuffer(join(await temporaryFolder(), 'b.sqlite'))
    append(buffer, 'xxx')
    const { carried } = buffer.tombstonesFor(buffer.epoch, 100)
    append(buffer, 'xx')
    expect(buffer.tombstonesFor(buffer.epoch, 100).carried).toMatchObject([{ firstSeq: 1, lastSeq: 5 }])
    buffer.settle(3, 0, carried)
    expect(buffer.tombstonesFor(buffer.epoch, 100).carried).toMatchObject([{ firstSeq: 4, lastSeq: 5 }])
    buffer.close()
  })

  test('that find no room in a batch are named by their first seq', async () => {
    const buffer = openBuffer(join(await temporaryFolder(), 'b.sqlite'))
    append(buffer, 'ax'.repeat(100))
    const { carried, nextSeq } = buffer.tombstonesFor(buffer.epoch, 1000)
    expect(carried.length).toBe(64)
    expect(nextSeq).toBe(130)
    buffer.close()
  })
})

describe('epochs', () => {
  test('a buffer that comes from another machine takes a new one for new readings only', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const here = openBuffer(path, { machineId: 'here' })
    append(here, 'aa')
    const old = here.epoch
    here.close()
    const there = openBuffer(path, { machineId: 'there' })
    expect(there.epoch).not.toBe(old)
    append(there, 'a')
    expect(there.facts(2)).toMatchObject({ epoch: old, base: 0, highestSampledSeq: 2 })
    expect(there.facts(3)).toMatchObject({ epoch: there.epoch, base: 2, highestSampledSeq: 1 })
    expect(positionsAfter(there, 0)).toEqual([1, 2]) // a batch has one epoch
    there.close()
  })

  test.skipIf(!existsSync('/etc/machine-id'))('belong to a machine, which is known by its machine-id(5)', async () => {
    const config = await replayConfigRead(await temporaryFolder(), 1, 'mqtt://127.0.0.1:1')
    const { machineId } = await bufferOptionsOf(config, true)
    expect(machineId).toBe((await readFile('/etc/machine-id', 'utf8')).trim())
    expect(machineId).not.toBe('')
  })

  test('of a spent one, held readings that were never published are identified anew, those that may have been are not', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const buffer = openBuffer(path)
    append(buffer, `${'a'.repeat(2000)}xa`)
    const spent = buffer.epoch
    buffer.willPublish(400)
    expect(buffer.replaceSpentEpoch(spent)).toBe(true)
    append(buffer, 'a')
    expect(buffer.facts(400)).toMatchObject({ epoch: spent, base: 0, highestSampledSeq: 2002 })
    expect(buffer.facts(401)).toMatchObject({ epoch: buffer.epoch, base: 400, highestSampledSeq: 1603, oldestHeldSeq: 1 })
    expect(buffer.tombstonesFor(spent, 5000).carried).toMatchObject([{ firstSeq: 401, lastSeq: 2002, reason: 'epoch-spent' }])
    expect(buffer.tombstonesFor(buffer.epoch, 5000).carried).toMatchObject([{ firstSeq: 1601, lastSeq: 1601, reason: 'unreadable' }])
    expect(buffer.replaceSpentEpoch(spent)).toBe(false)
    buffer.close()
  })

  test('behind a restart the file says what may have been published: more than was, but at most 500 of what is sampled later', async () => {
    for (const [held, cut] of [
      [6000, 4400],
      [1000, 1000],
      [600, 900]
    ]) {
      const path = join(await temporaryFolder(), 'b.sqlite')
      const first = openBuffer(path)
      for (let i = 0; i < held; i += 100) append(first, 'a'.repeat(100))
      first.willPublish(400)
      first.close()
      const buffer = openBuffer(path)
      for (let i = 0; i < 1000; i += 100) append(buffer, 'a'.repeat(100))
      expect(buffer.replaceSpentEpoch(buffer.epoch)).toBe(true)
      expect(buffer.facts(held + 1000).base).toBe(cut)
      buffer.close()
    }
  })
})

describe('a file that cannot be used', () => {
  test('of another device is refused', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    openBuffer(path).close()
    expect(() => openBuffer(path, { deviceId: 'pump-8' })).toThrow(/holds readings of device pump-7, not pump-8/)
  })

  test('in a folder that does not exist is refused', async () => {
    const path = join(await temporaryFolder(), 'none', 'b.sqlite')
    expect(() => openBuffer(path)).toThrow(BufferOpenError)
    expect(() => openBuffer(path)).toThrow(/folder must exist/)
  })

  test('that is no database is refused', async () => {
    const { writeFile } = await import('node:fs/promises')
    const path = join(await temporaryFolder(), 'b.sqlite')
    await writeFile(path, 'no database '.repeat(1000))
    expect(() => openBuffer(path)).toThrow(/no buffer, or damaged/)
  })

  test('a commit that fails changes neither file nor memory, and can be tried again', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const buffer = openBuffer(path)
    append(buffer, 'aa', 'row 2')
    const before = buffer.state
    const other = new Sqlite(path)
    other.exec('BEGIN IMMEDIATE')
    let caught: unknown
    try {
      append(buffer, 'xaa', 'row 4')
    } catch (error) {
      caught = error
    }
    expect(caught).toBeInstanceOf(BufferWriteError)
    expect(caught).toMatchObject({ passing: true, message: expect.stringMatching(/another program holds it: close that program/) })
    expect(buffer.state).toEqual(before)
    expect(buffer.tombstonesFor(buffer.epoch, 10).carried).toEqual([])
    other.close()
    append(buffer, 'xaa', 'row 4')
    expect(positionsAfter(buffer, 0)).toEqual([1, 2, 4, 5])
    buffer.close()
  })

  test('a chunk whose bytes are damaged is told, and shed as a whole', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const buffer = openBuffer(path)
    append(buffer, 'aaa')
    append(buffer, 'aa')
    buffer.close()
    const raw = new Sqlite(path)
    raw.prepare("UPDATE chunks SET payload = x'00' WHERE first_position = 1").run()
    raw.close()
    const again = openBuffer(path)
    const read = again.readAfter(0, 10)
    if (read?.kind !== 'damaged') throw new Error('not noticed')
    expect(read.span).toEqual({ after: 0, last: 3, count: 3 })
    again.shed(read.span, 'damaged')
    expect(again.state.held).toBe(2)
    expect(positionsAfter(again, again.state.settledPosition)).toEqual([4, 5])
    expect(again.tombstonesFor(again.epoch, 10).carried).toMatchObject([{ firstSeq: 1, lastSeq: 3, reason: 'damaged' }])
    again.close()
  })

  test('packs many readings into a row: 1,000 readings of one float take less than 12 KB', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const buffer = openBuffer(path)
    append(buffer, 'a'.repeat(1000))
    expect(buffer.state.bytes).toBeLessThan(12_000)
    buffer.close()
    expect((await readFile(path)).length).toBeGreaterThan(0)
  })
})
