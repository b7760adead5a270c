/**
 * Reprocessing against its definition: the archive says of readings, the quarantine and all ledgers what it would say had the profile been
 * given at that time, to the row; and the features at their latest revision are those that would be out.
 */
import type { Profile } from '@tidemark/protocol'
import { describe, expect, test } from 'vitest'
import { at, Timeline } from '../../kit/timeline.js'
import { NARROW, SETTINGS, StoppedGateway, withRange } from './kit.js'

/** What `t` sends in an hour of ingest time: two agents and a meter, with copies, late readings, gaps and what is out of range. */
function sendHour(t: Timeline, hour: number, profile: Profile): void {
  const base = (hour - 14) * 10
  for (const device of ['pump-1', 'pump-2']) {
    const readings = Array.from({ length: 10 }, (_, i) => ({
      seq: base + i + 1,
      eventTimeMs: at(`${hour}:00`) + i * 30_000,
      values: { temperature: [20, 60, 120, 30][(i + hour) % 4] + i / 10, flow: i * 20 }
    }))
    t.batch({ device, profile, readings: readings.slice(0, 8) })
    t.batch({ device, profile, readings: readings.slice(2, 6) })
    t.batch({ device, profile, readings: [readings[9]] })
    t.tick(30_000)
    t.leap(1)
    t.batch({ device, profile, readings: [readings[8]] })
  }
  t.json([
    { event_id: `a${hour}`, event_time: at(`${hour}:01`), profile: 'pump', temperature: 70 },
    { event_id: `b${hour}`, event_time: at(`${hour - 1}:20`), profile: 'pump', temperature: 25 },
    { event_id: `a${hour}`, event_time: at(`${hour}:01`), profile: 'pump', temperature: 70 }
  ])
  t.tick(120_000)
  t.leap(1)
}

/** Four hours, the second and third of which are judged by `judge`. */
function fourHours(judge: readonly Profile[], { start = [NARROW], sender = NARROW } = {}): StoppedGateway {
  const t = new Timeline()
  for (const hour of [14, 15, 16, 17]) {
    t.nowMs = at(`${hour}:00`)
    t.start(SETTINGS, hour === 15 || hour === 16 ? judge : start)
    sendHour(t, hour, sender)
  }
  return new StoppedGateway(t)
}

const asked = { from: '15:00', to: '17:00' }

function expectClose(actual: Record<string, unknown>[], expected: Record<string, unknown>[]): void {
  const rounded = (rows: Record<string, unknown>[]) =>
    rows.map(row =>
      Object.fromEntries(
        Object.entries(row).map(([name, value]) => [name, typeof value === 'number' ? Number(value.toPrecision(9)) : value])
      )
    )
  expect(rounded(actual)).toEqual(rounded(expected))
}

async function expectAsIf(gateway: StoppedGateway, expected: StoppedGateway): Promise<void> {
  const [is, wanted] = [await gateway.said(), await expected.said()]
  for (const name of Object.keys(wanted) as (keyof typeof wanted)[]) expect(is[name], name).toEqual(wanted[name])
}

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
    await expectAsIf(gateway, expected)
    expect((await gateway.ledger()).ok).toBe(true)
  })

  test('a profile that arrived late: its readings leave the quarantine for the archive', async () => {
    const other: Profile = { ...NARROW, name: 'other' }
    const gateway = await fourHours([other], { start: [other] }).stop()
    const expected = await fourHours([other, NARROW], { start: [other] }).stop()
    const report = await gateway.reprocess({ ...asked, profile: NARROW })
    expect(report).toMatchObject({ changed: true, readings: { added: 44, removed: 0 } })
    await expectAsIf(gateway, expected)
    expect((await gateway.ledger()).ok).toBe(true)
  })
})
