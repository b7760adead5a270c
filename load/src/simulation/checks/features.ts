/**
 * Promise 6, and what promise 3 says of late readings. A feature row holds nothing that came after `known_at`; the join of labels
 * sees nothing that was known later; and the latest revision of each row is what its window's readings, late ones too, say.
 */
import { durationMs } from '@tidemark/protocol'
import { Draw, STREAM } from '../draw.js'
import { type FeatureVersion, joinByAsOf, joinByAvailability, joinByKnownAt, latestAvailable } from '../join.js'
import type { Row } from '../rows.js'
import { PROBE } from '../scenario.js'
import { type Check, type Evidence, groupBy, number, text } from './evidence.js'

const HOUR_MS = 3_600_000
const HOP_MS = durationMs(PROBE.hop)
const COUNT_WINDOW_MS = 60_000
const LABELS_PER_DEVICE = 25

export const knownBeforeUsed: Check = function* ({ readings, features }) {
  const ofDevice = groupBy(readings, row => text(row, 'device_id'))
  for (const feature of features) {
    const known = (ofDevice.get(text(feature, 'device_id')) ?? []).filter(row => number(row, 'ingest_time') <= number(feature, 'known_at'))
    const counts = [
      ['event_count', HOP_MS],
      ['readings_1m', COUNT_WINDOW_MS]
    ] as const
    for (const [column, sizeMs] of counts) {
      const most = known.filter(row => isWithin(row, feature, sizeMs)).length
      if (number(feature, column) > most)
        yield {
          promise: 'no-leakage',
          message: `${nameOf(feature)} counts ${feature[column]} readings where ${most} were known (${column})`
        }
    }
  }
}

export const joinedWithoutLeak: Check = function* ({ features, world }) {
  const draw = new Draw(world.seed, STREAM.scenario, 1)
  const join = world.plant === 'leaking-join' ? joinByAsOf : world.plant === 'join-by-known-at' ? joinByKnownAt : joinByAvailability
  for (const rows of groupBy(features, row => text(row, 'device_id')).values()) {
    const versions = rows.map(versionOf)
    const [fromMs, toMs] = [Math.min(...versions.map(v => v.asOfMs)), Math.max(...versions.map(v => v.knownAtMs))]
    for (let label = 0; label < LABELS_PER_DEVICE; label++) {
      const labelMs = fromMs + Math.floor(draw.unit() * (toMs - fromMs + HOP_MS))
      const joined = join(versions, labelMs)
      if (joined !== null && (joined.knownAtMs > labelMs || joined.asOfMs > labelMs))
        yield { promise: 'no-leakage', message: `a label at ${labelMs} is joined with ${nameOf(joined.row)}, known at ${joined.knownAtMs}` }
      else if (joined !== latestAvailable(versions, labelMs))
        yield {
          promise: 'no-leakage',
          message: `a label at ${labelMs} is joined with ${joined === null ? 'nothing' : nameOf(joined.row)}, not the latest`
        }
    }
  }
}

/** Save where a repair from the archive is due. */
export const lateCorrectsFeatures: Check = function* (evidence) {
  const { readings, features, repairs } = evidence
  const latest = new Map<string, Row>()
  for (const row of features) {
    const known = latest.get(`${row.device_id}/${row.as_of}`)
    if (known === undefined || number(row, 'revision') > number(known, 'revision')) latest.set(`${row.device_id}/${row.as_of}`, row)
  }
  const marked = new Set(repairs.map(({ deviceId, hourMs }) => `${deviceId}/${hourMs}`))
  const isMarked = (deviceId: string, asOfMs: number) =>
    marked.has(`${deviceId}/${Math.floor((asOfMs - 1) / HOUR_MS) * HOUR_MS}`) ||
    marked.has(`${deviceId}/${Math.floor(asOfMs / HOUR_MS) * HOUR_MS}`)
  for (const [deviceId, rows] of groupBy(readings, row => text(row, 'device_id'))) {
    for (const asOfMs of new Set(rows.map(row => Math.ceil(number(row, 'event_time') / HOP_MS) * HOP_MS))) {
      if (isMarked(deviceId, asOfMs)) continue
      const feature = latest.get(`${deviceId}/${asOfMs}`)
      if (feature === undefined) {
        if (isClosed(evidence, deviceId)) yield { promise: 'nothing-dropped', message: `${deviceId} has no features as of ${asOfMs}` }
        continue
      }
      if (feature.provisional === true && !isClosed(evidence, deviceId)) continue // it goes out again when the hop closes
      const fault = faultOf(feature, rows)
      if (fault !== null) yield { promise: 'nothing-dropped', message: `${nameOf(feature)}: ${fault}` }
    }
  }
}

/** A device that said where its stream ends has no open hop. */
function isClosed({ truth }: Evidence, deviceId: string): boolean {
  return deviceId.startsWith('agent') && !truth.restored.has(deviceId)
}

function faultOf(feature: Row, rows: readonly Row[]): string | null {
  const hop = rows.filter(row => isWithin(row, feature, HOP_MS))
  const minute = rows.filter(row => isWithin(row, feature, COUNT_WINDOW_MS))
  const vibrations = minute.map(row => number(row, 'vibration')).filter(value => !Number.isNaN(value))
  const mean = minute.reduce((sum, row) => sum + number(row, 'temperature'), 0) / minute.length
  const most = vibrations.length === 0 ? null : Math.max(...vibrations)
  if (feature.event_count !== hop.length) return `event_count is ${feature.event_count}, not ${hop.length}`
  if (feature.readings_1m !== minute.length) return `readings_1m is ${feature.readings_1m}, not ${minute.length}`
  if (feature.vibration_max_1m !== most) return `vibration_max_1m is ${feature.vibration_max_1m}, not ${most}`
  if (!(Math.abs(number(feature, 'temp_mean_1m') - mean) <= 1e-9 * Math.abs(mean)))
    return `temp_mean_1m is ${feature.temp_mean_1m}, not ${mean}`
  return null
}

function isWithin(row: Row, feature: Row, sizeMs: number): boolean {
  const [timeMs, asOfMs] = [number(row, 'event_time'), number(feature, 'as_of')]
  return timeMs > asOfMs - sizeMs && timeMs <= asOfMs
}

function versionOf(row: Row): FeatureVersion {
  return { row, asOfMs: number(row, 'as_of'), revision: number(row, 'revision'), knownAtMs: number(row, 'known_at') }
}

function nameOf(feature: Row): string {
  return `${feature.device_id} as of ${feature.as_of}, revision ${feature.revision}`
}
