/**
 * Promise 4. A late reading needs an excuse of its own device; and what a device gets does not depend on any other: its rows are
 * the same when the log is replayed with its messages alone. What moves a watermark past a reading: one that was in before, with a
 * later event time, and that was either sampled before it (the device's clock ran back), or stood above a gap for too long, or has
 * an opaque ID.
 */
import { readFrames } from '@tidemark/gateway/dist/log/frames.js'
import type { LogEntry } from '@tidemark/gateway/dist/log/schema.js'
import type { Row } from '../rows.js'
import { type Check, groupBy, number, text } from './evidence.js'
import { framesPacked, replay, rowsOfFlushes } from './replay.js'

export const lateOnlyWithExcuse: Check = function* ({ readings, quarantine, scenario: { settings, network } }) {
  const settling = [...readings, ...quarantine.filter(row => row.accounted === true)]
  for (const rows of groupBy(settling, row => text(row, 'device_id')).values()) {
    const timely = rows.filter(row => row.event_time !== null && !String(row.reason).startsWith('event-time'))
    for (const late of rows) {
      if (late.late !== true) continue
      const ahead = timely.filter(other => isBefore(other, late) && number(other, 'event_time') > number(late, 'event_time'))
      const farAhead = ahead.filter(other => number(other, 'event_time') - number(late, 'event_time') > settings.allowedLatenessMs)
      const ranBack = ahead.some(other => wasSampledBefore(other, late, network.isBridged))
      if (late.event_id === null && ranBack) continue
      // a gap opens below any seq that is seen, also one whose event time moves no watermark
      if (farAhead.length > 0 && (late.event_id !== null || stoodAboveGap(rows, late, settings.gapTimeoutMs))) continue
      yield { promise: 'event-time-rules', message: `${late.device_id}/${late.serial} is late, and nothing it followed says so` }
    }
  }
}

function isBefore(other: Row, late: Row): boolean {
  return other !== late && number(other, 'ingest_time') <= number(late, 'ingest_time')
}

/** The device's clock ran back between the two; or, in another epoch, their messages may have changed places over a bridge. */
function wasSampledBefore(other: Row, late: Row, isBridged: boolean): boolean {
  if (other.epoch === late.epoch) return number(other, 'seq') < number(late, 'seq')
  return isBridged || other.serial === undefined || number(other, 'serial') < number(late, 'serial')
}

/** Uptime goes on tick by tick, up to so much at a time: a gap counts from the tick before it, ms. */
const TICK_MS_MAX = 2000

/** Whether some reading stood above a gap for so long that the heuristic took over: seqs below it came later, or never did (shed). */
function stoodAboveGap(rows: readonly Row[], late: Row, gapTimeoutMs: number): boolean {
  return rows.some(opener => {
    const overMs = number(opener, 'ingest_time') + gapTimeoutMs - TICK_MS_MAX
    if (overMs > number(late, 'ingest_time')) return false
    const below = rows.filter(row => row.epoch === opener.epoch && number(row, 'seq') < number(opener, 'seq'))
    const inTime = new Set(below.filter(row => number(row, 'ingest_time') < overMs).map(row => number(row, 'seq')))
    return inTime.size < number(opener, 'seq') - 1
  })
}

export const untouchedByOthers: Check = function* (evidence) {
  const { readings, features, log } = evidence
  for (const deviceId of new Set([...readings, ...features].map(row => text(row, 'device_id')))) {
    const alone = replay(
      evidence,
      log.map(entry => onlyOf(entry, deviceId))
    )
    const layers = [
      ['processed', readings],
      ['curated', features]
    ] as const
    for (const [layer, rows] of layers) {
      const together = rows.filter(row => row.device_id === deviceId)
      if (!areSame(rowsOfFlushes(alone, layer), together))
        yield { promise: 'event-time-rules', message: `the ${layer} rows of ${deviceId} are others when nobody else sends` }
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
