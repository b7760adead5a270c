/** What happened between the hours that are judged anew and now is neither undone nor doubled; and the gateway goes on rightly. */
import { expect, test } from 'vitest'
import { decodeRequeue, encodeRequeue } from '../../../gateway/src/processor/requeue.js'
import { requeueFrames } from '../../kit/requeues.js'
import { tempDir } from '../../kit/temp-dir.js'
import { at, type FrameSpec, Timeline } from '../../kit/timeline.js'
import { asked, expectAsIf, expectRevisions, fourHours, rounded } from './as-if.js'
import { NARROW, SETTINGS, StoppedGateway, withRange } from './kit.js'
import { trainingSets } from './training-kit.js'

const TIGHT = withRange(-40, 50)

/** Rejected at 15:00, stopped, requeued at 16:00 under a wider range, and on. */
function requeued(
  judge = TIGHT,
  judgeRequeue = NARROW,
  frames?: readonly FrameSpec[]
): { gateway: StoppedGateway; frames: readonly FrameSpec[] } {
  const t = new Timeline()
  t.nowMs = at('14:00')
  t.start(SETTINGS, [TIGHT])
  t.tick(60_000)
  t.nowMs = at('15:00') + 1
  t.start(SETTINGS, [judge])
  for (let i = 0; i < 6; i++)
    t.reading({ profile: NARROW, seq: i + 1, eventTimeMs: at('15:00') + i * 60_000, values: { temperature: 20 + i * 20 } })
  t.json([{ event_id: 'x', event_time: at('15:01'), profile: 'pump', temperature: 99 }])
  t.tick(120_000)
  t.drain()
  t.nowMs = at('16:00')
  const given = frames ?? requeueFrames('first', t.flushes)
  t.start(SETTINGS, [judgeRequeue])
  t.append(...given)
  t.tick(120_000)
  t.nowMs = at('17:00')
  t.start(SETTINGS, [TIGHT])
  t.tick(120_000)
  return { gateway: new StoppedGateway(t), frames: given }
}

test('what a requeue has archived in between is archived once, and where it came first', async () => {
  const { gateway, frames } = requeued()
  await gateway.stop()
  expect((await gateway.ledger()).total).toMatchObject({ archived: 7, quarantined: 0 })
  await gateway.reprocess({ from: '15:00', to: '16:00', profile: NARROW })
  expect((await gateway.ledger()).total).toMatchObject({ archived: 7, quarantined: 0, doubled: 0 })
  const emptied = frames.map(frame => {
    const requeue = decodeRequeue(frame.payload as Uint8Array)
    return { ...frame, payload: encodeRequeue({ ...requeue, accounted: [], unaccounted: [] }) }
  })
  await expectAsIf(gateway, await requeued(NARROW, NARROW, emptied).gateway.stop())
  expect(gateway.catalog(catalog => catalog.files('resolved'))).toEqual([])
})

test('a requeue that is itself judged anew resolves what is valid then, and the rest is back in the quarantine', async () => {
  const { gateway, frames } = requeued()
  await gateway.stop()
  const between = withRange(-40, 90)
  await gateway.reprocess({ from: '16:00', to: '17:00', profile: between })
  expect((await gateway.ledger()).total).toMatchObject({ archived: 4, quarantined: 3, doubled: 0 })
  await expectAsIf(gateway, await requeued(TIGHT, between, frames).gateway.stop())
  await expectRevisions(gateway)
})

test('a gateway that goes on behind it keeps a balanced ledger, drops copies and corrects features', async () => {
  const before = withRange(-40, 50)
  const gateway = await fourHours([before], { start: [before] }).stop()
  const expected = await fourHours([NARROW], { start: [before], judged: [15, 16, 17] }).stop()
  await gateway.reprocess({ from: '15:00', to: '18:00', profile: NARROW })
  for (const each of [gateway, expected]) {
    const { t, commit } = each.goOn([NARROW])
    const device = 'pump-1'
    const copies = Array.from({ length: 10 }, (_, i) => ({ seq: 31 + i, eventTimeMs: at('17:00') + i * 30_000 }))
    t.batch({ device, profile: NARROW, oldestHeldSeq: 31, highestSampledSeq: 43, readings: copies })
    t.reading({ device, profile: NARROW, seq: 41, eventTimeMs: at('16:02:30'), values: { temperature: 77 } })
    t.reading({ device, profile: NARROW, seq: 42, eventTimeMs: at('17:03:10'), values: { temperature: 78 } })
    t.reading({ device, profile: NARROW, seq: 43, eventTimeMs: at('18:30'), values: { temperature: 79 } })
    t.tick(120_000)
    await commit()
  }
  const [is, wanted] = [await gateway.said(), await expected.said()]
  expect(is.ledger).toEqual(wanted.ledger)
  expect(is.ledger).toMatchObject({ ok: true, total: { duplicates: wanted.ledger.total.duplicates } })
  for (const name of ['readings', 'quarantine', 'epochs', 'hours', 'completeness'] as const) expect(is[name], name).toEqual(wanted[name])
  await expectRevisions(gateway)
  const latest = async (each: StoppedGateway) =>
    rounded((await each.features()).filter(row => row.device_id === 'pump-1' && (row.as_of as number) >= at('17:00')))
  expect(await latest(gateway)).toEqual(await latest(expected))
})

test('no label from before the run sees what the run has corrected', async () => {
  const gateway = await fourHours([TIGHT], { start: [TIGHT] }).stop()
  const folder = tempDir()
  const before = await trainingSets(gateway, folder)
  await gateway.reprocess({ ...asked, profile: NARROW })
  const after = await trainingSets(gateway, folder)
  expect(after.known).toEqual(before.known)
  expect(before.known.filter(([value]) => value !== null).length).toBeGreaterThan(10)
  expect(after.leaking, 'a join with the archive as it is now').not.toEqual(before.leaking)
})
