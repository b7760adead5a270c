/**
 * What a flush boundary costs at the reference load, a reading a message: the processor's part, the archive's thread and DuckDB's, by the CPU
 * time that Linux counts for each thread. A processor and an archive worker as the gateway has them, on a log on disk.
 */
import { pbkdf2 } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openArchive } from '@tidemark/gateway/dist/archive/archive-client.js'
import { SqliteLogReader } from '@tidemark/gateway/dist/log/sqlite-log.js'
import { buffersOf } from '@tidemark/gateway/dist/pipeline/flush-writer.js'
import { UncommittedRows } from '@tidemark/gateway/dist/pipeline/uncommitted-rows.js'
import type { Flush } from '@tidemark/gateway/dist/processor/flush.js'
import type { Device } from '@tidemark/simulator'
import { median, newProcessor } from './apply.js'
import { START_MS, startEntry, trafficOf, writeLog } from './fleet-log.js'

const ENTRIES_AT_ONCE = 64

/** The fleet registers in the first minute. */
const MINUTES_BEFORE = 1

export interface BoundaryCost {
  readonly devices: number
  /** Of a boundary, and so are the rest: medians. */
  readonly readings: number
  /** Of the processor's thread, by the wall: making the flush, and handing it over. */
  readonly processorMs: number
  readonly handOverMs: number
  /** CPU time until the flush is committed: of the archive's thread, of DuckDB's, of the rest (garbage collection beside). */
  readonly archiveMs: number
  readonly duckDbMs: number
  readonly restMs: number
  readonly cpuSecondsPerMillion: number
  /** From handing the flush over until it is committed, nothing else going on. */
  readonly wallMs: number
  /** The largest RSS of the process so far. */
  readonly rssMegabytesMax: number
}

/** CPU time of each thread of this process, ms. Linux alone tells it. */
function threadTimes(): Map<string, number> {
  const times = new Map<string, number>()
  for (const thread of readdirSync('/proc/self/task')) {
    const [ns] = readFileSync(`/proc/self/task/${thread}/schedstat`, 'utf8').split(' ')
    times.set(thread, Number(ns) / 1e6)
  }
  return times
}

/** The threads of libuv's pool, in which DuckDB computes: those that this work makes busy. */
async function poolThreads(): Promise<Set<string>> {
  const before = threadTimes()
  const work = promisify(pbkdf2)
  await Promise.all(Array.from({ length: 16 }, () => work('', '', 20_000, 64, 'sha512')))
  const isBusy = ([thread, ms]: [string, number]) => thread !== String(process.pid) && ms - (before.get(thread) ?? 0) > 5
  return new Set([...threadTimes()].filter(isBusy).map(([thread]) => thread))
}

/** Makes the log and the archive in `folder`, which is empty. */
export async function measureBoundary(folder: string, devices: readonly Device[], minutes: number): Promise<BoundaryCost> {
  const path = join(folder, 'log.sqlite')
  const forMs = (MINUTES_BEFORE + minutes) * 60_000 + 10_000
  const traffic = {
    devices: shuffled(devices),
    firstEntry: 2,
    firstSeq: 1,
    firstMs: START_MS,
    forMs,
    batchReadings: 1,
    messagesPerEntry: 200
  }
  writeLog(
    path,
    (function* () {
      yield startEntry(1, START_MS)
      yield* trafficOf(traffic)
    })()
  )
  const before = threadTimes()
  const { archive } = openArchive(folder)
  const [archiveThread] = [...threadTimes().keys()].filter(thread => !before.has(thread))
  const pool = await poolThreads()
  const processor = newProcessor()
  const uncommitted = new UncommittedRows(processor.show(({ outputs }) => outputs.memory))
  const log = new SqliteLogReader(path)
  const costs: BoundaryCost[] = []
  let boundaries = 0
  for (let entries = log.read(0, ENTRIES_AT_ONCE); entries.length > 0; entries = log.read(processor.entry, ENTRIES_AT_ONCE)) {
    for (const entry of entries) {
      const applyMs = performance.now()
      const flush = processor.apply(entry)
      if (flush === null) continue
      const processorMs = performance.now() - applyMs
      const cost = await costOf(flush, { devices: devices.length, processorMs, archiveThread })
      if (++boundaries > MINUTES_BEFORE) costs.push(cost)
    }
  }
  log.close()
  await archive.close()
  if (costs.length === 0) throw new Error('the log has no boundary that was measured')
  const middle = (read: (cost: BoundaryCost) => number) => median(costs.map(read))
  return {
    devices: devices.length,
    readings: middle(cost => cost.readings),
    processorMs: middle(cost => cost.processorMs),
    handOverMs: middle(cost => cost.handOverMs),
    archiveMs: middle(cost => cost.archiveMs),
    duckDbMs: middle(cost => cost.duckDbMs),
    restMs: middle(cost => cost.restMs),
    cpuSecondsPerMillion: middle(cost => cost.cpuSecondsPerMillion),
    wallMs: middle(cost => cost.wallMs),
    rssMegabytesMax: costs[costs.length - 1].rssMegabytesMax
  }

  async function costOf(flush: Flush, known: { devices: number; processorMs: number; archiveThread: string }): Promise<BoundaryCost> {
    const readings = flush.hours.reduce((sum, { archived }) => sum + archived, 0)
    const times = threadTimes()
    const startMs = performance.now()
    const toWrite = uncommitted.add(flush)
    const written = archive.write(toWrite, buffersOf(toWrite))
    const handOverMs = performance.now() - startMs
    uncommitted.forget((await written).lastEntry)
    const wallMs = performance.now() - startMs
    let [archiveMs, duckDbMs, restMs] = [0, 0, -handOverMs]
    for (const [thread, ms] of threadTimes()) {
      const spent = ms - (times.get(thread) ?? 0)
      if (thread === known.archiveThread) archiveMs += spent
      else if (pool.has(thread)) duckDbMs += spent
      else restMs += spent
    }
    const cpuMs = known.processorMs + handOverMs + archiveMs + duckDbMs + restMs
    return {
      ...known,
      readings,
      handOverMs,
      archiveMs,
      duckDbMs,
      restMs,
      wallMs,
      cpuSecondsPerMillion: (cpuMs * 1000) / readings,
      rssMegabytesMax: process.resourceUsage().maxRSS / 1000
    }
  }
}

/** Devices send in no order of their IDs. Always the same. */
function shuffled(devices: readonly Device[]): Device[] {
  const order = [...devices]
  for (let i = order.length - 1, state = 1; i > 0; i--) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    const j = state % (i + 1)
    ;[order[i], order[j]] = [order[j], order[i]]
  }
  return order
}
