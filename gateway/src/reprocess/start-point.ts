/** Where a replay can begin: at the newest kept snapshot from before what is asked for, or at the log's beginning. */
import { join } from 'node:path'
import type { Profile } from '@tidemark/protocol'
import type { Catalog } from '../archive/catalog.js'
import type { DataPaths } from '../archive/paths.js'
import { readSnapshot } from '../archive/snapshot-file.js'
import { ConfigError } from '../config.js'
import type { RawReader } from './raw-reader.js'
import type { ReplayEventIds } from './replay-event-ids.js'

export interface StartPoint {
  /** The replay begins behind it. */
  readonly entry: number
  /** Its ingest time, Unix ms; -Infinity at the log's beginning. */
  readonly ingestMs: number
  readonly state: Iterable<Uint8Array> | null
  /** The profiles of the last start before it, where the state has others in force; else null. */
  readonly profiles: readonly Profile[] | null
}

const FAULTS_SHOWN_MAX = 20

export interface Search {
  readonly paths: DataPaths
  readonly catalog: Catalog
  readonly reader: RawReader
  readonly eventIds: ReplayEventIds
  readonly fromMs: number
  readonly throughEntry: number
  readonly warn: (message: string) => void
}

/** Throws a `ConfigError` that names the hours that are not whole. */
export async function findStart(search: Search): Promise<StartPoint> {
  const start = (await newestUsable(search)) ?? { entry: 0, ingestMs: Number.NEGATIVE_INFINITY, state: null, profiles: null }
  const faults = await search.reader.faults({ sinceEntry: start.entry, throughEntry: search.throughEntry })
  if (faults.length === 0) return start
  const shown = faults.slice(0, FAULTS_SHOWN_MAX).map(fault => `  ${fault}`)
  const more = faults.length > shown.length ? [`  and ${faults.length - shown.length} more`] : []
  const from =
    start.entry === 0 ? 'the beginning of the log (no snapshot is kept from before --from)' : `the snapshot of entry ${start.entry}`
  throw new ConfigError(
    [
      `the raw frames are not whole from ${from} on: choose a later --from, or restore what is missing. Hours of ingest time:`,
      ...shown,
      ...more
    ].join('\n')
  )
}

async function newestUsable({ paths, catalog, reader, eventIds, fromMs, throughEntry, warn }: Search): Promise<StartPoint | null> {
  for (const { entry, ingestMs, file, profiles } of catalog.reprocessing.keptSnapshots()) {
    if (ingestMs >= fromMs || entry > throughEntry) continue
    const span = { sinceEntry: entry, throughEntry }
    const nextMs = await reader.ingestMsBehind(span).catch(() => null)
    // Rows are told apart by their ingest time: what came in the same millisecond as the snapshot cannot be.
    if (nextMs !== null && nextMs <= ingestMs) continue
    if (!eventIds.reachesBack(ingestMs) && (await reader.hasJson(span).catch(() => true))) continue
    const path = join(paths.keptSnapshots, file)
    const snapshot = readSnapshot(path)
    if (typeof snapshot !== 'string' && snapshot.entry === entry) return { entry, ingestMs, state: snapshot.parts(), profiles }
    warn(
      `the kept snapshot ${path} is damaged (${typeof snapshot === 'string' ? snapshot : 'it is of another entry'}): the one before it is used`
    )
  }
  return null
}
