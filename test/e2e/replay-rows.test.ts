import { rmSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { compareRows } from '../../load/src/replay/compare-rows.js'
import { withDuckDB } from '../../load/src/replay/duckdb.js'
import { type ArchiveRow, DEVICE, newArchive, recorded, START_MS, TANK, writeQuarantine, writeReadings } from './replay-archive.js'

// What the replay proof must not overlook, each in an archive that is otherwise as recorded.

const RECORDED = recorded([
  [20, 0.1, 20.04, true],
  [40, -0, 20.06, false],
  [40, 1e300, null, null],
  [10, 5e-324, 99.96, true],
  [60, 3, 200, true]
])
const ARCHIVED: readonly ArchiveRow[] = [
  { seq: 1, eventTimeMs: START_MS + 20_000, values: [0.1, 20, true] },
  { seq: 2, eventTimeMs: START_MS + 40_000, values: [-0, 20.1, false] },
  { seq: 3, eventTimeMs: START_MS + 40_000, values: [1e300, null, null] },
  { seq: 4, eventTimeMs: START_MS + 10_000, values: [5e-324, 100, true] }
]

let archive: string
beforeEach(() => {
  archive = newArchive()
})
afterEach(() => rmSync(archive, { recursive: true }))

async function compare(rows: readonly ArchiveRow[], refused: readonly number[] = [5]) {
  await writeReadings(archive, rows)
  if (refused.length > 0) await writeQuarantine(archive, refused)
  return await withDuckDB(connection => compareRows(connection, archive, { profile: TANK, deviceId: DEVICE, expected: RECORDED }))
}

function withRow(seq: number, change: Partial<ArchiveRow>): ArchiveRow[] {
  return ARCHIVED.map(row => (row.seq === seq ? { ...row, ...change } : row))
}

test('an archive that holds every row once, and what is out of range in the quarantine, is equal', async () => {
  expect(await compare(ARCHIVED)).toEqual({ archived: 4, quarantined: 1, missing: 0, doubled: 0, mismatched: 0, faults: [] })
})

test('a row that is not in the archive is missing', async () => {
  const { missing, doubled, mismatched, faults } = await compare(ARCHIVED.slice(1))
  expect({ missing, doubled, mismatched }).toEqual({ missing: 1, doubled: 0, mismatched: 0 })
  expect(faults).toEqual(['row 1 is missing from the archive'])
})

test('an archive without any file misses everything', async () => {
  const comparison = await withDuckDB(connection =>
    compareRows(connection, archive, { profile: TANK, deviceId: DEVICE, expected: RECORDED })
  )
  expect(comparison).toMatchObject({ archived: 0, missing: 5 })
})

test('a row that is there twice is doubled', async () => {
  const { missing, doubled, mismatched, faults } = await compare([...ARCHIVED, ARCHIVED[2]])
  expect({ missing, doubled, mismatched }).toEqual({ missing: 0, doubled: 1, mismatched: 0 })
  expect(faults).toEqual(['row 3 (device replayed, epoch 7) is in the archive more than once'])
})

test('a row that no row of the recording explains is doubled', async () => {
  expect(await compare([...ARCHIVED, { ...ARCHIVED[0], seq: 6 }])).toMatchObject({ archived: 5, doubled: 1 })
})

test('a row under another epoch is doubled', async () => {
  expect(await compare([...ARCHIVED, { ...ARCHIVED[0], epoch: 8 }])).toMatchObject({ archived: 5, doubled: 1 })
})

test('a value that differs in its last bit is a mismatch', async () => {
  const { mismatched, faults } = await compare(withRow(1, { values: [0.1 + 2 ** -56, 20, true] }))
  expect(mismatched).toBe(1)
  expect(faults).toEqual(['row 1: level is 0.10000000000000002 instead of 0.1'])
})

test('a zero that has lost its sign is a mismatch', async () => {
  expect(await compare(withRow(2, { values: [0, 20.1, false] }))).toMatchObject({ mismatched: 1 })
})

test('a value that became null is a mismatch', async () => {
  expect(await compare(withRow(3, { values: [null, null, null] }))).toMatchObject({ mismatched: 1 })
})

test('a value that is not rounded to the nearest multiple of its resolution is a mismatch', async () => {
  expect(await compare(withRow(1, { values: [0.1, 20.1, true] }))).toMatchObject({ mismatched: 1 })
})

test('a value that is not rounded at all where it has a resolution is a mismatch', async () => {
  expect(await compare(withRow(1, { values: [0.1, 20.04, true] }))).toMatchObject({ mismatched: 1 })
})

test('an event time that is a millisecond off is a mismatch', async () => {
  const { mismatched, faults } = await compare(withRow(4, { eventTimeMs: START_MS + 10_001 }))
  expect(mismatched).toBe(1)
  expect(faults).toEqual(['row 4: event time 2026-03-01T00:00:10.001Z instead of 2026-03-01T00:00:10.000Z'])
})

test('two rows that have changed places are mismatches, although their values are all there', async () => {
  const [first, second, ...rest] = ARCHIVED
  const swapped = [{ ...first, seq: 2 }, { ...second, seq: 1 }, ...rest]
  expect(await compare(swapped)).toMatchObject({ missing: 0, doubled: 0, mismatched: 2 })
})

test('a row out of range that is in neither archive nor quarantine is missing', async () => {
  expect(await compare(ARCHIVED, [])).toMatchObject({ missing: 1, faults: ['row 5 is missing from the quarantine'] })
})

test('a row out of range that was archived all the same is doubled, and a sound one that was quarantined too', async () => {
  const outOfRange = { seq: 5, eventTimeMs: START_MS + 60_000, values: [3, 200, true] }
  expect(await compare([...ARCHIVED, outOfRange], [5, 1])).toMatchObject({ missing: 0, doubled: 2 })
})
