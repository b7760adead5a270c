/** What a full buffer does: by its rule it makes room, on the record, and never touches what may be in flight. */
import { join } from 'node:path'
import { profileSchema } from '@tidemark/protocol'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { BufferStore } from '../../agent/src/buffer-store.js'
import { isKept, keepEveryFor } from '../../agent/src/core/thinning.js'
import type { BufferOptions, SqliteBuffer } from '../../agent/src/sqlite-buffer.js'
import { openBuffer, temporaryFolder } from './kit.js'

const PROFILE = profileSchema.parse({ name: 'one', interval: '1s', metrics: [{ name: 'value' }] })
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i)
const FULL = { isLive: true, bytesMax: 64 * 1024 } as const

async function open(changes: Partial<BufferOptions>): Promise<SqliteBuffer> {
  return openBuffer(join(await temporaryFolder(), 'b.sqlite'), { ...FULL, ...changes })
}

/** Samples as the sampler does: `dropped-newest` where no room can be made. */
function sample(buffer: SqliteBuffer, commits: number, perCommit = 1): void {
  for (let i = 0; i < commits; i++) {
    const first = buffer.state.nextPosition
    const hasRoom = buffer.makeRoom()
    const entries = range(first, first + perCommit - 1).map(p => (hasRoom ? { eventTimeMs: p, values: [p] } : { shed: 'dropped-newest' }))
    buffer.append({ profile: PROFILE, entries, source: null, nulledValues: 0, eventTimeMs: first })
  }
}

function held(buffer: SqliteBuffer): number[] {
  const found: number[] = []
  for (let at = 0; ; at = found[found.length - 1]) {
    const read = buffer.readAfter(at, 1000)
    if (read?.kind !== 'readings') return found
    expect([...read.readings.columns[0].values]).toEqual([...read.readings.positions])
    found.push(...read.readings.positions)
  }
}

/** Every seq is held, or shed by a tombstone; none is both. Returns what is held. */
function expectAccounted(buffer: SqliteBuffer, from = 1): number[] {
  const positions = held(buffer)
  expect(buffer.state.held).toBe(positions.length)
  const kept = new Set(positions)
  const tombstones = tombstonesOf(buffer)
  for (const seq of range(from, buffer.state.nextPosition - 1)) {
    const isShed = tombstones.some(t => t.firstSeq <= seq && seq <= t.lastSeq && !isKept(seq, t.keepEvery))
    expect(isShed, `seq ${seq}`).toBe(!kept.has(seq))
  }
  return positions
}

function tombstonesOf(buffer: SqliteBuffer) {
  const { carried, nextSeq } = buffer.tombstonesFor(buffer.epoch, 1e12)
  expect(nextSeq).toBeNull()
  return carried
}

describe('thin', () => {
  test('keeps an outage of any length within the bound, from its beginning to its end, the older the sparser', async () => {
    const buffer = await open({ whenFull: 'thin' })
    sample(buffer, 1000, 20)
    const positions = expectAccounted(buffer)
    expect(buffer.state.bytes).toBeLessThanOrEqual(FULL.bytesMax + 1000)
    expect(buffer.state.bytes).toBeGreaterThan(FULL.bytesMax / 2)
    expect(positions[positions.length - 1]).toBe(20_000)
    expect(positions.length).toBeGreaterThan(2000)
    const quarters = [0, 5000, 10_000, 15_000].map(from => positions.filter(p => p > from && p <= from + 5000).length)
    expect(quarters).toEqual([...quarters].sort((a, b) => a - b))
    expect(quarters[0]).toBeGreaterThan(0)
    expect(quarters[3]).toBeGreaterThan(1.5 * quarters[1])
    expect(tombstonesOf(buffer).every(({ reason }) => reason === 'thinned')).toBe(true)
    buffer.close()
  })

  test('leaves alone what may be in flight, and thins what comes behind it the more', async () => {
    const buffer = await open({ whenFull: 'thin' })
    sample(buffer, 200, 20)
    buffer.willPublish(4000, 4000)
    sample(buffer, 1000, 20)
    expect(expectAccounted(buffer).slice(0, 4000)).toEqual(range(1, 4000))
    const last = buffer.state.nextPosition - 1
    buffer.willPublish(last, last)
    const before = held(buffer)
    sample(buffer, 400, 20)
    expect(expectAccounted(buffer).slice(0, before.length)).toEqual(before)
    buffer.close()
  })

  test('goes on over an epoch that ended, and each epoch has its own tombstones', async () => {
    const buffer = await open({ whenFull: 'thin' })
    sample(buffer, 100, 20)
    const { epoch } = buffer
    buffer.takeNewEpoch()
    sample(buffer, 600, 20)
    const ended = buffer.tombstonesFor(epoch, 1e12).carried
    expect(ended.length).toBeGreaterThan(0)
    expect(Math.max(...ended.map(t => t.lastSeq))).toBeLessThanOrEqual(2000)
    expect(buffer.state.held).toBe(held(buffer).length)
    buffer.close()
  })

  test('sheds at least half of any seqs, and only more the second time', () => {
    for (const seqs of [range(1, 500), [2, 4, 6, 8], [3], [1024], [5, 1000, 2000, 2001]]) {
      const n = keepEveryFor(seqs)
      const kept = seqs.filter(seq => isKept(seq, n))
      expect(kept.length).toBeLessThanOrEqual(seqs.length / 2)
      const again = kept.length === 0 ? n : keepEveryFor(kept)
      expect(seqs.filter(seq => isKept(seq, again) && !isKept(seq, n))).toEqual([])
    }
  })
})

test('drop-oldest drops the oldest that cannot be in flight, with a tombstone that grows', async () => {
  const buffer = await open({ whenFull: 'drop-oldest' })
  sample(buffer, 1000, 20)
  const positions = expectAccounted(buffer)
  expect(positions).toEqual(range(positions[0], 20_000))
  expect(tombstonesOf(buffer)).toMatchObject([{ firstSeq: 1, lastSeq: positions[0] - 1, keepEvery: 0, reason: 'dropped-oldest' }])
  buffer.close()
})

test('drop-newest drops what is sampled, with a tombstone that grows', async () => {
  const buffer = await open({ whenFull: 'drop-newest' })
  sample(buffer, 1000, 20)
  const positions = expectAccounted(buffer)
  expect(positions).toEqual(range(1, positions.length))
  expect(tombstonesOf(buffer)).toMatchObject([{ firstSeq: positions.length + 1, lastSeq: 20_000, reason: 'dropped-newest' }])
  buffer.close()
})

describe('age', () => {
  test('sheds what is too old, oldest first; what was stored before the clock was set has no age', async () => {
    let wallMs = 1000
    const buffer = await open({ whenFull: 'thin', wallMs: () => wallMs })
    sample(buffer, 5)
    expect(buffer.expire(Date.UTC(2026, 0, 1))).toBe(0)
    buffer.settle(5, 5, [])
    wallMs = Date.UTC(2026, 0, 1)
    sample(buffer, 5)
    wallMs = Date.UTC(2026, 0, 2)
    sample(buffer, 5)
    expect(buffer.expire(Date.UTC(2026, 0, 1, 12))).toBe(5)
    expect(held(buffer)).toEqual(range(11, 15))
    expect(tombstonesOf(buffer)).toMatchObject([{ firstSeq: 6, lastSeq: 10, reason: 'expired' }])
    buffer.close()
  })
})

test('a disk that is short of space lets the buffer grow no more: what comes makes room for itself', async () => {
  const buffer = await open({ whenFull: 'thin', bytesMax: 2 ** 30 })
  sample(buffer, 1000, 20)
  buffer.limitGrowth(true)
  const { bytes } = buffer.state
  expect(bytes).toBeGreaterThan(64 * 1024)
  sample(buffer, 300, 20)
  expectAccounted(buffer)
  expect(buffer.state.bytes).toBeLessThanOrEqual(bytes + 1000)
  buffer.limitGrowth(false)
  sample(buffer, 300, 20)
  expect(buffer.state.bytes).toBeGreaterThan(bytes + 10_000)
  buffer.close()
})

test('a disk that is short of space stops no buffer that is next to empty: what is acked in time is not shed', async () => {
  const buffer = await open({ whenFull: 'thin', bytesMax: 2 ** 30 })
  buffer.limitGrowth(true)
  for (let i = 1; i <= 20; i++) {
    sample(buffer, 10)
    buffer.willPublish(i * 10, i * 10)
    buffer.settle(i * 10, 10, [])
  }
  expect(tombstonesOf(buffer)).toEqual([])
  sample(buffer, 5000)
  expect(buffer.state.bytes).toBeLessThan(64 * 1024 + 1000)
  expectAccounted(buffer, 201)
  buffer.close()
})

test('readings that were stored one by one are packed together, and are what they were', async () => {
  const buffer = await open({ whenFull: 'thin', bytesMax: 2 ** 30 })
  sample(buffer, 300)
  buffer.willPublish(300, 300)
  sample(buffer, 1200)
  const before = buffer.state.bytes
  for (let i = 0; i < 10; i++) buffer.keepUp(0)
  expect(buffer.state.bytes).toBeLessThan(before / 2)
  expect(expectAccounted(buffer)).toEqual(range(1, 1500))
  const read = buffer.readAfter(0, 300, 300) // what may be in flight can be read again as it was sent
  expect(read?.kind === 'readings' && read.readings.positions.length).toBe(300)
  buffer.settle(1500, 1500, [])
  expect(buffer.state).toMatchObject({ held: 0, bytes: 0 })
  buffer.close()
})

test('a long backlog that is packed already costs next to nothing to look at', async () => {
  const buffer = await open({ whenFull: 'thin', bytesMax: 2 ** 30 })
  sample(buffer, 600, 500)
  const before = process.cpuUsage()
  buffer.keepUp(0)
  const { user, system } = process.cpuUsage(before)
  expect((user + system) / 1000).toBeLessThan(300) // each row read once takes some 20; all others for each of them, 1,500
  buffer.close()
})

test('a short backlog is looked at once, and again when it may be long enough', async () => {
  const buffer = await open({ whenFull: 'thin', bytesMax: 2 ** 30 })
  sample(buffer, 200)
  const read = vi.spyOn(BufferStore.prototype, 'chunksBehind')
  onTestFinished(() => read.mockRestore())
  for (let i = 0; i < 10; i++) buffer.keepUp(0)
  expect(read).toHaveBeenCalledTimes(1)
  sample(buffer, 49)
  buffer.keepUp(0)
  expect(read).toHaveBeenCalledTimes(1)
  const { bytes } = buffer.state
  sample(buffer, 1)
  buffer.keepUp(0)
  expect(buffer.state.bytes).toBeLessThan(bytes / 2)
  expect(held(buffer)).toEqual(range(1, 250))
  buffer.close()
})

test("a few readings of an epoch that ended are in nobody's way: what comes behind them is packed", async () => {
  const buffer = await open({ whenFull: 'thin', bytesMax: 2 ** 30 })
  sample(buffer, 20)
  buffer.takeNewEpoch()
  sample(buffer, 600)
  const before = buffer.state.bytes
  for (let i = 0; i < 10; i++) buffer.keepUp(0)
  expect(buffer.state.bytes).toBeLessThan(before / 2)
  expect(held(buffer)).toEqual(range(1, 620))
  buffer.close()
})
