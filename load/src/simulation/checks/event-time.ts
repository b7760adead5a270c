/**
 * Promise 4. A late reading needs an excuse of its own device; and what a device gets does not depend on any other: its rows are
 * the same when the log is replayed with its messages alone.
 */
import { readFrames } from '@tidemark/gateway/dist/log/frames.js'
import type { LogEntry } from '@tidemark/gateway/dist/log/schema.js'
import type { Row } from '../rows.js'
import { type Check, groupBy, number, text } from './evidence.js'
import { framesPacked, replay } from './replay.js'

export const lateOnlyWithExcuse: Check = function* ({ readings, scenario: { settings } }) {
  for (const rows of groupBy(readings, row => text(row, 'device_id')).values()) {
    for (const late of rows) {
      if (late.late !== true) continue
      if (rows.every(other => !isExcuse(other, late, settings.gapTimeoutMs, settings.allowedLatenessMs)))
        yield { promise: 'event-time-rules', message: `${late.device_id}/${late.serial} is late, and nothing it followed says so` }
    }
  }
}

/**
 * What may have moved the watermark past a reading: one of the device that was in before, with a later event time, and that
 * was either sampled before (the device's clock ran back), or stood above a gap for too long, or has an opaque ID.
 */
function isExcuse(other: Row, late: Row, gapTimeoutMs: number, allowedLatenessMs: number): boolean {
  const waitedMs = number(late, 'ingest_time') - number(other, 'ingest_time')
  const aheadMs = number(other, 'event_time') - number(late, 'event_time')
  if (waitedMs < 0 || aheadMs <= 0) return false
  if (late.event_id !== null) return aheadMs > allowedLatenessMs
  return number(other, 'serial') < number(late, 'serial') || (waitedMs >= gapTimeoutMs && aheadMs > allowedLatenessMs)
}

export const untouchedByOthers: Check = function* (evidence) {
  const all = replay(evidence, evidence.log)
  for (const deviceId of new Set([...all.readings, ...all.features].map(row => text(row, 'device_id')))) {
    const alone = replay(evidence, evidence.log.map(entry => onlyOf(entry, deviceId)))
    for (const layer of ['readings', 'features'] as const) {
      const together = all[layer].filter(row => row.device_id === deviceId)
      if (!areSame(alone[layer], together))
        yield { promise: 'event-time-rules', message: `the ${layer} of ${deviceId} are others when nobody else sends` }
    }
  }
}

function onlyOf(entry: LogEntry, deviceId: string): LogEntry {
  const kept = Array.from(readFrames(entry.frames)).filter(frame => frame.deviceId === '' || frame.deviceId === deviceId)
  return { ...entry, frames: framesPacked(kept) }
}

function areSame(a: readonly Row[], b: readonly Row[]): boolean {
  const sorted = (rows: readonly Row[]) => rows.map(row => JSON.stringify(Object.values(row))).sort()
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))
}
