/** Finds what a replay makes other than the archive has, and commits it, all at once; where nothing differs it changes nothing. */
import { join } from 'node:path'
import type { Catalog, CatalogFile } from '../archive/catalog.js'
import type { ProfileHour } from '../archive/fleet-catalog.js'
import { quoteText } from '../archive/parquet.js'
import { type DataPaths, type Partition, partitionPath } from '../archive/paths.js'
import { mergingPath } from '../archive/swap.js'
import { Changes } from './changes.js'
import { commitRun } from './commit-run.js'
import { changeAll, changeFeatures, plansOf } from './feature-changes.js'
import { compareHour, type HourChange } from './hour-comparison.js'
import type { Replayed } from './replay.js'
import { ReprocessStopped } from './replay.js'
import type { ReprocessOptions, ReprocessReport } from './reprocess-run.js'
import { latestByName, type Override, type Rules } from './rules.js'
import { ScratchDatabase } from './scratch-database.js'
import type { StartPoint } from './start-point.js'

/** Rows that the archive gets, and those that it loses. */
export interface Differs {
  readonly added: number
  readonly removed: number
}

export interface DifferenceOptions {
  readonly paths: DataPaths
  readonly catalog: Catalog
  readonly options: ReprocessOptions
  readonly start: StartPoint
  readonly asked: Override
  readonly rules: Rules
  /** The files, of all layers that are compared, that may hold rows of the replay's time. */
  readonly archived: readonly CatalogFile[]
  readonly made: Replayed
  readonly throughEntry: number
  readonly memoryMiB: number
}

export class Difference {
  private readonly number: number
  private scratch!: ScratchDatabase

  constructor(private readonly context: DifferenceOptions) {
    this.number = context.catalog.reprocessing.nextNumber()
  }

  async find(): Promise<Omit<ReprocessReport, 'first_entry' | 'last_entry' | 'frames'>> {
    const { paths, rules, made, options, memoryMiB } = this.context
    this.scratch = await ScratchDatabase.open(paths, memoryMiB)
    try {
      const hours = this.hours()
      const found = await this.compare(hours)
      for (const profile of rules.featuresChanged)
        await changeAll({ scratch: this.scratch }, profile, made.files, options.fromMs, options.toMs)
      const isChanged = found.length > 0 || (await this.scratch.number('SELECT count(*) FROM changed')) > 0
      const sumOf = (layer: Partition['layer'], what: 'added' | 'removed') =>
        found.filter(({ partition }) => partition.layer === layer).reduce((sum, change) => sum + change[what], 0)
      const { old, files } = isChanged ? await this.commit(found) : { old: [], files: [] }
      return {
        hours: hours.length,
        hours_changed: found.length,
        readings: { added: sumOf('processed', 'added'), removed: sumOf('processed', 'removed') },
        quarantined: { added: sumOf('quarantine', 'added'), removed: sumOf('quarantine', 'removed') },
        files_before: old.length,
        files_after: files.length,
        feature_rows: files.reduce((rows, file) => rows + (file.layer === 'curated' ? file.rows : 0), 0),
        changed: isChanged
      }
    } finally {
      this.scratch.close()
    }
  }

  /** All hours that either side has rows of. */
  private hours(): Partition[] {
    const hours = new Map<string, Partition>()
    for (const { layer, profile, hourMs } of [...this.context.archived, ...this.context.made.files])
      hours.set(partitionPath({ layer, profile, hourMs }), { layer, profile, hourMs })
    return [...hours.values()].sort((a, b) => a.hourMs - b.hourMs)
  }

  private async compare(hours: readonly Partition[]): Promise<HourChange[]> {
    const { paths, start, archived, made, options, throughEntry } = this.context
    const by = <T extends Partition>(files: readonly T[]) => {
      const groups = new Map<string, T[]>()
      for (const file of files) groups.set(partitionPath(file), [...(groups.get(partitionPath(file)) ?? []), file])
      return groups
    }
    const [had, has] = [by(archived), by(made.files)]
    const sinceMs = Number.isFinite(start.ingestMs) ? start.ingestMs : 0
    const hourOptions = { paths, scratch: this.scratch, sinceEntry: start.entry, sinceMs, throughEntry, shard: 0, number: this.number }
    const found: HourChange[] = []
    for (const [i, partition] of hours.entries()) {
      if (options.signal.aborted) throw new ReprocessStopped()
      const path = partitionPath(partition)
      const change = await compareHour(partition, had.get(path) ?? [], has.get(path) ?? [], hourOptions)
      if (change !== null) found.push(change)
      options.onProgress({ step: 'compare', done: i + 1, total: hours.length, ingestMs: partition.hourMs })
    }
    return found
  }

  private async commit(found: readonly HourChange[]): Promise<{ old: CatalogFile[]; files: CatalogFile[] }> {
    const { paths, catalog, options, start, asked, rules, made, throughEntry } = this.context
    const old = found.flatMap(change => change.old)
    const files = found.flatMap(change => change.files)
    const gone = new Set(old.map(({ path }) => path))
    const present = [...catalog.files().filter(({ path }) => !gone.has(path)), ...files]
    const isNew = new Set(files)
    const place = (file: CatalogFile) => (isNew.has(file) ? mergingPath(paths, file) : join(paths.archive, file.path))
    await this.scratch.countResolved(this.quarantine(catalog.files(), place), this.quarantine(present, place))
    const changes = new Changes(join(paths.reprocessing, 'changes.sqlite'))
    const atMs = Math.max(options.nowMs(), made.ingestMs)
    const before = catalog.reprocessing.reprocessings().flatMap(({ profiles }) => profiles)
    const byName = [before, rules.lastStarted, asked.profiles].flatMap(profiles => [...latestByName(profiles)])
    const featureProfiles = [...new Map(byName).values()]
    const name = { shard: 0, firstEntry: start.entry + 1, lastEntry: throughEntry }
    const { scratch, number } = this
    const features = {
      paths,
      scratch,
      changes,
      processor: made.processor,
      plans: plansOf(featureProfiles),
      place,
      files: present,
      atMs,
      name,
      number
    }
    const emptied = await changeFeatures(features)
    const touched = await this.noteLedger(changes, found)
    changes.end()
    if (options.signal.aborted) throw new ReprocessStopped()
    const all = [...files, ...emptied]
    commitRun(paths, catalog, {
      ...asked,
      number,
      entry: throughEntry,
      fromMs: options.fromMs,
      toMs: options.toMs,
      atMs,
      old,
      files: all,
      touched,
      changes: changes.path,
      featureProfiles,
      processor: made.processor,
      ingestMs: made.ingestMs,
      startedProfiles: rules.baseOfOthers,
      sinceEntry: start.entry,
      snapshots: made.snapshots
    })
    return { old, files: all }
  }

  /** Ledgers and counts; returns the hours that they touch. */
  private async noteLedger(changes: Changes, found: readonly HourChange[]): Promise<ProfileHour[]> {
    const touched = new Map<string, ProfileHour>()
    const touch = (hour: ProfileHour) => touched.set(`${hour.profile}/${hour.hourMs}`, hour)
    for (const ledger of this.context.made.epochs) changes.addEpoch(ledger)
    for (const { partition, archived, late } of found) {
      const { profile, hourMs } = partition
      if (partition.layer !== 'processed' || profile === null) continue
      changes.addHour({ profile, hourMs, archived, late })
      touch({ profile, hourMs })
    }
    const counts = this.scratch.stream(`SELECT hour_ms, profile, device_id, sum(received), sum(quarantined), sum(late) FROM counts
      GROUP BY ALL HAVING sum(received) <> 0 OR sum(quarantined) <> 0 OR sum(late) <> 0 ORDER BY ALL`)
    for await (const [hourMs, profile, deviceId, received, quarantined, late] of counts) {
      const numbers = { received: Number(received), quarantined: Number(quarantined), late: Number(late) }
      changes.addCount({ hourMs: Number(hourMs), profile: String(profile), deviceId: String(deviceId), ...numbers })
      touch({ profile: String(profile), hourMs: Number(hourMs) })
    }
    return [...touched.values()]
  }

  /** All rows of the quarantine, without payloads. */
  private quarantine(files: readonly CatalogFile[], place: (file: CatalogFile) => string): string {
    const columns = 'device_id, ingest_time, entry, frame_index, profile, event_time, epoch, seq, event_id'
    const list = files.filter(file => file.layer === 'quarantine').map(file => quoteText(place(file)))
    if (list.length > 0) return `SELECT ${columns} FROM read_parquet([${list.join(', ')}], hive_partitioning = false)`
    const types = ['VARCHAR', 'TIMESTAMPTZ', 'BIGINT', 'INTEGER', 'VARCHAR', 'TIMESTAMPTZ', 'BIGINT', 'BIGINT', 'VARCHAR']
    return `SELECT ${columns
      .split(', ')
      .map((name, i) => `NULL::${types[i]} AS ${name}`)
      .join(', ')} WHERE false`
  }
}
