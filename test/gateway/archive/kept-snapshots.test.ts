/** One snapshot a day is kept beside the raw frames, and leaves with them. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Catalog } from '../../../gateway/src/archive/catalog.js'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { readSnapshot } from '../../../gateway/src/archive/snapshot-file.js'
import { archiveWithLog, POLICY, type TestArchive } from '../maintenance/kit.js'
import { filesBelow, flushOf, HOUR_MS, NO_FLEET, NOON_MS } from './kit.js'

const DAY_MS = 24 * HOUR_MS

/** Flushes of five entries, each with a snapshot, at these days of ingest time after the first. */
async function snapshotsAt(days: readonly number[]): Promise<TestArchive> {
  const archive = archiveWithLog(days.length * 5)
  for (const [k, day] of days.entries()) {
    await archive.write(flushOf([k * 5 + 1, k * 5 + 5], [], [], { fleet: { ...NO_FLEET, knownAtMs: NOON_MS + day * DAY_MS } }))
    archive.takeSnapshot(k * 5 + 5, NOON_MS + day * DAY_MS)
  }
  return archive
}

function kept({ catalog }: { readonly catalog: Catalog }): number[] {
  return catalog.reprocessing.keptSnapshots().map(({ entry }) => entry)
}

test('the first snapshot of each day of ingest time is kept, by its entry', async () => {
  const archive = await snapshotsAt([0, 0.25, 1, 1.1, 3])
  expect(kept(archive)).toEqual([25, 15, 5])
  const folder = join(archive.dataDir, 'snapshots/daily')
  expect(filesBelow(folder)).toEqual(['000000000005.snapshot', '000000000015.snapshot', '000000000025.snapshot'])
  expect(readSnapshot(join(folder, '000000000015.snapshot'))).toMatchObject({ entry: 15 })
  expect(filesBelow(join(archive.dataDir, 'snapshots')).filter(path => !path.includes('/'))).toHaveLength(2)
})

test('a start deletes what the catalog does not record, and nothing else', async () => {
  const archive = await snapshotsAt([0, 1])
  const folder = join(archive.dataDir, 'snapshots/daily')
  writeFileSync(join(folder, '000000000009.snapshot'), 'cut off')
  recoverArchive(archive.dataDir, 0, () => {})
  expect(filesBelow(folder)).toEqual(['000000000005.snapshot', '000000000010.snapshot'])
})

test('a snapshot leaves when retention has taken the raw frames behind it', async () => {
  const archive = await snapshotsAt([0, 1, 2])
  expect(kept(archive)).toEqual([15, 10, 5])
  const raw = archive.files('raw').filter(file => file.firstEntry <= 10)
  archive.catalog.supersede({ old: raw, files: [], atMs: 0, compaction: null, expired: [] })
  for (const { path } of raw) rmSync(join(archive.dataDir, 'archive', path))
  await archive.pass({ policy: { ...POLICY, minFiles: 1000 } })
  expect(kept(archive)).toEqual([15, 10])
  expect(filesBelow(join(archive.dataDir, 'snapshots/daily'))).toEqual(['000000000010.snapshot', '000000000015.snapshot'])
})
