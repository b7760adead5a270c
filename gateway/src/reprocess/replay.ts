/**
 * Replays raw frames through the processor, and writes the rows that it makes of readings (processed, quarantine, resolved) into
 * staging/reprocessing/, flush by flush. Feature rows are dropped: what changes of them is computed from the archive afterwards, so that
 * no row claims to have been known before it was.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Profile } from '@tidemark/protocol'
import { columnsDigest } from '../archive/commit.js'
import { dayOf } from '../archive/kept-snapshots.js'
import { type ParquetFile, ParquetWriter } from '../archive/parquet.js'
import { type DataPaths, partitionPath, stagingName } from '../archive/paths.js'
import { writeSnapshot } from '../archive/snapshot-file.js'
import { crashPoint } from '../crash-point.js'
import type { EventIdStore } from '../processor/event-ids.js'
import type { EpochLedger, FileRows, Flush } from '../processor/flush.js'
import { ledgersOf } from '../processor/ledger.js'
import { Processor } from '../processor/processor.js'
import type { RawReader, Span } from './raw-reader.js'
import type { RequeueFates } from './requeue-fates.js'
import type { Rules } from './rules.js'

/** The run was ended before its commit. Nothing of it counts. */
export class ReprocessStopped extends Error {
  readonly code = 'REPROCESS_STOPPED'
  constructor() {
    super('stopped: nothing was changed')
  }
}

/** Rows of an hour that a replay has made, as a file. */
export interface ReplayedFile extends Pick<FileRows, 'layer' | 'profile' | 'hourMs' | 'rows'> {
  readonly path: string
  /** A digest of the names and types of its columns. */
  readonly columns: string
}

export interface ReplayedSnapshot {
  readonly entry: number
  readonly ingestMs: number
  /** The file, below the folder of the replay. */
  readonly file: string
  readonly bytes: number
  readonly sha256: string
  /** The profiles of the last start, where others were in force; else null. */
  readonly profiles: readonly Profile[] | null
}

export interface Replayed {
  /** Behind the boundary at the end of the span. */
  readonly processor: Processor
  readonly ingestMs: number
  readonly files: readonly ReplayedFile[]
  /** Of all epochs that the span touches, as they are at its end. */
  readonly epochs: Iterable<EpochLedger>
  /** The first of each day of ingest time that begins within the span. */
  readonly snapshots: readonly ReplayedSnapshot[]
}

export interface ReplayOptions {
  readonly paths: DataPaths
  readonly span: Span
  /** The state that the span begins with; null: none. */
  readonly state: Iterable<Uint8Array> | null
  /** Its ingest time, Unix ms. */
  readonly stateMs: number
  readonly reader: RawReader
  readonly rules: Rules
  readonly fates: RequeueFates
  readonly eventIds: EventIdStore
  readonly memoryMiB: number
  readonly signal: AbortSignal
  readonly onFrames: (frames: number, ingestMs: number) => void
}

export async function replay(options: ReplayOptions): Promise<Replayed> {
  return await new Replay(options).run()
}

class Replay {
  private readonly files: ReplayedFile[] = []
  private readonly epochs = new Map<string, EpochLedger>()
  private readonly snapshots: ReplayedSnapshot[] = []
  private readonly folder: string
  private readonly processor: Processor
  private flushes = 0
  private snapshotDay: number

  constructor(private readonly options: ReplayOptions) {
    const { paths, eventIds, state, stateMs } = options
    this.folder = join(paths.reprocessing, 'rows')
    mkdirSync(this.folder, { recursive: true })
    this.processor = new Processor(eventIds, state)
    options.rules.beginWith(this.processor.profiles)
    this.snapshotDay = dayOf(stateMs)
    this.processor.wantsSnapshot = ingestMs => dayOf(ingestMs) > this.snapshotDay
  }

  async run(): Promise<Replayed> {
    const { paths, span, rules, fates, reader, memoryMiB, signal, onFrames } = this.options
    const writer = await ParquetWriter.open({ spillFolder: join(paths.reprocessing, 'spill-rows'), memoryMiB })
    let lastMs = 0
    let flushed = span.sinceEntry
    let entered = 0
    const rewrite: Parameters<RawReader['entries']>[1] = (entry, { kind, payload }) => {
      if (entry !== entered) {
        entered = entry
        const profiles = rules.enter(entry)
        if (profiles !== null) this.processor.setProfiles(profiles)
      }
      return kind === 'control' ? rules.control(payload) : kind === 'requeue' ? fates.requeue(payload) : payload
    }
    try {
      for await (const entry of reader.entries(span, rewrite)) {
        if (signal.aborted) throw new ReprocessStopped()
        const flush = this.processor.apply(entry)
        this.processor.takeNotices()
        lastMs = entry.ingestMs
        onFrames(entry.frameCount, entry.ingestMs)
        if (flush === null) continue
        flushed = flush.lastEntry
        await this.take(flush, writer)
        crashPoint('reprocess-replay')
      }
    } finally {
      writer.close()
    }
    if (flushed !== span.throughEntry)
      throw new Error(`the replay has no boundary behind entry ${span.throughEntry}, but behind ${flushed}`)
    return {
      processor: this.processor,
      ingestMs: lastMs,
      files: this.files,
      epochs: this.epochs.values(),
      snapshots: this.snapshots
    }
  }

  private async take(flush: Flush, writer: ParquetWriter): Promise<void> {
    this.options.fates.note(flush)
    for (const ledger of ledgersOf(flush)) this.epochs.set(`${ledger.deviceId}/${ledger.epoch}`, ledger)
    const wanted = flush.files.filter(({ layer, rows }) => rows > 0 && layer !== 'curated')
    const files = wanted.map((rows, part): ParquetFile => {
      const { layer, profile, hourMs } = rows
      const path = join(this.folder, stagingName(`${partitionPath({ layer, profile, hourMs })}/${this.flushes}-${part}.parquet`))
      this.files.push({ layer, profile, hourMs, rows: rows.rows, path, columns: columnsDigest(rows.columns) })
      return { rows, path }
    })
    this.flushes++
    await writer.writeFiles(files, flush.strings)
    if (flush.snapshotIsDue) this.keep(flush)
  }

  private keep({ lastEntry, fleet }: Flush): void {
    this.snapshotDay = dayOf(fleet.knownAtMs)
    const folder = join(this.options.paths.reprocessing, 'snapshots')
    if (!existsSync(folder)) mkdirSync(folder)
    const written = writeSnapshot(folder, lastEntry, this.processor.snapshotParts())
    this.snapshots.push({ entry: lastEntry, ingestMs: fleet.knownAtMs, profiles: this.options.rules.baseOfOthers, ...written })
  }
}
