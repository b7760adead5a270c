/** Runs the core over a log once more, from its beginning or from a snapshot. */
import { createHash } from 'node:crypto'
import { type Frame, frameBytes, writeFrame } from '@tidemark/gateway/dist/log/frames.js'
import type { LogEntry } from '@tidemark/gateway/dist/log/schema.js'
import type { FileRows, Flush } from '@tidemark/gateway/dist/processor/flush.js'
import { openCore } from '../core.js'
import { SimulatedEventIds } from '../event-ids.js'
import { type Row, type RowsWithStrings, rowsOf } from '../rows.js'
import type { Evidence } from './evidence.js'

/** The rows come out in another hour of the wall clock, on another machine. */
const HOURS_LATER_MS = 7 * 3_600_000

/** `snapshot` was taken at the entry before `entries`; `eventIds` hold what came until then, perhaps more. */
export function replay(
  { world, scenario }: Evidence,
  entries: readonly LogEntry[],
  eventIds = new SimulatedEventIds(world.plant === 'event-ids-ahead-of-log'),
  snapshot: readonly Uint8Array[] | null = null
): Flush[] {
  const wallMs = () => world.scheduler.nowMs + HOURS_LATER_MS
  const core = openCore({ eventIds, snapshot, committedEntry: 0, settings: scenario.settings, plant: world.plant, wallMs })
  return entries.map(entry => core.apply(entry)).filter(flush => flush !== null)
}

export function rowsOfFlushes(flushes: readonly Flush[], layer: 'processed' | 'curated'): Row[] {
  const files = flushes.flatMap(flush => flush.files.map((rows): RowsWithStrings => ({ rows, strings: flush.strings })))
  return rowsOf(files, layer)
}

/** A digest of a file's rows, to the bit. */
export function digestOf(rows: FileRows, strings: readonly string[]): string {
  const hash = createHash('sha256').update(`${rows.layer} ${rows.profile} ${rows.hourMs} ${rows.rows}\n`)
  for (const { name, type, values } of rows.columns) {
    hash.update(`${name} ${type}\n`)
    if (values instanceof Float64Array) hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    else if (values instanceof Int32Array) hash.update(JSON.stringify(Array.from(values, index => (index < 0 ? null : strings[index]))))
    else for (const bytes of values) hash.update(bytes ?? 'null')
  }
  return hash.digest('hex')
}

export function framesPacked(frames: readonly Frame[]): Uint8Array {
  const packed = Buffer.alloc(frames.reduce((sum, { deviceId, payload }) => sum + frameBytes(deviceId, payload.length), 0))
  let at = 0
  for (const { kind, deviceId, payload } of frames) at = writeFrame(packed, at, kind, deviceId, payload)
  return new Uint8Array(packed)
}
