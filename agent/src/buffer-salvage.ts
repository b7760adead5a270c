/**
 * Salvages a damaged buffer: makes a new one of what can be read, and puts it into the place of the damaged one, which is kept aside.
 * Readings keep their event IDs; what cannot be read is declared as shed (`damaged`), as far as it is known to have existed; new
 * readings get a new epoch.
 *
 * Nothing is guessed: a chunk counts only if its bytes are those that were written (CRC), and a reading whose epoch is not known is
 * not kept, since under another event ID it could be archived twice. Nor is one whose time is not known to be an event time.
 *
 * The damaged file stays where it is until the new one is whole, so that a salvage that ends early (a kill, a full disk) is begun again:
 *
 *   .salvaging   being written; worth nothing
 *   .salvaged    whole and on disk; only the files have to change places
 */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { epochFromBytes, type Profile, profileDigest } from '@tidemark/protocol'
import { type BufferFileOptions, openBufferFile } from './buffer-file.js'
import { markPath, readMark } from './buffer-mark.js'
import { type BufferState, type ChunkRow, insertChunk, REPLACE_STATE, SELECT_STATE, writeClocks } from './buffer-schema.js'
import { unpackChunk } from './chunk.js'
import type { ClockRange } from './clock-ranges.js'
import { type EpochRange, seqRanges } from './core/epochs.js'
import type { ProgressMark } from './core/recovery.js'
import { DamagedFile, type Remains } from './damaged-file.js'
import { CHUNK_OVERHEAD_BYTES, CLOCK_EARLIEST_MS, DAMAGED_KEPT_MAX } from './limits.js'
import { profileOf } from './profile-store.js'
import type { Database } from './sqlite.js'
import { TombstoneStore } from './tombstone-store.js'

export interface SalvageReport {
  readonly kept_readings: number
  /** Readings that are declared as damaged, at most: some of them may have been acked. */
  readonly declared_readings: number
  /** Chunks that can be read, but whose epoch, profile or clock is not known. */
  readonly unidentified_chunks: number
  /** Where the damaged file is now. */
  readonly aside: string
}

/** One line for people. */
export function salvageText({ kept_readings, declared_readings, aside }: SalvageReport): string {
  return `the buffer was damaged: ${kept_readings} readings were kept, at most ${declared_readings} are declared as shed (damaged); see ${aside}`
}

export interface SalvageOptions extends BufferFileOptions {
  /** Taken for that of held readings where their own is damaged, if its digest is the same. */
  readonly profile: Profile
}

/** Salvages the buffer at `path`, which nobody may have open. Throws where the disk cannot be written. */
export function salvageBuffer(options: SalvageOptions): SalvageReport {
  const { path } = options
  const draft = `${path}.salvaging`
  removeDatabase(draft)
  const mark = readMark(path, options.deviceId)
  const file = new DamagedFile(path)
  let report: SalvageReport
  try {
    const database = openBufferFile({ ...options, path: draft })
    try {
      report = rebuild(database, file, mark, options)
    } finally {
      database.close() // which takes its write-ahead log in
    }
  } catch (error) {
    removeDatabase(draft) // the disk may be full
    throw error
  } finally {
    file.close()
  }
  renameSync(draft, salvagedPath(path))
  syncFolder(path)
  finishSalvage(path)
  return report
}

/** Puts a salvaged buffer that is whole into its place. Returns whether there was one. */
export function finishSalvage(path: string): boolean {
  if (!existsSync(salvagedPath(path))) return false
  moveAside(path)
  renameSync(salvagedPath(path), path)
  syncFolder(path)
  return true
}

function salvagedPath(path: string): string {
  return `${path}.salvaged`
}

function removeDatabase(path: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(path + suffix, { force: true })
}

/** Makes it durable what the files beside a path are called. */
function syncFolder(path: string): void {
  const folder = openSync(dirname(path), 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

/** What a chunk that is kept adds up to. */
interface Kept extends Pick<ChunkRow, 'firstPosition' | 'lastPosition' | 'readings'> {
  readonly bytes: number
}

function rebuild(
  database: Database,
  file: DamagedFile,
  mark: ProgressMark | null,
  { path, deviceId, machineId, randomBytes, profile: configured }: SalvageOptions
): SalvageReport {
  const remains = file.read()
  const { state } = remains
  const epochs = knownEpochs(remains.epochs, mark)
  const profiles = soundProfiles(remains.profiles, configured)
  const settled = Math.max(state?.settledPosition ?? 0, epochs[0]?.base ?? 0)
  // What lost tombstones said is said anew of all seqs: that one is shed does not take back that it was seen.
  const declaredFrom = remains.tombstones === null ? (epochs[0]?.base ?? 0) + 1 : settled + 1
  const isIdentified = (chunk: ChunkRow) =>
    epochs.length > 0 &&
    chunk.firstPosition > epochs[0].base &&
    profiles.some(({ id }) => id === chunk.profile) &&
    (remains.clocks !== null || hasEventTimes(chunk, profiles))
  const isKept = (chunk: ChunkRow) => chunk.lastPosition > settled && isIdentified(chunk)
  const kept: Kept[] = []
  let unidentified = 0
  for (const chunk of file.chunks()) {
    const { firstPosition, lastPosition, readings, payload } = chunk
    if (isKept(chunk)) kept.push({ firstPosition, lastPosition, readings, bytes: payload.length + CHUNK_OVERHEAD_BYTES })
    else if (!isIdentified(chunk)) unidentified++
  }
  const ends = [
    state?.nextPosition ?? 1,
    (state?.reservedPosition ?? 0) + 1,
    (mark?.lastPosition ?? 0) + 1,
    (kept.at(-1)?.lastPosition ?? 0) + 1
  ]
  const nextPosition = Math.max(...ends)
  const lost = epochs.length === 0 ? [] : gaps(kept, declaredFrom, nextPosition - 1)
  const held = kept.reduce((sum, { readings }) => sum + readings, 0)
  const bytes = kept.reduce((sum, chunk) => sum + chunk.bytes, 0)
  const ended = epochs.map((range, i) =>
    i === epochs.length - 1 ? { ...range, highestSeq: range.highestSeq ?? nextPosition - 1 - range.base } : range
  )
  const report = {
    kept_readings: held,
    declared_readings: lost.reduce((sum, { first, last }) => sum + last - first + 1, 0),
    unidentified_chunks: unidentified,
    aside: asidePath(path, 1)
  }
  const fresh = database.prepare<[], BufferState>(SELECT_STATE).get()!
  const rebuilt: BufferState = {
    ...(state ?? fresh),
    deviceId,
    machineId,
    nextPosition,
    reservedPosition: nextPosition - 1,
    publishedPosition: nextPosition - 1,
    settledPosition: held === 0 ? nextPosition - 1 : settled,
    held,
    bytes,
    eventTimeMs: null,
    salvage: salvageText(report)
  }
  database.transaction(() => {
    for (const { id, digest, profile } of profiles) database.prepare('INSERT INTO profiles VALUES (?, ?, ?)').run(id, digest, profile)
    database.exec('DELETE FROM epochs')
    for (const { epoch, base, highestSeq } of [
      ...ended,
      { epoch: epochFromBytes(randomBytes()), base: nextPosition - 1, highestSeq: null }
    ])
      database.prepare('INSERT INTO epochs VALUES (?, ?, ?)').run(epoch, base, highestSeq)
    const insert = insertChunk(database)
    for (const chunk of file.chunks()) if (isKept(chunk)) insert.run(chunk)
    writeClocks(database, remains.clocks ?? [UNKNOWN_CLOCK])
    const tombstones = new TombstoneStore(database)
    for (const { epoch, firstSeq, lastSeq, keepEvery, reason } of remains.tombstones ?? [])
      if (ended.some(range => range.epoch === epoch)) tombstones.insert({ epoch, firstSeq, lastSeq }, reason, keepEvery)
    for (const { first, last } of lost) tombstones.extend(seqRanges(ended, first, last), 'damaged')
    database.prepare<[BufferState]>(REPLACE_STATE).run(rebuilt)
  })()
  return report
}

/** What is known of event times where the clock ranges are lost. */
const UNKNOWN_CLOCK: ClockRange = { firstPosition: 0, kind: 'set', quality: 'estimated', bootId: '', offsetMs: 0, floorMs: 0 }

/** Whether the stored times can only be event times: monotonic ones, of readings that were held, are never that late. */
function hasEventTimes({ firstPosition, profile: id, payload }: ChunkRow, profiles: Remains['profiles']): boolean {
  const row = profiles.find(candidate => candidate.id === id)
  const profile = row === undefined ? null : profileOf(row)
  const readings = profile === null ? null : unpackChunk(profile, firstPosition, payload)
  return readings?.eventTimesMs.every(ms => ms >= CLOCK_EARLIEST_MS) === true
}

/** Those that are what their digest says; a damaged one is replaced where the configured one has its digest. */
function soundProfiles(profiles: Remains['profiles'], configured: Profile): Remains['profiles'] {
  return profiles.flatMap(row => {
    if (profileOf(row) !== null) return [row]
    return row.digest === profileDigest(configured) ? [{ ...row, profile: JSON.stringify(configured) }] : []
  })
}

/** The epochs that can be read, and the one that the mark knows. */
function knownEpochs(epochs: readonly EpochRange[], mark: ProgressMark | null): readonly EpochRange[] {
  if (mark === null || epochs.some(({ epoch }) => epoch === mark.epoch)) return epochs
  const older = epochs.filter(({ base }) => base < mark.base)
  const newest = older.at(-1)
  const ended = newest === undefined ? [] : [...older.slice(0, -1), { ...newest, highestSeq: newest.highestSeq ?? mark.base - newest.base }]
  return [...ended, { epoch: mark.epoch, base: mark.base, highestSeq: null }]
}

/** The positions of [first, last] that no chunk spans. */
function gaps(chunks: readonly Kept[], first: number, last: number): { first: number; last: number }[] {
  const found: { first: number; last: number }[] = []
  let next = first
  for (const { firstPosition, lastPosition } of chunks) {
    if (firstPosition > next) found.push({ first: next, last: firstPosition - 1 })
    next = Math.max(next, lastPosition + 1)
  }
  if (next <= last) found.push({ first: next, last })
  return found
}

function asidePath(path: string, k: number): string {
  return `${path}.damaged-${k}`
}

/** Moves the file and its write-ahead log; those of earlier times make way. */
function moveAside(path: string): void {
  const named = (k: number) => asidePath(path, k)
  for (let k = DAMAGED_KEPT_MAX; k >= 1; k--) {
    for (const suffix of ['', '-wal']) {
      if (k === DAMAGED_KEPT_MAX) rmSync(named(k) + suffix, { force: true })
      else if (existsSync(named(k) + suffix)) renameSync(named(k) + suffix, named(k + 1) + suffix)
    }
  }
  if (existsSync(path)) renameSync(path, named(1))
  if (existsSync(`${path}-wal`)) renameSync(`${path}-wal`, `${named(1)}-wal`)
  for (const each of [`${path}-shm`, `${named(1)}-shm`, markPath(path)]) rmSync(each, { force: true })
}
