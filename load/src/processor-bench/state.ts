/**
 * How much memory the state takes when all its panes are full, how large a snapshot of it is and how long it takes, and how fast a
 * gateway is back from it. Panes are filled cheaply, by event time: a reading each 10 min for more than 24 h, then one each
 * minute, the same payloads for many devices.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { readSnapshot } from '@tidemark/gateway/dist/archive/snapshot-file.js'
import type { LogEntry } from '@tidemark/gateway/dist/log/schema.js'
import type { Processor } from '@tidemark/gateway/dist/processor/processor.js'
import type { Device } from '@tidemark/simulator'
import { type Applied, applyAll, applyLog, newProcessor } from './apply.js'
import { batchOf, entryOf, INTERVAL_MS, START_MS, startEntry, tickEntry, trafficOf, writeLog } from './fleet-log.js'

const MINUTE_MS = 60_000

/** What fills 10 min panes of 24 h and of their corrections, and 1 min panes of 1 h and of theirs. */
const SLOW_READINGS = 152
const FAST_READINGS = 80

const DEVICES_PER_ENTRY = 64

/** So many different machines; the others send what one of them sends. */
const VARIANTS = 32

export interface StateSize {
  readonly devices: number
  readonly bytesPerDevice: number
  readonly megabytes: number
  /** Of it: on the JavaScript heap. */
  readonly heapBytesPerDevice: number
}

/** A state that is full, and the entry and event time that it ends at. */
export interface Filled {
  readonly processor: Processor
  readonly size: StateSize
  readonly filling: Applied
  readonly lastSeq: number
  readonly lastMs: number
}

export function fillState(devices: readonly Device[]): Filled {
  const fastMs = START_MS - FAST_READINGS * MINUTE_MS
  const slowMs = fastMs - SLOW_READINGS * 10 * MINUTE_MS
  const variants = devices.slice(0, VARIANTS)
  const slow = variants.map(device => batchOf(device, 1, SLOW_READINGS, slowMs, 10 * MINUTE_MS))
  const fast = variants.map(device => batchOf(device, SLOW_READINGS + 1, FAST_READINGS, fastMs, MINUTE_MS))
  const entries = function* (): Generator<LogEntry> {
    let entry = 1
    yield startEntry(entry++, START_MS)
    for (const payloads of [slow, fast]) {
      for (let first = 0; first < devices.length; first += DEVICES_PER_ENTRY) {
        const sent = devices
          .slice(first, first + DEVICES_PER_ENTRY)
          .map(({ id, index }) => ({ deviceId: id, payload: payloads[index % VARIANTS] }))
        yield entryOf(entry++, START_MS, sent)
      }
    }
    // boundaries that take everything out, so that only state remains
    for (let minutes = 1; minutes <= 11; minutes++) yield tickEntry(entry++, START_MS + minutes * MINUTE_MS)
  }
  const before = memory()
  const processor = newProcessor()
  const filling = applyAll(entries(), processor)
  const after = memory()
  const bytes = after.all - before.all
  const size = {
    devices: devices.length,
    bytesPerDevice: bytes / devices.length,
    megabytes: bytes / 1e6,
    heapBytesPerDevice: (after.heap - before.heap) / devices.length
  }
  return { processor, size, filling, lastSeq: SLOW_READINGS + FAST_READINGS, lastMs: START_MS - MINUTE_MS }
}

/** Heap and external memory in use, in bytes, once garbage is gone. */
function memory(): { all: number; heap: number } {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  gc()
  gc()
  const { heapUsed, external } = process.memoryUsage()
  return { all: heapUsed + external, heap: heapUsed }
}

export interface Recovery {
  readonly devices: number
  /** Whether all boundaries but the last were committed before; otherwise none was. */
  readonly wasCommitted: boolean
  /** Checking the file, and decoding it. */
  readonly loadMs: number
  readonly readings: number
  readonly replayMs: number
  readonly readingsPerSecond: number
  readonly totalMs: number
  readonly boundaryMsMax: number
}

/** Writes what the fleet sends in `forMs`, a reading a message, behind a filled state. */
export function writeTraffic(path: string, devices: readonly Device[], filled: Filled, forMs: number): void {
  const firstMs = START_MS + 12 * MINUTE_MS
  const traffic = trafficOf({
    devices,
    firstEntry: filled.processor.entry + 1,
    firstSeq: filled.lastSeq + 1,
    firstMs,
    forMs,
    batchReadings: 1,
    messagesPerEntry: 200 // 20,000 readings/s and a group commit each 10 ms
  })
  writeLog(path, traffic)
}

/** Recovers where nothing behind the snapshot was committed, and where the boundaries were, all but the last. */
export function measureRecoveries(path: string, snapshotPath: string, devices: number): Recovery[] {
  const { recovery, boundaries } = recover(path, snapshotPath, devices, 0)
  return [recovery, recover(path, snapshotPath, devices, boundaries[boundaries.length - 2] ?? 0).recovery]
}

/** Brings a processor back from the snapshot's file and lets it catch up with the log. */
function recover(
  path: string,
  snapshotPath: string,
  devices: number,
  committedEntry: number
): { recovery: Recovery; boundaries: readonly number[] } {
  const startMs = performance.now()
  const snapshot = readSnapshot(snapshotPath)
  if (typeof snapshot === 'string') throw new Error(`the snapshot is damaged: ${snapshot}`)
  const processor = newProcessor(snapshot.parts(), committedEntry)
  const loadMs = performance.now() - startMs
  const { readings, ms, boundaryMsMax, boundaries } = applyLog(path, processor)
  if (readings === 0) throw new Error('nothing was replayed: the log does not follow the snapshot')
  const recovery = {
    devices,
    wasCommitted: committedEntry > 0,
    loadMs,
    readings,
    replayMs: ms,
    readingsPerSecond: (readings / ms) * 1000,
    totalMs: loadMs + ms,
    boundaryMsMax
  }
  return { recovery, boundaries }
}

export { INTERVAL_MS }
