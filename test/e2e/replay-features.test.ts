import { rmSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { compareFeatures } from '../../load/src/replay/compare-features.js'
import { withDuckDB } from '../../load/src/replay/duckdb.js'
import { type ArchiveFeatures, DEVICE, newArchive, recorded, TANK, writeFeatures } from './replay-archive.js'

//  hop           (0, 60]         (60, 120]   (120, 180]     (180, 240]
//  level      10   20   30      40   null         -         60 and 60
//  seconds    20   40   60      80    120         -         240   240
//  2 min windows end at 60, 120, 240; 4 min windows, with their hop of 2 min, at 0, 120, 240
const RECORDED = recorded([
  [40, 20, 1, null],
  [20, 10, 1, null],
  [60, 30, 1, null],
  [80, 40, 1, null],
  [120, null, 1, null],
  [240, 60, 1, null],
  [240, 60, 1, null]
])

// Worked out by hand: mean, std, min, max, sum, count, last, rate a minute, range, slow mean; surge, odd.
const AT_60: ArchiveFeatures = {
  asOfSeconds: 60,
  eventCount: 3,
  coverage: 0,
  features: [20, 10, 10, 30, 60, 3, 30, 30, 20, null],
  flags: [null, false]
}
const AT_120: ArchiveFeatures = {
  asOfSeconds: 120,
  eventCount: 2,
  coverage: 5 / 12,
  features: [25, Math.sqrt(500 / 3), 10, 40, 100, 4, 40, 30, 30, 25],
  flags: [true, true]
}
const AT_240: ArchiveFeatures = {
  asOfSeconds: 240,
  eventCount: 2,
  coverage: 7 / 12,
  features: [60, 0, 60, 60, 120, 2, 60, null, 0, 220 / 6],
  flags: [true, false]
}
const SOUND = [AT_60, AT_120, AT_240]

let archive: string
beforeEach(() => {
  archive = newArchive()
})
afterEach(() => rmSync(archive, { recursive: true }))

async function compare(rows: readonly ArchiveFeatures[]) {
  await writeFeatures(archive, rows)
  return await withDuckDB(connection => compareFeatures(connection, archive, { profile: TANK, deviceId: DEVICE, expected: RECORDED }))
}

/** The row with one feature changed, and those around it. */
function withFeature(name: string, change: (value: number) => number | null): ArchiveFeatures[] {
  const place = TANK.features.findIndex(feature => feature.name === name)
  const features = AT_120.features.map((value, f) => (f === place ? change(value!) : value))
  return [AT_60, { ...AT_120, features }, AT_240]
}

test('features worked out by hand equal the reference; a deviation of exactly one std is undecided', async () => {
  expect(await compare(SOUND)).toEqual({ featureRows: 3, featureMismatches: 0, flagsUndecided: 1, faults: [] })
})

test('a mean that is off by 1e-6 is a mismatch', async () => {
  const { featureMismatches, faults } = await compare(withFeature('level_mean', mean => mean + 1e-6))
  expect(featureMismatches).toBe(1)
  expect(faults).toEqual(['features as of 2026-03-01T00:02:00.000Z: level_mean is 25.000001 instead of 25'])
})

test('a mean that is off by rounding only is equal', async () => {
  expect(await compare(withFeature('level_mean', mean => mean + 1e-9))).toMatchObject({ featureMismatches: 0 })
})

test.each(['level_min', 'level_max', 'level_last'])('%s must be equal to the bit', async name => {
  expect(await compare(withFeature(name, value => value + 1e-14))).toMatchObject({ featureMismatches: 1 })
})

test.each(['level_std', 'level_sum', 'level_rate', 'level_range', 'level_slow'])('%s that is off by 1e-6 is a mismatch', async name => {
  expect(await compare(withFeature(name, value => value + 1e-6))).toMatchObject({ featureMismatches: 1 })
})

test('a count that is off by one is a mismatch', async () => {
  expect(await compare(withFeature('level_count', count => count + 1))).toMatchObject({ featureMismatches: 1 })
})

test('null where there is a value is a mismatch, and a value where there is none', async () => {
  const features = AT_60.features.map(value => value ?? 0)
  const [, changed] = withFeature('level_mean', () => null)
  expect(await compare([{ ...AT_60, features }, changed, AT_240])).toMatchObject({ featureMismatches: 2 })
})

test('a flag that is wrong is a mismatch, also where it must be null', async () => {
  const wrong = [{ ...AT_60, flags: [false, false] }, { ...AT_120, flags: [true, false] }, AT_240]
  expect(await compare(wrong)).toMatchObject({ featureMismatches: 2 })
})

test('event count and coverage are compared', async () => {
  const wrong = [AT_60, { ...AT_120, eventCount: 1 }, { ...AT_240, coverage: 8 / 12 }]
  expect(await compare(wrong)).toMatchObject({ featureMismatches: 2 })
})

test('a row that is missing is a mismatch', async () => {
  const { featureRows, featureMismatches, faults } = await compare([AT_60, AT_240])
  expect({ featureRows, featureMismatches }).toEqual({ featureRows: 2, featureMismatches: 1 })
  expect(faults).toEqual(['features as of 2026-03-01T00:02:00.000Z: the row is missing'])
})

test('a row of a hop without readings is a mismatch', async () => {
  expect(await compare([...SOUND, { ...AT_240, asOfSeconds: 180 }])).toMatchObject({ featureMismatches: 1 })
})

test('only the latest revision counts', async () => {
  const earlier = { ...AT_120, eventCount: 1, features: AT_120.features.map(() => 0) }
  expect(await compare([AT_60, earlier, { ...AT_120, revision: 1 }, AT_240])).toMatchObject({ featureRows: 3, featureMismatches: 0 })
})

test('a revision that was written twice is a mismatch', async () => {
  expect(await compare([...SOUND, AT_120])).toMatchObject({ featureRows: 3, featureMismatches: 1 })
})
