/**
 * How fast a gateway is back from a snapshot and the log behind it: a process of its own loads the one and applies the other, as the
 * processor's worker does at start, without an archive.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { readSnapshot } from '@tidemark/gateway/dist/archive/snapshot-file.js'
import { DecodeAhead } from '@tidemark/gateway/dist/pipeline/decode-ahead.js'
import { newProcessor } from './apply.js'

export interface Recovery {
  /** Whether all boundaries but the last were committed before; otherwise none was. */
  readonly wasCommitted: boolean
  /** Checking the file, and decoding it. */
  readonly loadMs: number
  readonly readings: number
  readonly replayMs: number
  readonly readingsPerSecond: number
  readonly totalMs: number
  readonly boundaryMsMax: number
  readonly rssMegabytes: number
}

interface Recovered extends Recovery {
  /** The last entry of each flush. */
  readonly boundaries: readonly number[]
}

/** Recovers where nothing behind the snapshot was committed, and where the boundaries were, all but the last. */
export async function measureRecoveries(path: string, snapshotPath: string): Promise<Recovery[]> {
  const { boundaries, ...first } = await recoverInProcess(path, snapshotPath, 0)
  const { boundaries: _, ...second } = await recoverInProcess(path, snapshotPath, boundaries[boundaries.length - 2] ?? 0)
  return [first, second]
}

async function recoverInProcess(path: string, snapshotPath: string, committedEntry: number): Promise<Recovered> {
  const child = fork(fileURLToPath(import.meta.url), [path, snapshotPath, String(committedEntry)])
  const [message] = await Promise.race([once(child, 'message'), once(child, 'exit').then(([code]) => [code])])
  if (typeof message !== 'object' || message === null) throw new Error(`the process that recovers ended with ${String(message)}`)
  return message as Recovered
}

/** Brings a processor back from the snapshot's file and lets it catch up with the log. */
async function recover(path: string, snapshotPath: string, committedEntry: number): Promise<Recovered> {
  const startMs = performance.now()
  const snapshot = readSnapshot(snapshotPath)
  if (typeof snapshot === 'string') throw new Error(`the snapshot is damaged: ${snapshot}`)
  const processor = newProcessor(snapshot.parts(), committedEntry)
  const loadedMs = performance.now()
  const before = processor.stats().archived
  const ahead = DecodeAhead.start({
    path,
    afterEntry: processor.entry,
    throughEntry: Number.MAX_SAFE_INTEGER,
    profiles: processor.profiles
  })
  const boundaries: number[] = []
  let boundaryMsMax = 0
  for (let entries = await ahead.next(); entries.length > 0; entries = await ahead.next()) {
    for (const entry of entries) {
      const beforeMs = performance.now()
      if (processor.apply(entry) === null) continue
      boundaries.push(entry.entry)
      boundaryMsMax = Math.max(boundaryMsMax, performance.now() - beforeMs)
    }
  }
  const endMs = performance.now()
  const readings = processor.stats().archived - before
  if (readings === 0) throw new Error('nothing was replayed: the log does not follow the snapshot')
  return {
    wasCommitted: committedEntry > 0,
    loadMs: loadedMs - startMs,
    readings,
    replayMs: endMs - loadedMs,
    readingsPerSecond: (readings / (endMs - loadedMs)) * 1000,
    totalMs: endMs - startMs,
    boundaryMsMax,
    rssMegabytes: process.resourceUsage().maxRSS / 1000,
    boundaries
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.send !== undefined) {
  const [path, snapshotPath, committedEntry] = process.argv.slice(2)
  process.send(await recover(path, snapshotPath, Number(committedEntry)))
  process.disconnect()
}
