import { type Profile, profileSchema, ROTATING_MACHINE } from '@tidemark/protocol'
import { expect, test } from 'vitest'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { dataPaths, isRepairFile } from '../../../gateway/src/archive/paths.js'
import { runPass } from '../../../gateway/src/maintenance/pass.js'
import { Draw } from '../../../load/src/replay/draw.js'
import { EVERYTHING, expectFeatures, expectRevisionsInOrder } from '../../kit/expect-features.js'
import type { Row } from '../../kit/flush-rows.js'
import { at, PUMP, type Timeline, timeline } from '../../kit/timeline.js'
import { POLICY } from '../maintenance/kit.js'
import { TestArchive, temporaryFolder } from './kit.js'

/** A repair makes what the panes are gone for; what it makes must be what panes would have made. */

const QUICK = { flushIntervalMs: 1000, smallHourWaitMs: 0, correctionIntervalMs: 0 }

/** The profile, with panes kept for another time. */
function keeping(profile: Profile, corrections: string): Profile {
  return profileSchema.parse({ ...profile, corrections })
}

interface Sent {
  readonly seq: number
  readonly eventTimeMs: number
  readonly values: Record<string, number | boolean | null>
}

/** A day or so of readings, irregular and with gaps and ties, of which every twentieth comes when all others have. */
function irregular(draw: Draw, count: number): Sent[] {
  const times: number[] = []
  for (let t = at('02:00') - 86_400_000; times.length < count; ) {
    times.push(t)
    t += draw.chance(0.02) ? draw.integer(600_000, 4_000_000) : draw.chance(0.1) ? 0 : draw.integer(1000, 60_000)
  }
  const isLate = times.map((_, i) => i < count - 1 && draw.chance(0.05))
  const inTurn = [...times.filter((_, i) => !isLate[i]), ...times.filter((_, i) => isLate[i])]
  return inTurn.map((eventTimeMs, i) => ({
    seq: i + 1,
    eventTimeMs,
    values: {
      level: draw.chance(0.1) ? null : 100 + draw.fraction() * 7,
      pulses: draw.chance(0.2) ? null : draw.integer(0, 5),
      open: draw.chance(0.5)
    }
  }))
}

function send(t: Timeline, profile: Profile, sent: readonly Sent[], device: string): void {
  for (let i = 0; i < sent.length; i += 40) t.batch({ profile, device, readings: sent.slice(i, i + 40) })
  t.batch({ profile, device, endOfStreamSeq: sent.length })
}

/** Names of columns that say when a row was made. */
const WHEN = ['known_at', 'computed_at', 'revision', 'profile']

/** Expects the same rows: counts and extremes to the bit, the rest within 1e-9. */
function expectSame(profile: Profile, actual: readonly Row[], expected: readonly Row[]): void {
  const exact = new Set(
    profile.features.flatMap(({ name, aggregate }) => (['min', 'max', 'count', 'last'].includes(aggregate) ? [name] : []))
  )
  const key = (row: Row) => `${row.device_id} ${new Date(row.as_of as number).toISOString()}`
  expect(actual.map(key)).toEqual(expected.map(key))
  for (const [i, row] of actual.entries()) {
    for (const [name, value] of Object.entries(row)) {
      if (WHEN.includes(name)) continue
      const other = expected[i][name]
      const isNear = typeof value === 'number' && typeof other === 'number' && !exact.has(name)
      if (isNear)
        expect(Math.abs(value - other), `${name} of ${key(row)}: ${value}, ${other}`).toBeLessThanOrEqual(
          1e-9 * Math.max(Math.abs(value), 110)
        )
      else expect(value, `${name} of ${key(row)}`).toBe(other)
    }
  }
}

test.each([1, 2, 3])('late readings come to the same features through panes and through a repair (seed %i)', async seed => {
  const ways = { panes: keeping(EVERYTHING, '3d'), repair: keeping(EVERYTHING, '1m') }
  const latest: Partial<Record<keyof typeof ways, Row[]>> = {}
  for (const [way, profile] of Object.entries(ways) as [keyof typeof ways, Profile][]) {
    const t = timeline(QUICK, [profile])
    const sent = irregular(new Draw(seed), 1200)
    for (const device of ['a', 'b']) send(t, profile, sent, device)
    t.tick(2000)
    const archive = new TestArchive(temporaryFolder(), t)
    await archive.commit()
    expect(archive.marks().length > 0, way).toBe(way === 'repair')
    const [made] = await archive.repair()
    if (way === 'repair') expect(made.rows).toBeGreaterThan(50)
    else expect(made.rows).toBe(0)
    expect(archive.marks()).toEqual([])
    expectRevisionsInOrder(await archive.rows('feature_revisions_everything'))
    latest[way] = await archive.rows('features_everything')
    const readings = await archive.readings(profile, 'a')
    expect(readings).toHaveLength(sent.length)
    expectFeatures(
      profile,
      readings,
      latest[way].filter(row => row.device_id === 'a')
    )
  }
  expectSame(EVERYTHING, latest.repair!, latest.panes!)
})

test('batches of one device and a day make the same rows as one batch of all', async () => {
  const profile = keeping(EVERYTHING, '1m')
  const rows: Row[][] = []
  const batches: number[] = []
  for (const batchReadings of [1, 1_000_000]) {
    const t = timeline(QUICK, [profile])
    for (const device of ['a', 'b', 'c']) send(t, profile, irregular(new Draw(device.charCodeAt(0)), 400), device)
    t.tick(2000)
    const archive = new TestArchive(temporaryFolder(), t)
    const [made] = await archive.repair({ batchReadings })
    batches.push(made.batches)
    rows.push(await archive.rows('feature_revisions_everything'))
  }
  expect(batches[1], 'one a day').toBe(1)
  expect(batches[0]).toBeGreaterThan(batches[1])
  expect(rows[0]).toEqual(rows[1])
})

/** A late day: readings of each minute, then one that is hours late. */
function lateBy(t: Timeline, device: string, profile: Profile, lateAt: string, value = 50): void {
  const metric = profile.metrics[0].name
  const readings = Array.from({ length: 300 }, (_, i) => ({
    seq: i + 1,
    eventTimeMs: at('08:00') + i * 60_000,
    values: { [metric]: 20, vibration: 1 }
  }))
  t.batch({ profile, device, readings })
  t.batch({
    profile,
    device,
    endOfStreamSeq: 301,
    readings: [{ seq: 301, eventTimeMs: at(lateAt), values: { [metric]: value, vibration: 1 } }]
  })
}

test('features of several profiles are repaired at once, each by its own plan', async () => {
  const pump = keeping(PUMP, '1m')
  const machine = keeping(ROTATING_MACHINE, '1m')
  const t = timeline(QUICK, [pump, machine])
  lateBy(t, 'p', pump, '08:30:30')
  lateBy(t, 'm', machine, '08:30:30', 60)
  t.tick(2000)
  const archive = new TestArchive(temporaryFolder(), t)
  const [made] = await archive.repair()
  expect(archive.marks()).toEqual([])
  const max = (await archive.rows('features_pump')).filter(row => row.temp_max_5m === 50).map(row => (row.as_of as number) - at('08:30'))
  expect(max).toEqual([1, 2, 3, 4, 5].map(minute => minute * 60_000))
  const machines = await archive.rows('features_rotating_machine')
  expectFeatures(machine, await archive.readings(machine, 'm'), machines)
  expect(made.rows).toBeGreaterThan(200)
})

test('a repaired row is known since the boundary that the control frame made, and is the next revision', async () => {
  const pump = keeping(PUMP, '1m')
  const t = timeline(QUICK, [pump])
  lateBy(t, 'p', pump, '08:30:30')
  t.tick(2000)
  const archive = new TestArchive(temporaryFolder(), t)
  await archive.commit()
  t.leap(60_000)
  archive.order()
  const boundaryMs = t.nowMs
  await archive.commit()
  t.tick(10_000)
  await archive.commit()
  await archive.makeRepairs()
  const repaired = (await archive.rows('feature_revisions_pump')).filter(row => row.revision === 1)
  expect(repaired).toHaveLength(5)
  for (const row of repaired) expect(row).toMatchObject({ known_at: boundaryMs, computed_at: boundaryMs, provisional: false })
  expect(repaired.map(row => row.event_count)).toEqual([2, 1, 1, 1, 1])
})

/** Merges the files of every hour, as a pass does that was under way when the repair was ordered. */
async function compactUnderWay(dataDir: string): Promise<void> {
  const paths = dataPaths(dataDir)
  const catalog = Catalog.open(paths.catalog)
  catalog.hasRepairJobs = () => false
  const policy = { ...POLICY, minFiles: 2 }
  const { failures } = await runPass({ paths, catalog, policy, nowMs: () => at('23:00'), signal: new AbortController().signal })
  catalog.close()
  expect(failures).toEqual([])
}

test.each([
  ['', false],
  [' whose file a compaction has merged with those from before it', true]
])('a reading that came behind the boundary%s is left to the next repair, and its mark stays', async (_, isMerged) => {
  const pump = keeping(PUMP, '1m')
  const t = timeline(QUICK, [pump])
  lateBy(t, 'p', pump, '08:30:30')
  t.tick(2000)
  const archive = new TestArchive(temporaryFolder(), t)
  archive.order()
  t.leap(1)
  t.batch({ profile: pump, device: 'p', readings: [{ seq: 302, eventTimeMs: at('08:30:40'), values: { temperature: 80 } }] })
  t.tick(2000)
  await archive.commit()
  if (isMerged) await compactUnderWay(archive.dataDir)
  const [first] = await archive.makeRepairs()
  expect(first).toMatchObject({ rows: 5, marks: 1 })
  const asOf = (rows: readonly Row[]) => rows.find(row => row.as_of === at('08:31'))
  expect(asOf(await archive.rows('features_pump'))).toMatchObject({ temp_max_5m: 50, event_count: 2, revision: 1 })
  expect(archive.marks()).toHaveLength(1)
  await archive.repair()
  expect(asOf(await archive.rows('features_pump'))).toMatchObject({ temp_max_5m: 80, event_count: 3, revision: 2 })
  expect(archive.marks()).toEqual([])
})

test('a row of a hop that held no reading before is made for the first time', async () => {
  const pump = keeping(PUMP, '1m')
  const t = timeline(QUICK, [pump])
  lateBy(t, 'p', pump, '07:30:30')
  t.tick(2000)
  const archive = new TestArchive(temporaryFolder(), t)
  expect(await archive.repair()).toMatchObject([{ rows: 1, unchanged: 0 }])
  expect((await archive.rows('features_pump'))[0]).toMatchObject({ as_of: at('07:31'), revision: 0, event_count: 1, temp_max_5m: 50 })
})

test('a repaired value keeps the sign of its zero', async () => {
  const pump = keeping(PUMP, '1m')
  const t = timeline(QUICK, [pump])
  const values = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? 0 : -0))
  for (const [i, value] of values.entries()) lateBy(t, `p${i + 10}`, pump, '07:30:30', value)
  t.tick(2000)
  const archive = new TestArchive(temporaryFolder(), t)
  await archive.repair()
  const repaired = (await archive.rows('features_pump')).filter(row => row.as_of === at('07:31'))
  expect(repaired.sort((a, b) => String(a.device_id).localeCompare(String(b.device_id))).map(row => row.temp_max_5m)).toEqual(values)
})

test('rows that come out as they are do not go out again, and are counted', async () => {
  const pump = keeping(PUMP, '1m')
  const t = timeline(QUICK, [pump])
  lateBy(t, 'p', pump, '08:30:30')
  t.tick(2000)
  const archive = new TestArchive(temporaryFolder(), t)
  await archive.repair()
  t.batch({ profile: pump, device: 'p', readings: [{ seq: 302, eventTimeMs: at('08:33:10'), values: { temperature: 20 } }] })
  t.tick(2000)
  // Marked are the rows as of 08:34 to 08:38, all of which count one reading more.
  expect(await archive.repair()).toMatchObject([{ rows: 5, unchanged: 0 }])
  expect(await archive.repair()).toMatchObject([{ marks: 0, rows: 0, unchanged: 0, files: 0 }])
})

test('a repair that is ended before its commit leaves nothing, and makes the same rows the next time', async () => {
  const profile = keeping(EVERYTHING, '1m')
  const t = timeline(QUICK, [profile])
  for (const device of ['a', 'b']) send(t, profile, irregular(new Draw(5), 400), device)
  t.tick(2000)
  const archive = new TestArchive(temporaryFolder(), t)
  archive.order()
  await archive.commit()
  const before = await archive.rows('feature_revisions_everything')
  await expect(archive.makeRepairs({ batchReadings: 1, progress: () => false })).rejects.toThrow('ended before its commit')
  expect(await archive.rows('feature_revisions_everything')).toEqual(before)
  expect(archive.marks().length).toBeGreaterThan(0)
  const [made] = await archive.makeRepairs()
  expect(await archive.rows('feature_revisions_everything')).toHaveLength(before.length + made.rows)
  expect(archive.staged()).toEqual([])
})

test('the files of repairs are told from those of flushes by their names', () => {
  expect(isRepairFile('curated/pump/date=2026-11-24/hour=08/0-repair-000000000012.parquet')).toBe(true)
  expect(isRepairFile('curated__pump__date=2026-11-24__hour=08__0-repair-000000000012-2.parquet')).toBe(true)
  expect(isRepairFile('curated__my-repair-1__date=2026-11-24__hour=08__0-000000000001-000000000012.parquet')).toBe(false)
})
