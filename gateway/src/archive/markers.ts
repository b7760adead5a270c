/**
 * The marker `_complete.json` in an hour's folder of processed/: the hour is complete (hour-state.ts), and this is what it holds.
 *
 * Order: a marker whose hour is no longer complete, or whose rows or counts change, is deleted, durably, before the commit that does so;
 * it is written, durably, after the commit that completes the hour and after its files are in their place. So wherever a reader finds a
 * marker, the folder holds the rows that it speaks of and no others. The catalog records with each commit which markers there must be:
 * recovery writes what a crash has kept from being written, and deletes the rest.
 */
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Flush } from '../processor/flush.js'
import type { HourCountColumns } from '../processor/hour-counts.js'
import type { Catalog } from './catalog.js'
import type { Marker, ProfileHour } from './fleet-catalog.js'
import { fsyncFile, fsyncFolder, makeFolder } from './fsync.js'
import { type DataPaths, HOUR_MS, partitionPath, stagingName } from './paths.js'
import { deleteFile } from './snapshot-file.js'

export const MARKER_FILE = '_complete.json'

/** What a commit changes. */
export interface MarkerChanges {
  readonly withdrawn: readonly ProfileHour[]
  readonly written: readonly Marker[]
}

const keyOf = ({ profile, hourMs }: ProfileHour) => `${profile}/${hourMs}`

/** What markers depend on, beside what is recorded. */
export interface MarkerState {
  /** The boundary as of which they hold. */
  readonly entry: number
  readonly knownAtMs: number
  /** Hours whose rows or counts change. */
  readonly touched: readonly ProfileHour[]
  readonly waiting: readonly ProfileHour[]
}

/** Records the markers of the state that the transaction under way commits, when all else of the flush is recorded; and tells what changes. */
export function recordMarkers(catalog: Catalog, { files, fleet, lastEntry: entry }: Flush): MarkerChanges {
  const { knownAtMs, hours, waiting } = fleet
  const touched = [
    ...files.flatMap(({ layer, profile, hourMs, rows }) =>
      layer === 'processed' && profile !== null && rows > 0 ? [{ profile, hourMs }] : []
    ),
    ...hoursCounted(hours)
  ]
  return renewMarkers(catalog, { entry, knownAtMs, touched, waiting })
}

/** Each once, or a few times: a fleet has many counts of an hour, one behind the other. */
function hoursCounted({ profiles, profile, hoursMs }: HourCountColumns): ProfileHour[] {
  const counted: ProfileHour[] = []
  for (let place = 0; place < hoursMs.length; place++) {
    if (place > 0 && hoursMs[place] === hoursMs[place - 1] && profile[place] === profile[place - 1]) continue
    counted.push({ profile: profiles[profile[place]], hourMs: hoursMs[place] })
  }
  return counted
}

/** The same, whatever the transaction changes. */
export function renewMarkers(catalog: Catalog, state: MarkerState): MarkerChanges {
  const { fleet } = catalog
  const touched = new Set(state.touched.map(keyOf))
  const waits = new Set(state.waiting.map(keyOf))
  const isUnseen = spansIn(fleet.unseenSpans())
  const complete = new Map(
    fleet
      .hoursEndedBy(fleet.allPastMs())
      .filter(hour => !waits.has(keyOf(hour)) && !isUnseen(hour.hourMs))
      .map(hour => [keyOf(hour), hour])
  )
  const before = fleet.markers()
  const withdrawn = before.filter(marker => !complete.has(keyOf(marker)) || touched.has(keyOf(marker)))
  const kept = new Set(before.map(keyOf))
  for (const marker of withdrawn) {
    fleet.removeMarker(marker)
    kept.delete(keyOf(marker))
  }
  const written: Marker[] = []
  for (const [key, { profile, hourMs, rows }] of complete) {
    if (kept.has(key)) continue
    const counts = fleet.hourCounts(hourMs, null).find(row => row.profile === profile)
    const { received = 0, quarantined = 0, late = 0, duplicates = 0, shed = 0, devices = 0 } = counts ?? {}
    const about = { profile, hour: new Date(hourMs).toISOString(), state: 'complete', rows, devices }
    const asOf = { boundary_entry: state.entry, known_at: new Date(state.knownAtMs).toISOString() }
    const content = `${JSON.stringify({ ...about, received, quarantined, late, duplicates, shed, ...asOf })}\n`
    const marker = { profile, hourMs, content }
    fleet.putMarker(marker)
    written.push(marker)
  }
  return { withdrawn, written }
}

/** Whether an hour touches one of the spans, which are given by their beginning. */
function spansIn(spans: readonly { fromMs: number; toMs: number }[]): (hourMs: number) => boolean {
  const merged: { fromMs: number; toMs: number }[] = []
  for (const { fromMs, toMs } of spans) {
    const tail = merged[merged.length - 1]
    if (tail !== undefined && fromMs <= tail.toMs) tail.toMs = Math.max(tail.toMs, toMs)
    else merged.push({ fromMs, toMs })
  }
  return hourMs => {
    let low = 0
    let high = merged.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (merged[middle].toMs < hourMs) low = middle + 1
      else high = middle
    }
    return low < merged.length && merged[low].fromMs < hourMs + HOUR_MS
  }
}

/** Deletes the markers; durable when it returns. */
export function deleteMarkers(paths: DataPaths, hours: readonly ProfileHour[]): void {
  const folders = hours.map(hour => dirname(markerPath(paths, hour))).filter(existsSync)
  for (const folder of folders) deleteFile(join(folder, MARKER_FILE))
  for (const folder of folders) fsyncFolder(folder)
}

/** Writes the markers, each whole or not at all; durable when it returns. */
export function writeMarkers(paths: DataPaths, markers: readonly Marker[]): void {
  for (const marker of markers) {
    const path = markerPath(paths, marker)
    const staged = join(
      paths.staging,
      stagingName(`${partitionPath({ layer: 'processed', profile: marker.profile, hourMs: marker.hourMs })}/${MARKER_FILE}`)
    )
    writeFileSync(staged, marker.content)
    fsyncFile(staged)
    for (const parent of makeFolder(dirname(path))) fsyncFolder(parent)
    renameSync(staged, path)
    fsyncFolder(dirname(path))
  }
}

/** Brings the disk to the markers that the catalog records; its files must be in their place. */
export function recoverMarkers(paths: DataPaths, recorded: readonly Marker[]): void {
  for (const name of readdirSync(paths.staging)) if (name.endsWith(MARKER_FILE)) deleteFile(join(paths.staging, name))
  const wanted = new Map(recorded.map(marker => [markerPath(paths, marker), marker]))
  const processed = join(paths.archive, 'processed')
  for (const path of existsSync(processed) ? markersBelow(processed) : []) {
    if (wanted.get(path)?.content === readFileSync(path, 'utf8')) {
      wanted.delete(path)
      continue
    }
    deleteFile(path)
    fsyncFolder(dirname(path))
  }
  writeMarkers(paths, [...wanted.values()])
}

function markerPath(paths: DataPaths, { profile, hourMs }: ProfileHour): string {
  return join(paths.archive, partitionPath({ layer: 'processed', profile, hourMs }), MARKER_FILE)
}

function* markersBelow(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* markersBelow(path)
    else if (entry.isFile() && entry.name === MARKER_FILE) yield path
  }
}
