import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { Catalog, type CatalogFile } from '../../../gateway/src/archive/catalog.js'
import { Committer } from '../../../gateway/src/archive/commit.js'
import { dataPaths } from '../../../gateway/src/archive/paths.js'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { type MaintenancePolicy, type PassContext, type PassResult, runPass } from '../../../gateway/src/maintenance/pass.js'
import type { FileRows, Flush, Layer } from '../../../gateway/src/processor/flush.js'
import {
  type Cells,
  type FlushRest,
  filesBelow,
  flushOf,
  HOUR_MS,
  NOON_MS,
  range,
  rowsOf,
  temporaryFolder,
  withDuckDb,
  writeLog,
  writeParts
} from '../archive/kit.js'

/** Archives to be maintained, and what they hold, to the bit. */

export const POLICY: MaintenancePolicy = {
  minFiles: 4,
  targetBytes: 512 * 2 ** 20,
  afterMs: 30 * 60_000,
  keepMs: 10 * 60_000,
  memoryMiB: 128,
  retentionMs: { raw: 0, processed: 0, curated: 0, quarantine: 0, resolved: 0 }
}

/** Wall time at which the hours from noon on that the kit fills are over. */
export const EVENING_MS = NOON_MS + 8 * HOUR_MS

export interface TestArchive {
  readonly dataDir: string
  readonly catalog: Catalog
  write(flush: Flush): Promise<void>
  /** Keeps a snapshot as of the entry, whose flush is written. */
  takeSnapshot(entry: number, ingestMs?: number): void
  pass(context?: Partial<PassContext>): Promise<PassResult>
  files(layer?: Layer): CatalogFile[]
}

/** An archive with a log of `entries` entries and nothing in it. */
export function archiveWithLog(entries: number): TestArchive {
  const dataDir = temporaryFolder()
  writeLog(dataDir, entries)
  recoverArchive(dataDir, 0, () => {})
  return openArchive(dataDir)
}

export function openArchive(dataDir: string): TestArchive {
  const paths = dataPaths(dataDir)
  const catalog = Catalog.open(paths.catalog)
  const committer = new Committer(paths, catalog, { shard: 0, memoryMiB: 128 })
  onTestFinished(() => {
    committer.close()
    catalog.close()
  })
  return {
    dataDir,
    catalog,
    write: async flush => {
      await committer.write(flush)
    },
    takeSnapshot: (entry, ingestMs = EVENING_MS) => {
      writeParts(dataDir, entry, 'state')
      committer.recordSnapshot(entry, ingestMs)
    },
    pass: (context = {}) =>
      runPass({ paths, catalog, policy: POLICY, nowMs: () => EVENING_MS, signal: new AbortController().signal, ...context }),
    files: layer => catalog.files(layer)
  }
}

/** The k-th flush of five entries each: what `make` puts into it. */
export function flushNumber(k: number, make: (strings: string[]) => readonly FileRows[], rest: FlushRest = {}): Flush {
  const strings: string[] = []
  return flushOf([k * 5 + 1, k * 5 + 5], make(strings), strings, rest)
}

/** Readings of every type of column, with the edges of each; `first` is the first seq. */
export function edgyReadings(hourMs: number, first: number, rows: number, strings: string[], more: Record<string, Cells> = {}): FileRows {
  const seqs = range(first, first + rows - 1)
  const pick = <T>(values: readonly T[]) => seqs.map(seq => values[seq % values.length])
  return rowsOf(
    { layer: 'processed', hourMs, sortBy: ['device_id', 'event_time', 'epoch', 'seq', 'event_id'] },
    {
      'device_id:string': pick(['pump-1', 'pump-10', 'Pump-2', 'ü', 'pump-7']),
      'event_time:timestamp': seqs.map(seq => hourMs + ((seq * 7919) % 3600) * 1000 + (seq % 1000)),
      'ingest_time:timestamp': seqs.map(() => NOON_MS),
      'epoch:bigint': pick([77, 2 ** 53 - 1, null]),
      'seq:bigint': seqs,
      'event_id:string': pick([null, 'a\0b', '', 'é']),
      'late:boolean': pick([true, false]),
      'clock:string': pick(['synced', 'estimated', null]),
      'profile_version:integer': seqs.map(() => 1),
      'temperature:double': pick([0, -0, 5e-324, -1.7976931348623157e308, 0.1, null, 1 / 3]),
      'rpm:bigint': pick([-(2 ** 53 - 1), 0, null]),
      'flag:boolean': pick([null, true, false]),
      ...more,
      'extra:string': pick([null, '{"x":1}'])
    },
    strings
  )
}

/** Frames that were rejected, with their bytes. */
export function rejected(hourMs: number, first: number, rows: number, strings: string[]): FileRows {
  const entries = range(first, first + rows - 1)
  return rowsOf(
    { layer: 'quarantine', hourMs, profile: null, sortBy: ['device_id', 'entry', 'frame_index', 'seq'] },
    {
      'device_id:string': entries.map(entry => (entry % 3 === 0 ? null : `pump-${entry % 2}`)),
      'entry:bigint': entries,
      'frame_index:integer': entries.map(() => 0),
      'accounted:boolean': entries.map(entry => entry % 2),
      'epoch:bigint': entries.map(() => 77),
      'seq:bigint': entries,
      'payload:bytes': entries.map(entry => (entry % 4 === 0 ? null : Buffer.alloc(entry % 7, entry)))
    },
    strings
  )
}

/** All rows of the layer's files, found by a stranger's glob, as text that shows each bit; sorted. */
export async function rowTexts(dataDir: string, layer: Layer): Promise<string[]> {
  const paths = filesBelow(join(dataDir, 'archive'), '').filter(path => path.startsWith(`${layer}/`) && path.endsWith('.parquet'))
  if (paths.length === 0) return []
  const list = paths.map(path => `'${join(dataDir, 'archive', path)}'`).join(', ')
  const from = `read_parquet([${list}], hive_partitioning = false, union_by_name = true)`
  return await withDuckDb(async connection => {
    const reader = await connection.runAndReadAll(`SELECT COLUMNS(*)::VARCHAR FROM ${from}`)
    const types = await connection.runAndReadAll(`DESCRIBE SELECT * FROM ${from}`)
    const columns = types.getRows().map(([name, type], k) => ({ name: String(name), type: String(type), k }))
    columns.sort((a, b) => (a.name < b.name ? -1 : 1))
    // The shortest decimal that reads back as the same double shows every bit of it, and its sign.
    const rows = reader.getRows().map(row => JSON.stringify(columns.map(({ k }) => row[k])))
    return [columns.map(({ name, type }) => `${name} ${type}`).join(), ...rows.sort()]
  })
}
