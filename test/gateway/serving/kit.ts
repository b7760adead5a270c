/** A gateway's log, processor and archive without its threads: the test says when flushes are committed, and what comes in between. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { Serving } from '../../../gateway/dist/serving/serving.js'
import { ServingClient } from '../../../gateway/dist/serving/serving-client.js'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { Committer } from '../../../gateway/src/archive/commit.js'
import { dataPaths } from '../../../gateway/src/archive/paths.js'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { makeTrainingSet } from '../../../gateway/src/commands/training-set.js'
import type { LogEntry } from '../../../gateway/src/log/schema.js'
import { SqliteLog } from '../../../gateway/src/log/sqlite-log.js'
import { runPass } from '../../../gateway/src/maintenance/pass.js'
import { answer } from '../../../gateway/src/pipeline/questions.js'
import { ServedState } from '../../../gateway/src/pipeline/served-state.js'
import { encodeControl } from '../../../gateway/src/processor/control.js'
import type { Flush } from '../../../gateway/src/processor/flush.js'
import { Processor } from '../../../gateway/src/processor/processor.js'
import type { Wanted } from '../../../gateway/src/serving/messages.js'
import { EventIdsInMemory } from '../../kit/event-ids-in-memory.js'
import { type Row, rowsOf } from '../../kit/flush-rows.js'
import { type FrameSpec, packed } from '../../kit/timeline.js'
import { query, temporaryFolder } from '../archive/kit.js'
import { POLICY } from '../maintenance/kit.js'

export class ServedLog {
  readonly dataDir = temporaryFolder()
  readonly entries: LogEntry[] = []
  readonly serving: Serving
  readonly client = new ServingClient(this.dataDir)
  readonly catalog: Catalog
  /** Called with what was asked when the processor has answered, before the archive is read. */
  onAsked: (ask: string) => Promise<void> = async () => {}
  private served: ServedState
  private readonly processor = new Processor(new EventIdsInMemory())
  private readonly log = new SqliteLog(join(this.dataDir, 'log.sqlite'))
  private readonly committer: Committer
  private readonly waiting: Flush[] = []

  constructor() {
    recoverArchive(this.dataDir, 0, () => {})
    const paths = dataPaths(this.dataDir)
    this.catalog = Catalog.open(paths.catalog)
    this.committer = new Committer(paths, this.catalog, { shard: 0, memoryMiB: 128 })
    this.served = new ServedState(this.processor, paths.catalog)
    const pipeline: ConstructorParameters<typeof Serving>[0] = {
      ask: async question => {
        const answered = structuredClone(answer(this.processor, this.served, question))
        await this.onAsked(question.ask)
        return answered as never
      }
    }
    this.serving = new Serving(pipeline, { lastEntry: 0 }, this.client)
    onTestFinished(async () => {
      await this.client.close()
      this.served.close()
      this.committer.close()
      this.catalog.close()
      this.log.close()
    })
  }

  /** Applies an entry. A flush that it gives waits to be committed. */
  apply(entry: LogEntry): void {
    this.entries.push(entry)
    this.log.append(entry.frames, entry.ingestMs)
    const flush = this.processor.apply(entry)
    if (flush === null) return
    this.served.latest.take(flush)
    this.waiting.push(this.served.uncommitted.add(flush))
  }

  /** Commits flushes that wait, oldest first, until so many are left. */
  async commit(left = 0): Promise<void> {
    while (this.waiting.length > left) {
      const flush = this.waiting.shift()!
      await this.committer.write(flush)
      this.served.uncommitted.forget(flush.lastEntry)
    }
  }

  /** Applies frames as the next entry, `afterMs` behind the last. */
  append(frame: FrameSpec, afterMs = 0): void {
    const last = this.entries.at(-1)!
    this.apply({ entry: last.entry + 1, ingestMs: last.ingestMs + afterMs, frames: packed([frame]) })
  }

  /** Merges the files of every hour. Returns how many there were less. What they replace stays readable, unless it is to be deleted. */
  async compact(deletion?: 'and delete what it replaces'): Promise<number> {
    const before = this.catalog.files('processed').length
    const policy = { ...POLICY, minFiles: 2, keepMs: 0 }
    const nowMs = () => this.entries.at(-1)!.ingestMs + 48 * 3_600_000
    const paths = dataPaths(this.dataDir)
    const pass = () => runPass({ paths, catalog: this.catalog, policy, nowMs, signal: new AbortController().signal })
    await pass()
    if (deletion !== undefined) await pass()
    return before - this.catalog.files('processed').length
  }

  /** as_of, revision, known_at and temp_mean_5m of each row that the command cuts; undefined: there is none. */
  async trainingSet(wanted: readonly Wanted[], embargoMs: number): Promise<unknown[][]> {
    const [labels, out] = [join(this.dataDir, 'labels.csv'), join(this.dataDir, 'out.parquet')]
    writeFileSync(labels, ['device_id,label_time,label', ...wanted.map(each => `${each.deviceId},${each.timeMs},0`), ''].join('\n'))
    await makeTrainingSet(labels, { dataDir: this.dataDir, out, embargoMs })
    const rows = await query(`SELECT epoch_ms(as_of), revision, epoch_ms(known_at), temp_mean_5m FROM '${out}'`)
    return rows.map(row => row.map(value => (value === null ? undefined : Number(value))))
  }

  /** What a new process knows: the state, and nothing of the feature rows that have left it. */
  forgetLatest(): void {
    const { uncommitted } = this.served
    this.served.close()
    this.served = new ServedState(this.processor, dataPaths(this.dataDir).catalog, uncommitted)
  }

  /** All rows that the log gives up to its present end, by a processor that has never heard of serving. */
  rows(): { readings: Row[]; features: Row[] } {
    const { flushes, nowMs } = drained(this.entries)
    // a drain lets corrections out that the log's end has not
    const features = withProfiles(flushes, 'curated').filter(row => (row.known_at as number) <= nowMs)
    return { readings: withProfiles(flushes, 'processed'), features }
  }
}

function drained(entries: readonly LogEntry[]): { flushes: Flush[]; nowMs: number } {
  const processor = new Processor(new EventIdsInMemory())
  const nowMs = entries.at(-1)?.ingestMs ?? 0
  const drain = {
    entry: entries.length + 1,
    ingestMs: nowMs + 1,
    frames: packed([{ kind: 'control', payload: encodeControl({ control: 'drain' }) }])
  }
  const flushes = [...entries, drain].map(entry => processor.apply(entry)).filter(flush => flush !== null)
  return { flushes, nowMs }
}

function withProfiles(flushes: readonly Flush[], layer: 'processed' | 'curated'): Row[] {
  return flushes.flatMap(flush =>
    flush.files
      .filter(file => file.layer === layer)
      .flatMap(file => rowsOf([{ ...flush, files: [file] }], layer).map(row => ({ profile: file.profile, ...row })))
  )
}
