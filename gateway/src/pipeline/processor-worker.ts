/**
 * The processor's shell: tails the log, applies its entries, hands flushes to the archive. Live and recovery are one path: from the
 * newest snapshot on, what lies at or before the committed entry is applied again but not written again.
 */
import { join } from 'node:path'
import { setImmediate as yieldToEvents } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { openArchive } from '../archive/archive-client.js'
import { dataPaths } from '../archive/paths.js'
import { DrainTeller } from '../drain/drain-teller.js'
import { SqliteEventIdStore } from '../event-id-store.js'
import type { LogEntry } from '../log/schema.js'
import { SqliteLogReader } from '../log/sqlite-log.js'
import { Pace } from '../pace.js'
import { Processor } from '../processor/processor.js'
import { ConfigTeller } from './configs.js'
import { DecodeAhead } from './decode-ahead.js'
import { FlushWriter } from './flush-writer.js'
import type { FromPipeline, PipelineOptions, ToPipeline } from './messages.js'
import { answer, type Question } from './questions.js'
import { Repairs } from './repairs.js'
import { ServedState } from './served-state.js'
import { SnapshotTaker } from './snapshot-taker.js'

/** Entries read from the log at a time. */
const ENTRIES_AT_ONCE = 64

/** With more of the log to catch up with than this, another thread decodes it. */
const DECODE_AHEAD_BYTES_MIN = 16 * 1024 * 1024

const STATS_MS = 250

const TICK_BYTES_MAX = 6

const port = parentPort!
const post = (message: FromPipeline) => port.postMessage(message)

async function run({ dataDir, lastEntry, drain: drainConfig }: PipelineOptions): Promise<void> {
  const path = join(dataDir, 'log.sqlite')
  const log = new SqliteLogReader(path)
  const { recovered, archive } = openArchive(dataDir, { warn: message => post({ type: 'warning', message }) })
  const eventIds = new SqliteEventIdStore(join(dataDir, 'event-ids.sqlite'))
  const snapshot = recovered.loadNewestSnapshot()
  const processor = new Processor(eventIds, snapshot?.parts() ?? null, recovered.committedEntry)
  checkLog(log, dataDir, lastEntry, processor.entry, recovered.committedEntry)
  const repairs = new Repairs(dataDir, post)
  const served = new ServedState(processor, join(dataDir, 'catalog.sqlite'))
  const writer = new FlushWriter(
    archive,
    recovered.committedEntry,
    throughEntry => post({ type: 'truncate', throughEntry }),
    entry => {
      served.uncommitted.forget(entry)
      repairs.noteCommitted(entry)
    },
    message => post({ type: 'warning', message })
  )
  const snapshots = new SnapshotTaker(dataPaths(dataDir).snapshots, processor, writer, message => post({ type: 'warning', message }))
  const drain = drainConfig === null ? null : new DrainTeller(processor, drainConfig, lastEntry, post)
  const tail = new Tail(processor, served, drain)
  const configs = new ConfigTeller(processor, lastEntry, post)
  let appliedBytes = 0
  const statsPace = new Pace(STATS_MS)
  const postStats = () =>
    statsPace.run(() => {
      const repair = { repairMarks: repairs.marks, repairing: repairs.ordered > 0 }
      const stats = { processor: processor.stats(), appliedBytes, ...writer.totals, ...repair, drain: drain?.stats ?? null }
      post({ type: 'stats', stats })
    })
  const behindBytes = log.bytesBehind(processor.entry)
  post({
    type: 'open',
    fromEntry: processor.entry,
    behindBytes,
    renamed: recovered.renamed,
    deleted: recovered.deleted
  })

  let ahead: DecodeAhead | null = null
  if (behindBytes > DECODE_AHEAD_BYTES_MIN) {
    ahead = DecodeAhead.start({ path, afterEntry: processor.entry, throughEntry: lastEntry, profiles: processor.profiles })
  }
  const read = async (): Promise<LogEntry[]> => {
    const decoded = (await ahead?.next()) ?? []
    if (decoded.length > 0) return decoded
    ahead = null
    return tail.head > processor.entry ? log.read(processor.entry, ENTRIES_AT_ONCE) : []
  }

  while (!tail.isClosed) {
    const entries = await read()
    for (const entry of entries) {
      snapshots.takePart()
      const flush = processor.apply(entry)
      if (flush !== null) served.latest.take(flush)
      const isWritten = flush === null || flush.lastEntry <= recovered.committedEntry
      const toWrite = isWritten ? null : served.uncommitted.add(flush) // before anything is answered
      tail.answerDue()
      if (entry.frames.length > TICK_BYTES_MAX) appliedBytes += entry.frames.length
      if (flush !== null) eventIds.commit(entry.ingestMs)
      if (toWrite === null) continue
      repairs.expect(toWrite)
      if (toWrite.snapshotIsDue) snapshots.begin(toWrite.lastEntry, toWrite.fleet.knownAtMs)
      await writer.write(toWrite)
    }
    const notices = processor.takeNotices()
    if (notices.length > 0 && processor.entry > lastEntry) post({ type: 'notices', notices })
    configs.tell()
    drain?.tell(tail.head)
    if (statsPace.isDue) postStats()
    if (entries.length > 0 || snapshots.takePart()) await yieldToEvents()
    else if (tail.drainEntry !== null && processor.entry >= tail.drainEntry) {
      await writer.drain()
      postStats()
      tail.drainEntry = null
      post({ type: 'drained' })
    } else if (tail.takeAwaitsRepairs()) repairs.awaitSettled()
    else await tail.news(STATS_MS)
  }
  await ahead?.close()
  await repairs.close()
  served.close()
  await archive.close()
  eventIds.close()
  log.close()
  post({ type: 'closed' })
  port.close()
}

/** What the main thread says, and waiting for it. */
class Tail {
  head = 0
  drainEntry: number | null = null
  isClosed = false
  private awaitsRepairs = false
  private wake: (() => void) | null = null
  private questions: { id: number; atEntry: number; question: Question }[] = []

  constructor(
    private readonly processor: Processor,
    private readonly served: ServedState,
    private readonly drain: DrainTeller | null
  ) {
    port.on('message', (message: ToPipeline) => {
      if (message.type === 'entry') this.head = message.entry
      else if (message.type === 'drain') this.drainEntry = message.entry
      else if (message.type === 'late') this.drain?.noteLate()
      else if (message.type === 'await-repairs') this.awaitsRepairs = true
      else if (message.type === 'ask') {
        this.questions.push(message)
        this.answerDue()
      } else this.isClosed = true
      this.wake?.()
    })
  }

  /** Answers the questions whose entry is applied. */
  answerDue(): void {
    if (this.questions.length === 0) return
    const { processor } = this
    const due = this.questions.filter(({ atEntry }) => atEntry <= processor.entry)
    this.questions = this.questions.filter(({ atEntry }) => atEntry > processor.entry)
    for (const { id, question } of due) post({ type: 'answer', id, answer: answer(processor, this.served, question) })
  }

  /** Whether it was asked for since the last time. */
  takeAwaitsRepairs(): boolean {
    const { awaitsRepairs } = this
    this.awaitsRepairs = false
    return awaitsRepairs
  }

  /** Resolves at the next message, or when `ms` have passed. */
  news(ms: number): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, ms)
      this.wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

function checkLog(log: SqliteLogReader, dataDir: string, lastEntry: number, processorEntry: number, committedEntry: number): void {
  const needed = Math.max(processorEntry, committedEntry)
  if (lastEntry < needed) {
    throw new Error(
      `the log in ${dataDir} ends at entry ${lastEntry}, the archive at ${needed}: log.sqlite was removed or is older than the archive; restore it`
    )
  }
  const first = log.firstEntry
  if (first !== null && first > processorEntry + 1) {
    throw new Error(
      `the log in ${dataDir} begins with entry ${first}, but no snapshot holds what came before: restore the folder snapshots/`
    )
  }
}

run(workerData as PipelineOptions).catch(error => post({ type: 'failed', message: error instanceof Error ? error.message : String(error) }))
