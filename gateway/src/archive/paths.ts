import { join } from 'node:path'
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
  readonly snapshots: string
}

export function dataPaths(dataDir: string): DataPaths {
  const staging = join(dataDir, 'staging')
  return {
    root: dataDir,
    log: join(dataDir, 'log.sqlite'),
    catalog: join(dataDir, 'catalog.sqlite'),
    archive: join(dataDir, 'archive'),
    staging,
    spill: join(staging, 'spill'),
    snapshots: join(dataDir, 'snapshots')
  }
}

export const HOUR_MS = 3_600_000

/** Digits of an entry in a file's name: names sort as entries do until 10^12 of them, 300 years of 100 commits a second. */
const ENTRY_DIGITS = 12

/**
 * The path of a file below archive/, with `/` on every system: a Hive partition by UTC day and hour, and a name that is a
 * function of the log.
 */
export function archivePath(
  file: { readonly layer: Layer; readonly profile: string | null; readonly hourMs: number },
  shard: number,
  firstEntry: number,
  lastEntry: number
): string {
  const hour = new Date(file.hourMs).toISOString()
  const name = `${shard}-${padEntry(firstEntry)}-${padEntry(lastEntry)}.parquet`
  return `${datasetPath(file.layer, file.profile)}/date=${hour.slice(0, 10)}/hour=${hour.slice(11, 13)}/${name}`
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
  if (layer === 'quarantine') return 'quarantine'
  if (profile === null) throw new Error(`a file of ${layer} belongs to a profile`)
  return `${layer}/${profile}`
}
