/**
 * In which order the readings of a recording are delivered: in order, behind an outage of a day, or some of them late. Pure: what is
 * to become of each reading follows from the order alone, by the design's words and nothing that the gateway says.
 */
import { durationMs, EVENT_TIME_AHEAD_MS_MAX, EVENT_TIME_MS_MIN, type Profile, type Value } from '@tidemark/protocol'
import type { Draw } from '../replay/draw.js'
import { type ExpectedRow, expectRows } from '../replay/expectation.js'
import type { RecordedRow, Recording } from '../replay/recording.js'

/** A row with a time; others cannot be sent. */
export interface TimedRow {
  readonly eventTimeMs: number
  readonly values: readonly Value[]
}

/** What to wait for behind a step. */
export type Pause = 'flushed' | 'idle' | 'repaired'

export interface Step {
  readonly deviceId: string
  /** In the order of delivery. */
  readonly rows: readonly TimedRow[]
  readonly pause: Pause
}

export interface Delivery {
  readonly name: 'in-order' | 'offline-day' | 'late'
  readonly steps: readonly Step[]
  /** Rows that are delivered late on purpose: within the panes, and past them. */
  readonly delayed: { readonly within: number; readonly past: number }
}

export const DEVICE = 'replayed'
/** A device that goes on while the other is offline. */
export const BYSTANDER = 'bystander'

const DAY_MS = 86_400_000
const LATE_FRACTION = 0.05
/** Readings of the bystander in a day. */
const BYSTANDER_READINGS = 1440
/** Readings with which the device goes on behind the recording, so that the recording's panes are gone. */
const CONTINUATION_READINGS = 20

export function timedRows({ rows }: Recording): TimedRow[] {
  return rows.flatMap(({ eventTimeMs, values }) => (eventTimeMs === null ? [] : [{ eventTimeMs, values }]))
}

export function inOrder(rows: readonly TimedRow[]): Delivery {
  return { name: 'in-order', steps: [{ deviceId: DEVICE, rows, pause: 'flushed' }], delayed: { within: 0, past: 0 } }
}

/**
 * The device falls silent in the middle and delivers the other half when another device is a day further: a backlog, in order,
 * with the times at which it was measured.
 */
export function offlineDay(rows: readonly TimedRow[]): Delivery {
  const middle = rows.length >> 1
  const before = rows.slice(0, middle)
  const meanwhile = [...before].sort((a, b) => a.eventTimeMs - b.eventTimeMs)
  const silentMs = meanwhile[meanwhile.length - 1].eventTimeMs
  const stepMs = DAY_MS / BYSTANDER_READINGS
  const day = Array.from({ length: BYSTANDER_READINGS }, (_, i) => ({
    eventTimeMs: silentMs + Math.round((i + 1) * stepMs),
    values: rows[i % rows.length].values
  }))
  const after = day.slice(0, 10).map(({ eventTimeMs, values }) => ({ eventTimeMs: eventTimeMs + DAY_MS, values }))
  return {
    name: 'offline-day',
    steps: [
      { deviceId: DEVICE, rows: before, pause: 'flushed' },
      { deviceId: BYSTANDER, rows: [...meanwhile, ...day], pause: 'idle' },
      { deviceId: DEVICE, rows: rows.slice(middle), pause: 'flushed' },
      { deviceId: BYSTANDER, rows: after, pause: 'flushed' }
    ],
    delayed: { within: 0, past: 0 }
  }
}

/**
 * One reading in twenty comes late: half of those a few hops behind its turn, while its panes are kept, the others at the end, when the
 * device has gone on for so long that the recording's panes are gone.
 */
export function someLate(rows: readonly TimedRow[], profile: Profile, draw: Draw): Delivery {
  const hopMs = durationMs(profile.hop)
  const delayMsMax = Math.max(2 * hopMs, durationMs(profile.corrections) - 2 * hopMs)
  const held: { row: TimedRow; dueMs: number }[] = []
  const past: TimedRow[] = []
  const delivered: TimedRow[] = []
  let within = 0
  for (const row of rows) {
    for (let i = 0; i < held.length; ) {
      if (row.eventTimeMs < held[i].dueMs) i++
      else delivered.push(held.splice(i, 1)[0].row)
    }
    if (!draw.chance(LATE_FRACTION)) delivered.push(row)
    else if (draw.chance(0.5)) past.push(row)
    else {
      within++
      held.push({ row, dueMs: row.eventTimeMs + draw.integer(hopMs, delayMsMax) })
    }
  }
  delivered.push(...held.map(({ row }) => row))
  const further = continuation(rows, profile)
  return {
    name: 'late',
    steps: [
      { deviceId: DEVICE, rows: [...delivered, ...further.slice(0, -1)], pause: 'flushed' },
      { deviceId: DEVICE, rows: draw.shuffle(past), pause: 'repaired' },
      { deviceId: DEVICE, rows: further.slice(-1), pause: 'flushed' }
    ],
    delayed: { within, past: past.length }
  }
}

/** Readings behind the recording by more than any window and all that is kept for corrections. */
function continuation(rows: readonly TimedRow[], profile: Profile): TimedRow[] {
  const lastMs = rows.reduce((latest, { eventTimeMs }) => Math.max(latest, eventTimeMs), 0)
  const hops = profile.features.map(({ hop }) => durationMs(hop ?? profile.hop))
  const windows = profile.features.map(({ window }) => durationMs(window))
  const behindMs =
    durationMs(profile.corrections) + Math.max(durationMs(profile.hop), ...windows) + 10 * Math.max(durationMs(profile.hop), ...hops)
  const stepMs = durationMs(profile.hop)
  return Array.from({ length: CONTINUATION_READINGS }, (_, i) => ({
    eventTimeMs: lastMs + behindMs + i * stepMs,
    values: rows[i % rows.length].values
  }))
}

/** How far behind the recording a delivery goes, ms: all of it must lie in the past. */
export function latestEventTimeMs({ steps }: Delivery): number {
  return steps.reduce((latest, step) => step.rows.reduce((most, row) => Math.max(most, row.eventTimeMs), latest), 0)
}

export interface ExpectedOfDevice {
  /** With the seqs of delivery. */
  readonly rows: readonly ExpectedRow[]
  readonly late: number
}

/** What must become of a device's readings. Late is what is behind the latest event time that came before it: all seqs come in turn. */
export function expectOf({ steps }: Delivery, deviceId: string, profile: Profile, nowMs: number): ExpectedOfDevice {
  const delivered: RecordedRow[] = steps.filter(step => step.deviceId === deviceId).flatMap(step => step.rows)
  const rows = expectRows({ path: '', delimiter: '', timeColumn: '', columns: {}, rows: delivered }, profile, nowMs)
  let watermarkMs = Number.NEGATIVE_INFINITY
  let late = 0
  for (const { eventTimeMs, fate } of rows) {
    if (fate === 'archived' && eventTimeMs < watermarkMs) late++
    const isTime = eventTimeMs >= EVENT_TIME_MS_MIN && eventTimeMs <= nowMs + EVENT_TIME_AHEAD_MS_MAX
    if (isTime) watermarkMs = Math.max(watermarkMs, eventTimeMs)
  }
  return { rows, late }
}
