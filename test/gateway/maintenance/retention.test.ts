import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readLedger } from '../../../gateway/src/commands/ledger.js'
import { expiredHours } from '../../../gateway/src/maintenance/retention.js'
import { epochLedger, filesBelow, HOUR_MS, NOON_MS, range, readings } from '../archive/kit.js'
import { archiveWithLog, flushNumber, POLICY, rejected, type TestArchive } from './kit.js'

const NONE = POLICY.retentionMs

/** Readings in three hours, rejected frames in one, raw frames in one; the last two flushes with snapshots, if wanted. */
async function threeHours({ snapshots = false } = {}): Promise<TestArchive> {
  const archive = archiveWithLog(20)
  for (const k of range(0, 3)) {
    const seqs = range(k * 30 + 1, k * 30 + 30)
    const epochs = [epochLedger('pump-7', 77, { highestSampledSeq: k * 30 + 30, archived: k * 30 + 30 })]
    const files = (strings: string[]) => [
      ...[0, 1, 2].map(hour => readings(NOON_MS + hour * HOUR_MS, seqs.slice(hour * 10, hour * 10 + 10), strings)),
      rejected(NOON_MS, k * 10 + 1, 10, strings)
    ]
    await archive.write(flushNumber(k, files, { epochs }))
    if (snapshots && k >= 2) archive.takeSnapshot(k * 5 + 5)
  }
  return archive
}

test('exactly the hours leave that ended longer ago than their layer is kept', async () => {
  const archive = await threeHours()
  const policy = { ...POLICY, retentionMs: { ...NONE, processed: 24 * HOUR_MS } }
  const endOfSecondMs = NOON_MS + 2 * HOUR_MS
  const hoursLeft = () => [...new Set(archive.files('processed').map(file => (file.hourMs - NOON_MS) / HOUR_MS))]
  await archive.pass({ policy, nowMs: () => endOfSecondMs + 23 * HOUR_MS - 1 })
  expect(hoursLeft()).toEqual([0, 1, 2])
  expect(await archive.pass({ policy, nowMs: () => endOfSecondMs + 24 * HOUR_MS - 1 })).toMatchObject({ expiredRows: 40 })
  expect(hoursLeft()).toEqual([1, 2])
  expect(await archive.pass({ policy, nowMs: () => endOfSecondMs + 24 * HOUR_MS })).toMatchObject({ expiredFiles: 1, expiredRows: 40 })
  expect(hoursLeft()).toEqual([2])
  expect(archive.files('quarantine').reduce((rows, file) => rows + file.rows, 0)).toBe(40)
  expect(existsSync(join(archive.dataDir, 'archive/processed/water-loop/date=2026-03-01/hour=13'))).toBe(false)
})

test('what retention took waits outside the glob as superseded files do, and then is gone', async () => {
  const archive = await threeHours()
  const policy = { ...POLICY, minFiles: 1000, retentionMs: { ...NONE, quarantine: HOUR_MS } }
  const nowMs = NOON_MS + 100 * HOUR_MS
  expect(await archive.pass({ policy, nowMs: () => nowMs })).toMatchObject({ expiredFiles: 4, expiredRows: 40, waiting: 4 })
  expect(filesBelow(join(archive.dataDir, 'superseded'))).toHaveLength(4)
  expect(await archive.pass({ policy, nowMs: () => nowMs + POLICY.keepMs })).toMatchObject({ deleted: 4, waiting: 0, expiredFiles: 0 })
  expect(filesBelow(join(archive.dataDir, 'superseded'))).toEqual([])
})

test('the ledger goes on counting what retention has deleted, compacted or not', async () => {
  const archive = await threeHours()
  const before = await readLedger(archive.dataDir)
  expect(before.devices.find(device => device.deviceId === 'pump-7')).toMatchObject({ balanced: true, archived: 120, sampled: 120 })
  expect(before.total.quarantined).toBeGreaterThan(5)
  await archive.pass()
  const retentionMs = { ...NONE, processed: HOUR_MS, quarantine: HOUR_MS }
  await archive.pass({ policy: { ...POLICY, retentionMs }, nowMs: () => NOON_MS + 100 * HOUR_MS })
  expect([archive.files('processed'), archive.files('quarantine')]).toEqual([[], []])
  expect(await readLedger(archive.dataDir)).toEqual(before)
})

test('raw frames stay as long as a kept snapshot would replay them, whatever their age', async () => {
  const policy = { ...POLICY, retentionMs: { ...NONE, raw: HOUR_MS } }
  const late = { policy, nowMs: () => NOON_MS + 1000 * HOUR_MS }
  const without = await threeHours()
  await without.pass(late)
  expect(without.files('raw').length).toBeGreaterThan(0)

  // Snapshots at entries 15 and 20: the older needs 16 to 20, which lie in the same hour as all others.
  const partly = await threeHours({ snapshots: true })
  await partly.pass(late)
  expect(partly.files('raw').length).toBeGreaterThan(0)
})

test('raw frames leave once both snapshots are past them', () => {
  const file = (firstEntry: number, lastEntry: number, hour: number) =>
    ({
      path: `${firstEntry}`,
      layer: 'raw',
      profile: null,
      hourMs: NOON_MS + hour * HOUR_MS,
      rows: 1,
      bytes: 1,
      shard: 0,
      firstEntry,
      lastEntry,
      columns: 'raw'
    }) as const
  const files = [file(1, 10, 0), file(11, 20, 0), file(21, 30, 1)]
  const expired = (needed: number) =>
    expiredHours(files, { ...NONE, raw: HOUR_MS }, NOON_MS + 100 * HOUR_MS, needed).map(hour => hour.length)
  expect([0, 19, 20, 29, 30].map(expired)).toEqual([[], [], [2], [2], [2, 1]])
})

test('0 keeps a layer for ever', () => {
  const file = { path: 'a', layer: 'curated', profile: 'p', hourMs: 0, rows: 1, bytes: 1, shard: 0, firstEntry: 1, lastEntry: 1 } as const
  expect(expiredHours([{ ...file, columns: 'c' }], NONE, Number.MAX_SAFE_INTEGER, 1)).toEqual([])
  expect(expiredHours([{ ...file, columns: 'c' }], { ...NONE, curated: 1 }, HOUR_MS + 1, 1)).toHaveLength(1)
})
