import { type Profile, profileSchema } from '@tidemark/protocol'
import { expect } from 'vitest'
import type { Row } from './flush-rows.js'
import { type NaiveRow, naiveFeatures } from './naive-features.js'

/** Every aggregate, over metrics of every numeric type, with two hops besides the row's own. */
export const EVERYTHING: Profile = profileSchema.parse({
  name: 'everything',
  interval: '7s',
  hop: '2m',
  corrections: '15m',
  metrics: [
    { name: 'level', min: -1e6, max: 1e6 },
    { name: 'pulses', type: 'int', min: 0 },
    { name: 'open', type: 'bool' }
  ],
  features: [
    { name: 'level_mean_6m', metric: 'level', aggregate: 'mean', window: '6m' },
    { name: 'level_std_6m', metric: 'level', aggregate: 'std', window: '6m' },
    { name: 'level_mean_20m', metric: 'level', aggregate: 'mean', window: '20m' },
    { name: 'level_min_20m', metric: 'level', aggregate: 'min', window: '20m', hop: '4m' },
    { name: 'level_max_20m', metric: 'level', aggregate: 'max', window: '20m', hop: '4m' },
    { name: 'level_range_6m', metric: 'level', aggregate: 'range', window: '6m' },
    { name: 'level_last_6m', metric: 'level', aggregate: 'last', window: '6m' },
    { name: 'level_rate_2h', metric: 'level', aggregate: 'rate', window: '2h', hop: '10m', per: '1s' },
    { name: 'pulses_sum_2h', metric: 'pulses', aggregate: 'sum', window: '2h', hop: '10m' },
    { name: 'pulses_count_2m', metric: 'pulses', aggregate: 'count', window: '2m' },
    { name: 'open_mean_20m', metric: 'open', aggregate: 'mean', window: '20m' }
  ],
  flags: [
    { name: 'level_odd', flag: 'deviates', metric: 'level', mean: 'level_mean_20m', std: 'level_std_6m', factor: 1.5 },
    { name: 'level_high', flag: 'exceeds', metric: 'level', of: 'level_mean_6m', factor: 1.1 }
  ]
})

/** Expects that `latest`, rows at their latest revision, are what `readings` give; save those that `isForRepair` names. */
export function expectFeatures(
  profile: Profile,
  readings: readonly Row[],
  latest: readonly Row[],
  isForRepair = (_asOfMs: number) => false
): void {
  const byAsOf = new Map(latest.map(row => [row.as_of as number, row]))
  const naive = naiveFeatures(profile, readings)
  for (const expected of naive) {
    const { asOfMs } = expected
    if (isForRepair(asOfMs)) continue
    const row = byAsOf.get(asOfMs)
    const when = new Date(asOfMs).toISOString()
    expect(row, `the row as of ${when}`).toBeDefined()
    expect(differences(profile, row!, expected), `the row as of ${when}`).toEqual([])
  }
  const asOfs = new Set(naive.map(({ asOfMs }) => asOfMs))
  expect(latest.filter(row => !asOfs.has(row.as_of as number))).toEqual([])
}

function differences(profile: Profile, row: Row, expected: NaiveRow): string[] {
  const wrong: string[] = []
  if (row.event_count !== expected.eventCount) wrong.push(`event_count ${row.event_count}, not ${expected.eventCount}`)
  if (row.coverage !== expected.coverage) wrong.push(`coverage ${row.coverage}, not ${expected.coverage}`)
  for (const { name } of profile.features) {
    const { value, tolerance } = expected.features.get(name)!
    const actual = row[name] as number | null
    const isNear = value === null || actual === null ? value === actual : Math.abs(actual - value) <= tolerance
    if (!isNear) wrong.push(`${name} ${actual}, not ${value} ± ${tolerance}`)
  }
  for (const { name } of profile.flags) {
    const flag = expected.flags.get(name)!
    if (flag === 'undecided' ? row[name] === null : row[name] !== flag) wrong.push(`${name} ${row[name]}, not ${flag}`)
  }
  return wrong
}

/** Expects that each row's revisions count 0, 1, 2, … as they went out, and are known at ingest times that do not fall. */
export function expectRevisionsInOrder(rows: readonly Row[]): void {
  const known = new Map<string, { revision: number; knownAtMs: number }>()
  for (const { device_id, as_of, revision, known_at } of rows) {
    const key = `${device_id}/${as_of}`
    const before = known.get(key) ?? { revision: -1, knownAtMs: Number.NEGATIVE_INFINITY }
    expect(revision, key).toBe(before.revision + 1)
    expect(known_at).toBeGreaterThanOrEqual(before.knownAtMs)
    known.set(key, { revision: revision as number, knownAtMs: known_at as number })
  }
}
