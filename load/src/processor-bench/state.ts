/**
 * How much memory the state takes when all its panes are full. Panes are filled cheaply, by event time: a reading each 10 min for more than 24 h, then one each
 * minute, the same payloads for many devices.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { LogEntry } from '@tidemark/gateway/dist/log/schema.js'
import type { Processor } from '@tidemark/gateway/dist/processor/processor.js'
import type { Device } from '@tidemark/simulator'
import { type Applied, applyAll, newProcessor } from './apply.js'
import { batchOf, entryOf, START_MS, startEntry, tickEntry, trafficOf, writeLog } from './fleet-log.js'

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
