/** Applies a log to a processor as the gateway's worker does, without an archive, and times it. */

import type { LogEntry } from '@tidemark/gateway/dist/log/schema.js'
import { SqliteLogReader } from '@tidemark/gateway/dist/log/sqlite-log.js'
import type { EventIdStore } from '@tidemark/gateway/dist/processor/event-ids.js'
import type { Flush } from '@tidemark/gateway/dist/processor/flush.js'
import { Processor } from '@tidemark/gateway/dist/processor/processor.js'

const ENTRIES_AT_ONCE = 64

/** These logs hold no opaque event IDs. */
const NO_EVENT_IDS: EventIdStore = {
  has: () => false,
  add: () => {},
  bytesBetween: () => 0
}

export function newProcessor(snapshot: Iterable<Uint8Array> | null = null, committedEntry = 0): Processor {
  return new Processor(NO_EVENT_IDS, snapshot, committedEntry)
}

export interface Applied {
  readonly readings: number
  readonly featureRows: number
  readonly ms: number
  readonly cpuMs: number
  readonly flushes: number
  /** The last entry of each flush. */
  readonly boundaries: readonly number[]
  /** The longest time that one entry took, flush included, and that one flush boundary took. */
  readonly entryMsMax: number
  readonly boundaryMsMax: number
}

/** Applies what the log on disk holds behind the processor's entry. */
export function applyLog(path: string, processor: Processor): Applied {
  const log = new SqliteLogReader(path)
  const read = function* (): Generator<LogEntry> {
    for (;;) {
      const entries = log.read(processor.entry, ENTRIES_AT_ONCE)
      if (entries.length === 0) return
      yield* entries
    }
  }
  try {
    return applyAll(read(), processor)
  } finally {
    log.close()
  }
}

export function applyAll(entries: Iterable<LogEntry>, processor: Processor, onFlush = (_flush: Flush) => {}): Applied {
  const before = processor.stats()
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  let [entryMsMax, boundaryMsMax] = [0, 0]
  const boundaries: number[] = []
  for (const entry of entries) {
    const beforeMs = performance.now()
    const flush = processor.apply(entry)
    const entryMs = performance.now() - beforeMs
    entryMsMax = Math.max(entryMsMax, entryMs)
    if (flush === null) continue
    boundaries.push(flush.lastEntry)
    boundaryMsMax = Math.max(boundaryMsMax, entryMs)
    onFlush(flush)
  }
  const ms = performance.now() - startMs
  const { user, system } = process.cpuUsage(cpu)
  const after = processor.stats()
  return {
    readings: after.archived - before.archived,
    featureRows: after.featureRows - before.featureRows,
    ms,
    cpuMs: (user + system) / 1000,
    flushes: boundaries.length,
    boundaries,
    entryMsMax,
    boundaryMsMax
  }
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]
}
