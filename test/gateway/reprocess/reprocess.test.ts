/**
 * Reprocessing against its definition: the archive says of readings, the quarantine and all ledgers what it would say had the profile been
 * given at that time, to the row; and the features at their latest revision are those that would be out.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Profile } from '@tidemark/protocol'
import { describe, expect, test } from 'vitest'
import { MARKER_FILE } from '../../../gateway/src/archive/markers.js'
import { partitionPath } from '../../../gateway/src/archive/paths.js'
import { at, Timeline } from '../../kit/timeline.js'
import { asked, expectAsIf, expectRevisions, fourHours } from './as-if.js'
import { NARROW, SETTINGS, StoppedGateway, withRange } from './kit.js'

describe('the archive is as if the profile had been given', () => {
  test.each([
    ['a wider range: readings come back from the quarantine', withRange(-40, 50), withRange(-40, 150)],
    ['a narrower range: readings go to the quarantine', withRange(-40, 150), withRange(-40, 50)],
    ['another range: readings go both ways', withRange(-40, 50), withRange(25, 150)]
  ])('%s', async (_, before, after) => {
    const start = [before]
    const gateway = await fourHours([before], { start, sender: before }).stop()
    const expected = await fourHours([after], { start, sender: before }).stop()
    const report = await gateway.reprocess({ ...asked, profile: after })
    expect(report.changed).toBe(true)
    expect(report.first_entry, 'from the daily snapshot on').toBeGreaterThan(1)
    await expectAsIf(gateway, expected)
    await expectRevisions(gateway)
  })

  test('a profile that arrived late: its readings leave the quarantine for the archive', async () => {
    const other: Profile = { ...NARROW, name: 'other' }
    const gateway = await fourHours([other], { start: [other] }).stop()
    const expected = await fourHours([other, NARROW], { start: [other] }).stop()
    const report = await gateway.reprocess({ ...asked, profile: NARROW })
    expect(report).toMatchObject({ changed: true, readings: { added: 44, removed: 0 } })
    await expectAsIf(gateway, expected)
    await expectRevisions(gateway)
  })

  test('features that were added are computed for the hours that were asked for', async () => {
    const features = [...NARROW.features, { name: 'flow_max_5m', metric: 'flow', aggregate: 'max', window: '5m', per: '1s' } as const]
    const richer: Profile = { ...NARROW, features }
    const gateway = await fourHours([NARROW]).stop()
    const before = await gateway.said()
    const report = await gateway.reprocess({ ...asked, profile: richer })
    expect(report).toMatchObject({ changed: true, hours_changed: 0, readings: { added: 0, removed: 0 } })
    expect(report.feature_rows).toBeGreaterThan(20)
    const { devices, ...said } = await gateway.said()
    expect({ ...said, devices }).toEqual(before)
    const hours = await gateway.rows(`SELECT hour(as_of)::INTEGER AS hour, count(flow_max_5m) > 0 AS has, count(*) AS n FROM features
      WHERE device_id LIKE 'pump%' AND minute(as_of) BETWEEN 1 AND 10 GROUP BY 1 ORDER BY 1`)
    expect(hours.map(({ hour, has }) => [hour, has])).toEqual([
      [14, false],
      [15, true],
      [16, true],
      [17, false]
    ])
    await expectRevisions(gateway)
    expect(await gateway.reprocess({ ...asked, profile: richer })).toMatchObject({ changed: false, feature_rows: 0 })
  })
})

test('with nothing changed it changes no row, no file and no ledger', async () => {
  const gateway = await fourHours([withRange(-40, 50)]).stop()
  const before = await gateway.everything()
  for (const profile of [withRange(-40, 50), [withRange(-40, 50), NARROW].slice(0, 1)])
    expect(await gateway.reprocess({ ...asked, profile })).toMatchObject({
      changed: false,
      hours_changed: 0,
      feature_rows: 0,
      files_after: 0
    })
  expect(await gateway.everything()).toEqual(before)
})

test('run again it changes nothing, and a later run keeps to what an earlier one has judged', async () => {
  const gateway = await fourHours([withRange(-40, 50)], { start: [withRange(-40, 50)] }).stop()
  await gateway.reprocess({ from: '15:00', to: '16:00', profile: withRange(-40, 150) })
  const after = await gateway.everything()
  expect(await gateway.reprocess({ from: '15:00', to: '16:00', profile: withRange(-40, 150) })).toMatchObject({ changed: false })
  expect(await gateway.reprocess({ from: '17:00', to: '18:00', profile: withRange(-40, 50) })).toMatchObject({ changed: false })
  expect(await gateway.everything()).toEqual(after)
  await gateway.reprocess({ from: '16:00', to: '17:00', profile: withRange(-40, 150) })
  await expectAsIf(gateway, await fourHours([withRange(-40, 150)], { start: [withRange(-40, 50)] }).stop())
})

describe('what was known when stays as it was', () => {
  test('no feature row that was out changes or goes; the corrected ones are known since the run', async () => {
    const gateway = await fourHours([withRange(-40, 50)]).stop()
    const before = await gateway.revisions()
    await gateway.reprocess({ ...asked, profile: NARROW })
    const after = await gateway.revisions()
    const atMs = gateway.t.nowMs + 3_600_000
    expect(after.filter(row => (row.known_at as number) < atMs)).toEqual(before)
    const corrected = after.filter(row => row.known_at === atMs)
    expect(corrected.length).toBeGreaterThan(10)
    const latest = new Map(before.map(row => [`${row.device_id} ${row.as_of}`, Number(row.revision)]))
    for (const row of corrected) expect(row.revision).toBe((latest.get(`${row.device_id} ${row.as_of}`) ?? -1) + 1)
  })

  test('a hop that has lost its readings says so, with a revision that is known since the run', async () => {
    const t = new Timeline()
    t.nowMs = at('14:00')
    t.start(SETTINGS, [NARROW])
    t.tick(60_000)
    t.nowMs = at('15:00') + 1
    for (const [i, temperature] of [20, 100, 20, 20].entries())
      t.reading({ profile: NARROW, seq: i + 1, eventTimeMs: at('15:00') + i * 60_000 + 30_000, values: { temperature } })
    t.tick(120_000)
    const gateway = await new StoppedGateway(t).stop()
    const before = await gateway.revisions()
    await gateway.reprocess({ ...asked, profile: withRange(-40, 50) })
    expect((await gateway.revisions()).slice(0, -1).filter(({ revision }) => revision === 0)).toEqual(before)
    const [empty] = (await gateway.features()).filter(({ as_of }) => as_of === at('15:02'))
    expect(empty).toMatchObject({ event_count: 0, coverage: 0, temp_mean_5m: null })
    await expectRevisions(gateway)
  })
})

test('an hour that has lost its readings has no completeness marker any more', async () => {
  const t = new Timeline()
  t.nowMs = at('14:00')
  t.start(SETTINGS, [NARROW])
  t.tick(60_000)
  t.nowMs = at('15:00') + 1
  t.reading({ profile: NARROW, seq: 1, eventTimeMs: at('15:00') + 1, values: { temperature: 100 } })
  t.tick(60_000)
  t.nowMs = at('16:00') + 1
  t.reading({ profile: NARROW, seq: 2, eventTimeMs: at('16:00') + 1, values: { temperature: 20 } })
  t.tick(60_000)
  const gateway = await new StoppedGateway(t).stop()
  const marker = join(gateway.dataDir, 'archive', partitionPath({ layer: 'processed', profile: 'pump', hourMs: at('15:00') }), MARKER_FILE)
  expect(existsSync(marker)).toBe(true)
  await gateway.reprocess({ from: '15:00', to: '16:00', profile: withRange(-40, 50) })
  expect(gateway.catalog(catalog => catalog.fleet.markers())).toEqual([])
  expect(existsSync(marker)).toBe(false)
})
