import { join, resolve } from 'node:path'
import type { Layer } from '../processor/flush.js'

/** Where the archive's files lie below the data folder. Nothing here touches the disk. */

export interface DataPaths {
  readonly root: string
  readonly log: string
  readonly catalog: string
  readonly archive: string
  /** On the archive's file system, so that a file gets from here to there by a rename; outside every reader's glob. */
  readonly staging: string
  /** Where DuckDB puts what does not fit its memory. */
  readonly spill: string
  /** Below staging/: what compaction is writing, apart from flushes, which clear theirs away. */
  readonly compaction: string
  readonly compactionSpill: string
  /** Files that the archive no longer consists of, until they are deleted: on its file system, outside every reader's glob. */
  readonly superseded: string
  readonly snapshots: string
  /** Below snapshots/: one a day, kept beside the raw frames. */
  readonly keptSnapshots: string
  /** Below staging/: what reprocessing works with. Nothing in it counts. */
  readonly reprocessing: string
}

/** Absolute paths. */
export function dataPaths(dataDir: string): DataPaths {
  const root = resolve(dataDir)
  const staging = join(root, 'staging')
  return {
    root,
    log: join(root, 'log.sqlite'),
    catalog: join(root, 'catalog.sqlite'),
    archive: join(root, 'archive'),
    staging,
    spill: join(staging, 'spill'),
    compaction: join(staging, 'compaction'),
    compactionSpill: join(staging, 'compaction', 'spill'),
    superseded: join(root, 'superseded'),
    snapshots: join(root, 'snapshots'),
    keptSnapshots: join(root, 'snapshots', 'daily'),
    reprocessing: join(staging, 'reprocessing')
  }
}

export const HOUR_MS = 3_600_000

/** Digits of an entry in a file's name: names sort as entries do until 10^12 of them, 300 years of 100 commits a second. */
const ENTRY_DIGITS = 12

/** What a file's name says: a function of the log. `part` counts a flush's files of one partition from 1. */
export interface FileName {
  readonly shard: number
  readonly firstEntry: number
  readonly lastEntry: number
  readonly part: number
}

/** What an hour's folder of a layer is for. */
export interface Partition {
  readonly layer: Layer
  /** null for raw and quarantine. */
  readonly profile: string | null
  /** Start of the hour, Unix ms. */
  readonly hourMs: number
}

/** The path of a file below archive/, with `/` on every system: a Hive partition by UTC day and hour, and a name. */
export function archivePath(partition: Partition, name: FileName): string {
  return `${partitionPath(partition)}/${name.shard}-${padEntry(name.firstEntry)}-${padEntry(name.lastEntry)}${partOf(name)}.parquet`
}

/** The path of a file that a repair as of the boundary behind `entry` writes. */
export function repairPath(partition: Partition, name: { readonly shard: number; readonly entry: number; readonly part: number }): string {
  return `${partitionPath(partition)}/${name.shard}-repair-${padEntry(name.entry)}${partOf(name)}.parquet`
}

/** Whether a file's name, in archive/ or in staging/, is that of a repair's. */
export function isRepairFile(name: string): boolean {
  return /(^|\/|__)\d+-repair-\d+(-\d+)?\.parquet$/.test(name)
}

/** The path of the file that a compaction makes of others. The compaction's number is never used again, so no name is either. */
export function compactedPath(partition: Partition, name: Omit<FileName, 'part'>, compaction: number): string {
  return `${partitionPath(partition)}/${name.shard}-${padEntry(name.firstEntry)}-${padEntry(name.lastEntry)}-c${compaction}.parquet`
}

/** The path of a file that a reprocessing makes; its number is never used again. */
export function reprocessedPath(partition: Partition, name: FileName, reprocessing: number): string {
  const { shard, firstEntry, lastEntry } = name
  return `${partitionPath(partition)}/${shard}-${padEntry(firstEntry)}-${padEntry(lastEntry)}-r${reprocessing}${partOf(name)}.parquet`
}

/** Whether a compaction has made the file, or a reprocessing, which leaves as few. */
export function isCompacted(path: string): boolean {
  return /-(c\d+|r\d+(-\d+)?)\.parquet$/.test(path)
}

function partOf({ part }: { readonly part: number }): string {
  return part === 1 ? '' : `-${part}`
}

/** An hour's folder below archive/. */
export function partitionPath({ layer, profile, hourMs }: Partition): string {
  const hour = new Date(hourMs).toISOString()
  return `${datasetPath(layer, profile)}/date=${hour.slice(0, 10)}/hour=${hour.slice(11, 13)}`
}

/** The name in staging/ of the file that is to be `path` in archive/. */
export function stagingName(path: string): string {
  return path.replaceAll('/', '__')
}

export function padEntry(entry: number): string {
  return String(entry).padStart(ENTRY_DIGITS, '0')
}

function datasetPath(layer: Layer, profile: string | null): string {
  if (layer === 'raw') return 'raw/messages'
  if (layer === 'quarantine' || layer === 'resolved') return layer
  if (profile === null) throw new Error(`a file of ${layer} belongs to a profile`)
  return `${layer}/${profile}`
}
