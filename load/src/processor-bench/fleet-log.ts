/**
 * Logs of a simulated fleet as a gateway would have written them: batches in entries of a group commit's size, a tick each second.
 * Readings are the simulator's, so that values vary as a machine's do; device IDs, epochs and seqs are plain.
 */

import { loadConfig } from '@tidemark/gateway/dist/config.js'
import { frameBytes, writeFrame } from '@tidemark/gateway/dist/log/frames.js'
import { LOG_SCHEMA, type LogEntry } from '@tidemark/gateway/dist/log/schema.js'
import { encodeControl } from '@tidemark/gateway/dist/processor/control.js'
import { Sqlite } from '@tidemark/gateway/dist/sqlite.js'
import { type Column, encodeBatch, NULL, ROTATING_MACHINE } from '@tidemark/protocol'
import { type Device, deviceOf, NO_FAULTS, newReadingColumns, type ReadingColumns, type RunPlan, writeReading } from '@tidemark/simulator'

/** When fleets begin to measure. */
export const START_MS = Date.UTC(2026, 10, 24, 13)

/** How often a machine is measured. */
export const INTERVAL_MS = 5000

/** All devices of a fleet are in the same epoch, so that one payload can be sent by several of them. */
const EPOCH = 5_404_319_552_844_595

export function fleet(devices: number): Device[] {
  const plan = planOf(devices)
  return Array.from({ length: devices }, (_, index) => deviceOf(plan, index))
}

function planOf(devices: number): RunPlan {
  return { seed: 7, firstDevice: 0, devices, startMs: START_MS, intervalMs: INTERVAL_MS, rates: NO_FAULTS }
}

const NULL_STATE = new Uint8Array(1000).fill(NULL)

/** A batch of the readings [firstSeq, firstSeq + count) of the device, taken every `intervalMs`, the first at `firstMs`. */
export function batchOf(device: Device, firstSeq: number, count: number, firstMs: number, intervalMs: number): Uint8Array {
  const plan = { ...planOf(1), startMs: firstMs - (firstSeq - 1) * intervalMs, intervalMs }
  const readings: ReadingColumns = newReadingColumns(count)
  const inPhase = { ...device, phaseMs: 0 }
  for (let i = 0; i < count; i++) writeReading(plan, inPhase, firstSeq + i, readings, i)
  const columns = readings.metrics.map(
    (values): Column => ({ kind: 'numeric', values, state: Number.isNaN(values[0]) ? NULL_STATE.subarray(0, count) : null })
  )
  columns.push({ kind: 'string', values: new Array<string>(count).fill(device.machine.location), state: null })
  return encodeBatch({
    profile: ROTATING_MACHINE,
    epoch: EPOCH,
    oldestHeldSeq: firstSeq,
    highestSampledSeq: firstSeq + count - 1,
    buffered: count,
    seqs: readings.seqs,
    eventTimesMs: readings.eventTimesMs,
    columns
  })
}

export interface Sent {
  readonly deviceId: string
  readonly payload: Uint8Array
}

export function entryOf(entry: number, ingestMs: number, sent: readonly Sent[]): LogEntry {
  const frames = Buffer.alloc(sent.reduce((sum, { deviceId, payload }) => sum + frameBytes(deviceId, payload.length), 0))
  let end = 0
  for (const { deviceId, payload } of sent) end = writeFrame(frames, end, 'batch', deviceId, payload)
  return { entry, ingestMs, frames }
}

/** The control frame that a gateway starts with, with the settings and profiles of an empty configuration. */
export function startEntry(entry: number, ingestMs: number): LogEntry {
  const { settings, profiles } = loadConfig(undefined, {})
  const payload = encodeControl({ control: 'start', settings, profiles })
  const frames = Buffer.alloc(frameBytes('', payload.length))
  writeFrame(frames, 0, 'control', '', payload)
  return { entry, ingestMs, frames }
}

export function tickEntry(entry: number, ingestMs: number): LogEntry {
  const frames = Buffer.alloc(frameBytes('', 0))
  writeFrame(frames, 0, 'tick', '', new Uint8Array(0))
  return { entry, ingestMs, frames }
}

/** Writes the entries as a log to read, not as one to trust: in few transactions, without fsync. */
export function writeLog(path: string, entries: Iterable<LogEntry>): { entries: number; bytes: number } {
  const log = new Sqlite(path)
  log.pragma('journal_mode = WAL')
  log.pragma('synchronous = OFF')
  log.exec(LOG_SCHEMA)
  const insert = log.prepare<[number, number, Uint8Array]>('INSERT INTO entries VALUES (?, ?, ?)')
  const written = { entries: 0, bytes: 0 }
  log.exec('BEGIN')
  for (const { entry, ingestMs, frames } of entries) {
    insert.run(entry, ingestMs, frames)
    written.bytes += frames.length
    if (++written.entries % 4096 === 0) log.exec('COMMIT; BEGIN')
  }
  log.exec('COMMIT')
  log.pragma('wal_checkpoint(TRUNCATE)')
  log.close()
  return written
}

export interface Traffic {
  readonly devices: readonly Device[]
  readonly firstEntry: number
  readonly firstSeq: number
  /** Event time of the first reading; ingest time follows it. */
  readonly firstMs: number
  /** How long devices send, in ms of event time; a multiple of what a batch spans. */
  readonly forMs: number
  readonly batchReadings: number
  /** Messages in one entry. */
  readonly messagesPerEntry: number
}

/** What the fleet sends, each device once a batch's span, evenly spread over it. */
export function* trafficOf(traffic: Traffic): Generator<LogEntry> {
  const { devices, firstSeq, firstMs, forMs, batchReadings, messagesPerEntry } = traffic
  let entry = traffic.firstEntry
  const spanMs = batchReadings * INTERVAL_MS
  let tickedMs = firstMs + spanMs
  let sent: Sent[] = []
  for (let round = 0; round < forMs / spanMs; round++) {
    for (const [d, device] of devices.entries()) {
      const phaseMs = Math.floor((d * spanMs) / devices.length)
      const first = firstMs + round * spanMs + phaseMs
      sent.push({ deviceId: device.id, payload: batchOf(device, firstSeq + round * batchReadings, batchReadings, first, INTERVAL_MS) })
      if (sent.length < messagesPerEntry && d < devices.length - 1) continue
      const ingestMs = first + spanMs
      yield entryOf(entry++, ingestMs, sent)
      sent = []
      if (ingestMs - tickedMs < 1000) continue
      yield tickEntry(entry++, ingestMs)
      tickedMs = ingestMs
    }
  }
}
