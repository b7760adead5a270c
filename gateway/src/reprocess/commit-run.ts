/**
 * Makes a run count, all of it or nothing: one transaction of the catalog swaps the files, and with them ledgers, counts, repair marks,
 * markers and the processor's state. What a crash before it has left is deleted by the next start, what one behind it has not done is done.
 */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Profile } from '@tidemark/protocol'
import type { Catalog, CatalogFile } from '../archive/catalog.js'
import { DeviceOrder } from '../archive/device-order.js'
import type { Marker, ProfileHour } from '../archive/fleet-catalog.js'
import { fsyncFile, fsyncFolder } from '../archive/fsync.js'
import { copySnapshot } from '../archive/kept-snapshots.js'
import { deleteMarkers, renewMarkers, writeMarkers } from '../archive/markers.js'
import { type DataPaths, padEntry } from '../archive/paths.js'
import type { Reprocessing } from '../archive/reprocess-tables.js'
import { deleteFile, writeSnapshot } from '../archive/snapshot-file.js'
import { offer, swap, withdraw } from '../archive/swap.js'
import { crashPoint } from '../crash-point.js'
import type { Processor } from '../processor/processor.js'
import type { ReplayedSnapshot } from './replay.js'

export interface Run extends Reprocessing {
  readonly old: readonly CatalogFile[]
  readonly files: readonly CatalogFile[]
  /** Hours of event time whose readings or counts change. */
  readonly touched: readonly ProfileHour[]
  /** The file of what else changes (changes.ts). */
  readonly changes: string
  /** One a name: those whose features are repaired. */
  readonly featureProfiles: readonly Profile[]
  /** As of `entry`. */
  readonly processor: Processor
  readonly ingestMs: number
  /** The profiles of the last start, where the processor has others in force; else null. */
  readonly startedProfiles: readonly Profile[] | null
  /** The replay began behind it. */
  readonly sinceEntry: number
  readonly snapshots: readonly ReplayedSnapshot[]
}

const NO_NUMBERS = new Float64Array(0)
const NO_PLACES = new Int32Array(0)

/** A fleet's part of a flush in which no count changes. */
const NOTHING_COUNTED = {
  progress: { device: NO_PLACES, watermarksMs: NO_NUMBERS, seenMs: NO_NUMBERS, idle: new Uint8Array(0), ended: new Uint8Array(0) },
  hours: {
    profiles: [],
    device: NO_PLACES,
    profile: NO_PLACES,
    hoursMs: NO_NUMBERS,
    counts: { received: NO_NUMBERS, quarantined: NO_NUMBERS, late: NO_NUMBERS, duplicates: NO_NUMBERS, shed: NO_NUMBERS }
  },
  unseen: [],
  waiting: []
}

/** Durable when it returns. Nobody else may write the archive meanwhile. */
export function commitRun(paths: DataPaths, catalog: Catalog, run: Run): void {
  const { old, files, entry, atMs } = run
  const states = placeStates(paths, run)
  const before = [catalog.snapshots(), catalog.reprocessing.keptSnapshots().filter(kept => kept.entry > run.sinceEntry)] as const
  let written: readonly Marker[] = []
  const record = () => {
    catalog.reprocessing.apply(entry, atMs, run.featureProfiles)
    for (const snapshot of before[0]) catalog.forgetSnapshot(snapshot.entry)
    for (const kept of before[1]) catalog.reprocessing.forgetKeptSnapshot(kept.entry)
    for (const kept of states.kept) catalog.reprocessing.keepSnapshot(kept)
    catalog.recordSnapshot(states.newest, 1)
    const fleet = { ...NOTHING_COUNTED, knownAtMs: atMs, devices: run.processor.devices() }
    catalog.fleet.record({ fleet, deviceIds: [] }, new DeviceOrder([]))
    catalog.reprocessing.note(run)
    const changes = renewMarkers(catalog, { entry, knownAtMs: atMs, touched: run.touched, waiting: [] })
    deleteMarkers(paths, changes.withdrawn)
    written = changes.written
    crashPoint('reprocess-staged')
  }
  offer(paths, old)
  catalog.reprocessing.attach(run.changes)
  try {
    if (!swap(paths, catalog, { old, files, atMs: Date.now(), compaction: null, expired: [] }, record))
      throw new Error('files that were to be replaced are no longer recorded')
    crashPoint('reprocess-commit')
  } finally {
    catalog.reprocessing.attach(null)
    withdraw(paths, catalog, old)
  }
  writeMarkers(paths, written)
  for (const { file } of before[0]) deleteFile(join(paths.snapshots, file))
  for (const { file } of before[1]) deleteFile(join(paths.keptSnapshots, file))
}

/**
 * Puts the states of the replay into their folders, under names that were never used: until they are recorded they count for nothing. The
 * newest is there twice, since no replay of the log could make it again.
 */
function placeStates(paths: DataPaths, run: Run) {
  const { entry, ingestMs, number, processor, startedProfiles } = run
  const { bytes, sha256 } = writeSnapshot(paths.reprocessing, entry, processor.snapshotParts())
  const nameOf = (of: number) => `${padEntry(of)}-r${number}.snapshot`
  const newest = { entry, file: nameOf(entry), bytes, sha256 }
  const daily = run.snapshots.filter(snapshot => snapshot.entry < entry)
  const kept = daily.map(({ file, ...snapshot }) => {
    copySnapshot(join(paths.reprocessing, 'snapshots', file), join(paths.keptSnapshots, nameOf(snapshot.entry)))
    return { ...snapshot, file: nameOf(snapshot.entry) }
  })
  const written = join(paths.reprocessing, `${padEntry(entry)}.snapshot`)
  const twin = join(paths.keptSnapshots, newest.file)
  copyWhole(written, twin)
  copySnapshot(written, join(paths.snapshots, newest.file))
  fsyncFolder(paths.snapshots)
  fsyncFolder(paths.keptSnapshots)
  return { newest, kept: [...kept, { ...newest, ingestMs, profiles: startedProfiles }] }
}

/** Not by a link: what damages the one must not damage the other. */
function copyWhole(from: string, to: string): void {
  copyFileSync(from, to)
  fsyncFile(to)
}
