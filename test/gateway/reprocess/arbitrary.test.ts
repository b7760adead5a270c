/** Reprocessing of logs with everything in them, compacted or not: from the definition, and where nothing changes. */

import type { Profile } from '@tidemark/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { dataPaths } from '../../../gateway/src/archive/paths.js'
import { readFrames } from '../../../gateway/src/log/frames.js'
import { runPass } from '../../../gateway/src/maintenance/pass.js'
import { Processor } from '../../../gateway/src/processor/processor.js'
import { Rules } from '../../../gateway/src/reprocess/rules.js'
import { log, type Step, writeLog } from '../../kit/arbitrary-log.js'
import { EventIdsInMemory } from '../../kit/event-ids-in-memory.js'
import { EVERYTHING } from '../../kit/expect-features.js'
import { PUMP, packed, Timeline } from '../../kit/timeline.js'
import { POLICY } from '../maintenance/kit.js'
import { HOUR_MS, StoppedGateway, withRange } from './kit.js'

const RUNS = 6

interface Case {
  readonly steps: readonly Step[]
  /** Which hour of those that the log has is the first that is judged anew, and how many are. */
  readonly hour: number
  readonly hours: number
  readonly profiles: readonly Profile[]
  readonly isCompacted: boolean
}

const cases: fc.Arbitrary<Case> = fc.record({
  steps: log,
  hour: fc.nat(),
  hours: fc.constantFrom(1, 2, 100),
  profiles: fc.constantFrom([withRange(-40, 1000)], [withRange(-40, 25)], [withRange(0, 23), EVERYTHING], [{ ...PUMP, version: 2 }]),
  isCompacted: fc.boolean()
})

async function stopped({ steps, isCompacted }: Case): Promise<StoppedGateway> {
  const gateway = await StoppedGateway.of(eventIds => {
    const t = new Timeline(eventIds)
    writeLog(t, steps)
    t.leap(1)
    return t
  }).stop()
  await gateway.makeRepairs() // that the log orders
  if (isCompacted) {
    const paths = dataPaths(gateway.dataDir)
    const catalog = Catalog.open(paths.catalog)
    const policy = { ...POLICY, minFiles: 2, afterMs: Number.NEGATIVE_INFINITY }
    const result = await runPass({ paths, catalog, policy, nowMs: Date.now, signal: new AbortController().signal })
    catalog.close()
    expect(result.failures).toEqual([])
  }
  return gateway
}

/** [fromMs, toMs) of ingest time. */
function spanOf(gateway: StoppedGateway, { hour, hours }: Case): [number, number] {
  const known = [...new Set(gateway.t.entries.map(({ ingestMs }) => Math.floor(ingestMs / HOUR_MS) * HOUR_MS))]
  const fromMs = known[hour % known.length]
  return [fromMs, fromMs + hours * HOUR_MS]
}

/** The same entries, those taken in at [fromMs, toMs) judged by other profiles too. */
function asIf(t: Timeline, fromMs: number, toMs: number, profiles: readonly Profile[]): Timeline {
  const judged = t.entries.filter(({ ingestMs }) => ingestMs >= fromMs && ingestMs < toMs)
  const override = { firstEntry: judged[0].entry, lastEntry: judged[judged.length - 1].entry, profiles }
  const rules = new Rules([override], [], 0)
  const eventIds = new EventIdsInMemory()
  const processor = new Processor(eventIds)
  const other = new Timeline(eventIds, [], processor)
  for (const { entry, ingestMs, frames } of t.entries) {
    const inForce = rules.enter(entry)
    if (inForce !== null) processor.setProfiles(inForce)
    other.nowMs = ingestMs
    const all = Array.from(readFrames(frames), ({ kind, deviceId, payload }) => ({
      kind,
      device: deviceId,
      payload: kind === 'control' ? rules.control(payload) : payload
    }))
    expect(packed(all).length).toBeGreaterThan(0)
    other.append(...all)
  }
  return other
}

/** Without what is null: a merged file keeps the columns of a version whose readings have gone. */
function present(said: unknown): unknown {
  return JSON.parse(JSON.stringify(said, (_, value) => (value === null ? undefined : value)))
}

async function reprocess(gateway: StoppedGateway, [fromMs, toMs]: [number, number], profiles: readonly Profile[]) {
  return await gateway.reprocess({ from: '00:00', to: '00:00', profile: profiles, more: { fromMs, toMs } })
}

test('the archive is as if the profiles had been given', { timeout: 240_000 }, async () => {
  let changed = 0
  await fc.assert(
    fc.asyncProperty(cases, async given => {
      const each = { ...given, steps: given.steps.filter(({ type }) => type !== 'requeue') }
      const gateway = await stopped(each)
      const span = spanOf(gateway, each)
      const expected = new StoppedGateway(asIf(gateway.t, ...span, each.profiles))
      const report = await reprocess(gateway, span, each.profiles)
      await expected.commit()
      if (report.changed) changed++
      const [is, wanted] = [await gateway.said(), await expected.said()]
      for (const name of Object.keys(wanted) as (keyof typeof wanted)[]) expect(present(is[name]), name).toEqual(present(wanted[name]))
      expect(
        await gateway.rows(
          'SELECT device_id, as_of, revision FROM feature_revisions GROUP BY profile, device_id, as_of, revision HAVING count(*) > 1'
        )
      ).toEqual([])
      expect(await reprocess(gateway, span, each.profiles)).toMatchObject({ changed: false })
    }),
    { numRuns: RUNS }
  )
  expect(changed).toBeGreaterThan(RUNS / 3)
})

test('by the profiles that were in force nothing is changed, whatever happened', { timeout: 240_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(cases, async each => {
      const gateway = await stopped(each)
      const before = await gateway.everything()
      expect(await reprocess(gateway, spanOf(gateway, each), [])).toMatchObject({ changed: false, hours_changed: 0 })
      expect(await gateway.everything()).toEqual(before)
    }),
    { numRuns: RUNS }
  )
})

test('with requeues in between every reading still has one fate', { timeout: 240_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(cases, async each => {
      const gateway = await stopped(each)
      await reprocess(gateway, spanOf(gateway, each), each.profiles)
      const { devices, total } = await gateway.ledger()
      expect(devices.filter(({ balanced }) => !balanced)).toEqual([])
      expect(total.doubled).toBe(0)
      const counted = gateway.catalog(catalog => catalog.epochs())
      expect(counted.reduce((sum, { archived }) => sum + archived, 0)).toBe(total.archived)
      expect(counted.reduce((sum, { quarantined }) => sum + quarantined, 0)).toBe(total.quarantined)
    }),
    { numRuns: RUNS }
  )
})
