/**
 * A model of the archive's disk and its commit protocol: all files staged and fsynced, one transaction of the catalog, renames;
 * each is a step of its own that a crash can come before, and so is recording a snapshot. Recovery redoes the renames of what is
 * recorded and deletes the rest. A file is the rows that the processor handed over.
 */
import { checkSnapshot, encodeSnapshot, inMemory, partsIn } from '@tidemark/gateway/dist/archive/snapshot-format.js'
import type { EpochLedger, FileRows, Flush, RepairMark } from '@tidemark/gateway/dist/processor/flush.js'
import { ledgersOf } from '@tidemark/gateway/dist/processor/ledger.js'
import { Draw, STREAM } from './draw.js'
import type { SimulatedLog } from './log.js'
import type { GatewayScenario } from './scenario.js'
import type { Life } from './scheduler.js'
import type { World } from './world.js'

/** As in gateway/src/archive/commit.ts. */
const SNAPSHOTS_KEPT = 2

export interface ArchivedFile {
  readonly path: string
  readonly lastEntry: number
  readonly rows: FileRows
  readonly strings: readonly string[]
}

/** Part of a flush's commit; bugs are planted by splitting it. */
interface Transaction {
  readonly flush: Flush
  readonly files: readonly ArchivedFile[]
}

export class SimulatedArchive {
  scenario: GatewayScenario
  /** Files that a reader finds. */
  readonly visible = new Map<string, ArchivedFile>()
  readonly epochs = new Map<string, EpochLedger>()
  readonly repairs: RepairMark[] = []
  /** Parts of the snapshots that ever were durable, for the checks. */
  readonly everTaken = new Map<number, readonly Uint8Array[]>()
  committedEntry = 0
  /** How often a damaged one was found. */
  damagedSnapshots = 0
  /** Called behind each step of a flush's commit. */
  onWrite: () => void = () => {}
  private readonly recorded = new Map<string, ArchivedFile>()
  private readonly staging = new Map<string, ArchivedFile>()
  private snapshots: { readonly entry: number; file: Uint8Array }[] = []
  private readonly draw: Draw

  constructor(
    private readonly world: World,
    private readonly log: SimulatedLog,
    scenario: GatewayScenario
  ) {
    this.scenario = scenario
    this.draw = new Draw(world.seed, STREAM.archive)
  }

  /** Takes a flush through all steps. */
  write(flush: Flush, life: Life, written: () => void): void {
    const steps = [
      () => this.stage(flush),
      ...this.commitSteps(this.transactionOf(flush)),
      ...this.filesOf(flush).map(
        ({ path }) =>
          () =>
            this.rename(path)
      )
    ]
    const run = (step: number) => {
      if (step === steps.length) {
        written()
        return
      }
      this.world.scheduler.after(this.stepMs(), life, `archive ${flush.lastEntry} step ${step}`, () => {
        steps[step]()
        this.onWrite()
        run(step + 1)
      })
    }
    run(0)
  }

  /** Records the snapshot of a committed flush; `recorded` is told which log entries no snapshot needs any more. */
  writeSnapshot(entry: number, parts: readonly Uint8Array[], life: Life, recorded: (oldestNeededEntry: number) => void): void {
    if (entry > this.committedEntry) throw new Error(`a snapshot of entry ${entry} came where ${this.committedEntry} is committed`)
    this.world.scheduler.after(this.stepMs(), life, `archive snapshot ${entry}`, () => {
      this.keepSnapshot(entry, parts)
      this.onWrite()
      recorded(this.oldestNeededEntry)
    })
  }

  /** Brings the disk to what the catalog records. Throws where a recorded file is lost. */
  recover(): void {
    for (const path of this.recorded.keys()) {
      if (this.visible.has(path)) continue
      if (!this.staging.has(path)) throw new Error(`the archive lacks ${path}, which the catalog records`)
      this.rename(path)
    }
    for (const path of this.visible.keys()) if (!this.recorded.has(path)) this.visible.delete(path)
    this.staging.clear()
  }

  /** The newest snapshot that is whole; a damaged one is forgotten. */
  loadNewestSnapshot(): readonly Uint8Array[] | null {
    for (;;) {
      const newest = this.snapshots.at(-1)
      if (newest === undefined) return null
      const source = inMemory(newest.file)
      if (typeof checkSnapshot(source) !== 'string') return [...partsIn(source)]
      this.world.scheduler.trace(`snapshot ${newest.entry} damaged`)
      this.snapshots.pop()
      this.damagedSnapshots++
    }
  }

  /** A bit of the newest snapshot flips, or its end is torn; only while the one before can stand in. */
  mayDamageSnapshot(): void {
    const newest = this.snapshots.at(-1)
    if (newest === undefined || this.snapshots.length < SNAPSHOTS_KEPT || !this.draw.chance(this.scenario.damageSnapshot)) return
    if (this.draw.chance(0.5)) newest.file = newest.file.slice(0, this.draw.between(0, newest.file.length - 1))
    else {
      newest.file = newest.file.slice()
      newest.file[this.draw.between(0, newest.file.length - 1)] ^= 1 << this.draw.between(0, 7)
    }
  }

  private stepMs(): number {
    return this.draw.chance(this.scenario.slowDisk) ? this.draw.between(1000, 30_000) : this.draw.between(1, 100)
  }

  private filesOf(flush: Flush): ArchivedFile[] {
    return flush.files
      .filter(({ rows }) => rows > 0)
      .map((rows, part) => ({
        path: `${rows.layer}/${rows.profile}/${rows.hourMs}/${flush.firstEntry}-${flush.lastEntry}-${part}`,
        lastEntry: flush.lastEntry,
        rows,
        strings: flush.strings
      }))
  }

  private transactionOf(flush: Flush): Transaction {
    return { flush, files: this.filesOf(flush) }
  }

  /** Raw needs the log's entries still to be there. */
  private stage(flush: Flush): void {
    if (flush.firstEntry !== this.committedEntry + 1 && this.world.plant !== 'snapshot-past-commit')
      throw new Error(`a flush of entries ${flush.firstEntry} to ${flush.lastEntry} came where ${this.committedEntry} is committed`)
    const raw = this.log.read(flush.firstEntry - 1, flush.lastEntry - flush.firstEntry + 1)
    if (raw.length !== flush.lastEntry - flush.firstEntry + 1) throw new Error(`the log lacks entries up to ${flush.lastEntry}`)
    this.staging.clear()
    for (const file of this.filesOf(flush)) this.staging.set(file.path, file)
  }

  private commitSteps(transaction: Transaction): (() => void)[] {
    const files = () => this.recordFiles(transaction)
    const offset = () => this.recordOffset(transaction)
    if (this.world.plant === 'flush-outside-commit') return [offset, files]
    return [
      () => {
        files()
        offset()
      }
    ]
  }

  private recordFiles({ files }: Transaction): void {
    for (const file of files) this.recorded.set(file.path, file)
  }

  private recordOffset({ flush }: Transaction): void {
    for (const epoch of ledgersOf(flush)) this.epochs.set(`${epoch.deviceId}/${epoch.epoch}`, epoch)
    this.repairs.push(...flush.repairs)
    this.committedEntry = flush.lastEntry
  }

  private rename(path: string): void {
    this.visible.set(path, this.staging.get(path)!)
    this.staging.delete(path)
  }

  /** Keeps a snapshot; a bug that is planted calls it whether or not its flush is committed. */
  keepSnapshot(entry: number, parts: readonly Uint8Array[]): void {
    if (this.snapshots.some(known => known.entry === entry)) return
    this.snapshots = [...this.snapshots, { entry, file: encodeSnapshot(entry, parts) }].slice(-SNAPSHOTS_KEPT)
    this.everTaken.set(entry, parts)
  }

  private get oldestNeededEntry(): number {
    if (this.world.plant === 'log-cut-too-far') return this.snapshots.at(-1)?.entry ?? 0
    return this.snapshots.length < SNAPSHOTS_KEPT ? 0 : this.snapshots[0].entry
  }
}
