/** Days of a gateway that were judged in one way or another, and whether an archive is as if it had been the other. */
import type { Profile } from '@tidemark/protocol'
import { expect } from 'vitest'
import type { EventIdStore } from '../../../gateway/src/processor/event-ids.js'
import { at, Timeline } from '../../kit/timeline.js'
import { NARROW, SETTINGS, StoppedGateway } from './kit.js'

/** What `t` sends in an hour of ingest time: two agents and a meter, with copies, late readings, gaps and what is out of range. */
export function sendHour(t: Timeline, hour: number, profile: Profile): void {
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

/** Four hours, the second and third of which, or others, are judged by `judge`. */
export function fourHoursLog(
  eventIds: EventIdStore,
  judge: readonly Profile[],
  { start = [NARROW], sender = NARROW, judged = [15, 16] } = {}
): Timeline {
  const t = new Timeline(eventIds)
  for (const hour of [14, 15, 16, 17]) {
    t.nowMs = at(`${hour}:00`)
    t.start(SETTINGS, judged.includes(hour) ? judge : start)
    sendHour(t, hour, sender)
  }
  return t
}

/** The same as a gateway that is not stopped yet. */
export function fourHours(judge: readonly Profile[], options: Parameters<typeof fourHoursLog>[2] = {}): StoppedGateway {
  return StoppedGateway.of(eventIds => fourHoursLog(eventIds, judge, options))
}

export const asked = { from: '15:00', to: '17:00' }

export const rounded = (rows: readonly Record<string, unknown>[]) =>
  rows.map(row => {
    return Object.fromEntries(
      Object.entries(row).map(([name, value]) => [name, typeof value === 'number' ? Number(value.toPrecision(9)) : value])
    )
  })

export async function expectAsIf(gateway: StoppedGateway, expected: StoppedGateway): Promise<void> {
  const [is, wanted] = [await gateway.said(), await expected.said()]
  for (const name of Object.keys(wanted) as (keyof typeof wanted)[]) expect(is[name], name).toEqual(wanted[name])
  expect(is.ledger.ok).toBe(true)
  await expected.repair() // of readings that came too late for panes
  const features = (await gateway.features()).filter(row => row.event_count !== 0)
  expect(rounded(features)).toEqual(rounded(await expected.features()))
}

/** No two rows of features are the same revision. */
export async function expectRevisions(gateway: StoppedGateway): Promise<void> {
  const doubled = 'SELECT device_id, as_of, revision FROM feature_revisions GROUP BY ALL HAVING count(*) > 1'
  expect(await gateway.rows(doubled)).toEqual([])
}
