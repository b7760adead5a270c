/** Completeness markers where the archive's writer is killed at any point of a commit. */
import { dirname } from 'node:path'
import { expect, test } from 'vitest'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { ArchivedTimeline } from './completeness-kit.js'
import { filesBelow, query } from './kit.js'
import { runWriter, writeWriter } from './writer-process.js'

/** Three boundaries: hour 12 is complete, then late data comes, then a device that has it still before it. */
function threeFlushes(): ArchivedTimeline {
  const a = new ArchivedTimeline({ snapshotEvery: 1 })
  a.send('pump-1', 1, ['12:10', '13:10'])
  a.t.drain()
  a.send('pump-1', 3, ['12:30'])
  a.t.drain()
  a.send('pump-2', 1, ['12:20'])
  a.t.drain()
  a.writeLog()
  writeWriter(a.dataDir, a.t.flushes)
  return a
}

/** What the marker must say behind each number of committed flushes. */
const MARKERS = [null, { rows: 1, late: 0, received: 1 }, { rows: 2, late: 1, received: 2 }, null]

async function rowsIn(folder: string): Promise<number> {
  if (!filesBelow(folder).some(file => file.endsWith('.parquet'))) return 0
  return Number((await query(`SELECT count(*) FROM '${folder}/*.parquet'`))[0][0])
}

const POINTS = ['flush:1', 'commit:1', 'rename:1', 'snapshot:1', 'flush:2', 'commit:2', 'rename:4', 'snapshot:2', 'flush:3', 'commit:3']

test.each(POINTS)('killed at %s, no marker stands beside rows that it does not cover, and recovery puts it right', async point => {
  const a = threeFlushes()
  expect(await runWriter(a.dataDir, point)).toBe('SIGKILL')
  const folder = dirname(a.markerPath(12))
  const marker = a.marker(12)
  if (marker !== null) expect(marker.rows).toBe(await rowsIn(folder))

  const { committedEntry } = recoverArchive(a.dataDir, 0, message => expect.unreachable(message))
  const committed = a.t.flushes.filter(flush => flush.lastEntry <= committedEntry).length
  const expected = MARKERS[committed]
  if (expected === null) expect(a.marker(12)).toBeNull()
  else expect(a.marker(12)).toMatchObject({ ...expected, boundary_entry: committedEntry })

  expect(await runWriter(a.dataDir)).toBeNull()
  expect(a.marker(12)).toBeNull()
  expect(await rowsIn(folder)).toBe(3)
})

test('a marker that a commit outdates is gone before the commit', async () => {
  const a = threeFlushes()
  expect(await runWriter(a.dataDir, 'flush:2')).toBe('SIGKILL')
  expect(a.marker(12), 'not committed yet').toMatchObject({ rows: 1 })
  const b = threeFlushes()
  expect(await runWriter(b.dataDir, 'commit:2')).toBe('SIGKILL')
  expect(b.marker(12), 'committed, the late row is not in its place yet').toBeNull()
})
