import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DuckDBConnection, DuckDBInstance, type DuckDBValue } from '@duckdb/node-api'
import { onTestFinished } from 'vitest'
import { type Snapshot, SnapshotWriter } from '../../../gateway/src/archive/snapshot-file.js'
import { frameBytes, writeFrame } from '../../../gateway/src/log/frames.js'
import { LOG_SCHEMA } from '../../../gateway/src/log/schema.js'
import { type EpochLedger, type FileColumn, type FileRows, type Flush, LEDGER_NUMBERS } from '../../../gateway/src/processor/flush.js'
import { Sqlite } from '../../../gateway/src/sqlite.js'

/** Makes logs and flushes for the archive's tests, and reads archives as a stranger would. */

export const HOUR_MS = 3_600_000
/** An hour's start. */
export const NOON_MS = Date.UTC(2026, 2, 1, 12)

/** Writes the parts of a snapshot as the processor's thread would, for the archive to record. */
export function writeParts(dataDir: string, entry: number, ...parts: readonly string[]): void {
  const writer = new SnapshotWriter(join(dataDir, 'snapshots'), entry)
  for (const part of parts) writer.append(Buffer.from(part))
  writer.close()
}

/** The parts of a snapshot, as text. */
export function partsOf(snapshot: Snapshot | string | null): string[] {
  if (snapshot === null || typeof snapshot === 'string') throw new Error(`there is no snapshot: ${snapshot}`)
  return Array.from(snapshot.parts(), part => Buffer.from(part).toString())
}

/** A folder that is gone when the test is. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-archive-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Writes entries of a batch frame and a tick each, a second apart from `NOON_MS` on. */
export function writeLog(dataDir: string, entries: number, payloadBytes = 20): void {
  const log = new Sqlite(join(dataDir, 'log.sqlite'))
  log.pragma('journal_mode = WAL')
  log.exec(LOG_SCHEMA)
  const insert = log.prepare('INSERT INTO entries VALUES (?, ?, ?)')
  const write = () => {
    for (let entry = 1; entry <= entries; entry++) insert.run(entry, NOON_MS + entry * 1000, logEntry(entry, payloadBytes))
  }
  log.transaction(write)()
  log.close()
}

function logEntry(entry: number, payloadBytes: number): Buffer {
  const bytes = Buffer.alloc(frameBytes('pump-7', payloadBytes) + frameBytes('', 0))
  const behind = writeFrame(bytes, 0, 'batch', 'pump-7', Buffer.alloc(payloadBytes, entry))
  writeFrame(bytes, behind, 'tick', '', new Uint8Array(0))
  return bytes
}

export type Cells = readonly (number | string | boolean | Uint8Array | null)[]

/** A file's rows from cells by column: `name:type`. Strings are put into `strings`. */
export function rowsOf(
  place: Pick<FileRows, 'layer' | 'hourMs'> & {
    readonly profile?: string | null
    readonly profileVersion?: number
    readonly sortBy?: readonly string[]
  },
  cells: Record<string, Cells>,
  strings: string[] = []
): FileRows {
  const columns = Object.entries(cells).map(([key, values]) => columnOf(key, values, strings))
  return {
    layer: place.layer,
    profile: place.profile === undefined ? 'water-loop' : place.profile,
    profileVersion: place.profileVersion ?? 1,
    hourMs: place.hourMs,
    rows: columns[0].values.length,
    columns,
    sortBy: place.sortBy ?? []
  }
}

function columnOf(key: string, values: Cells, strings: string[]): FileColumn {
  const [name, type] = key.split(':') as [string, FileColumn['type']]
  if (type === 'bytes') return { name, type, values: values.map(value => (value instanceof Uint8Array ? value : null)) }
  if (type !== 'string') return { name, type, values: Float64Array.from(values, value => (value === null ? Number.NaN : Number(value))) }
  const indexOf = (text: string) => (strings.includes(text) ? strings.indexOf(text) : strings.push(text) - 1)
  return { name, type, values: Int32Array.from(values, value => (typeof value === 'string' ? indexOf(value) : -1)) }
}

/** Readings of one device: `seqs`, a second apart from the hour's start. */
export function readings(
  hourMs: number,
  seqs: readonly number[],
  strings: string[],
  deviceId = 'pump-7',
  epoch = 77,
  profile = 'water-loop'
): FileRows {
  return rowsOf(
    { layer: 'processed', hourMs, profile, sortBy: ['device_id', 'event_time'] },
    {
      'device_id:string': seqs.map(() => deviceId),
      'event_time:timestamp': seqs.map(seq => hourMs + (seq % 3600) * 1000),
      'ingest_time:timestamp': seqs.map(() => NOON_MS),
      'epoch:bigint': seqs.map(() => epoch),
      'seq:bigint': seqs,
      'event_id:string': seqs.map(() => null),
      'late:boolean': seqs.map(seq => seq % 2),
      'clock:string': seqs.map(() => 'synced'),
      'profile_version:integer': seqs.map(() => 1),
      'temperature:double': seqs.map(seq => seq / 10),
      'extra:string': seqs.map(() => null)
    },
    strings
  )
}

const none = new Float64Array(0)

/** A fleet of which nothing has changed. */
export const NO_FLEET: Flush['fleet'] = {
  knownAtMs: NOON_MS,
  devices: [],
  progress: { device: new Int32Array(0), watermarksMs: none, seenMs: none, idle: new Uint8Array(0), ended: new Uint8Array(0) },
  hours: {
    profiles: [],
    device: new Int32Array(0),
    profile: new Int32Array(0),
    hoursMs: none,
    counts: { received: none, quarantined: none, late: none, duplicates: none, shed: none }
  },
  unseen: [],
  waiting: []
}

/** Ledgers are given as rows. */
export type FlushRest = Partial<Omit<Flush, 'epochs' | 'deviceIds'>> & { readonly epochs?: readonly EpochLedger[] }

export function flushOf(
  entries: readonly [number, number],
  files: readonly FileRows[],
  strings: readonly string[],
  rest: FlushRest = {}
): Flush {
  return {
    shard: 0,
    firstEntry: entries[0],
    lastEntry: entries[1],
    strings,
    files,
    hours: [],
    repairs: [],
    fleet: NO_FLEET,
    snapshotIsDue: false,
    ...rest,
    ...ledgerColumns(rest.epochs ?? [])
  }
}

export function ledgerColumns(ledgers: readonly EpochLedger[]): Pick<Flush, 'deviceIds' | 'epochs'> {
  const columns = Object.fromEntries(LEDGER_NUMBERS.map(name => [name, Float64Array.from(ledgers, ledger => ledger[name])]))
  const epochs = { device: Int32Array.from(ledgers.keys()), ...columns } as Flush['epochs']
  return { deviceIds: ledgers.map(({ deviceId }) => deviceId), epochs }
}

export function epochLedger(deviceId: string, epoch: number, counts: Partial<EpochLedger> = {}): EpochLedger {
  const zero = { highestSampledSeq: 0, archived: 0, waiting: 0, quarantined: 0, shed: 0, buffered: 0, missing: 0, duplicates: 0, late: 0 }
  return { deviceId, epoch, ...zero, ...counts }
}

export function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i)
}

/** Paths below `folder` of all files in it, sorted. */
export function filesBelow(folder: string, prefix = ''): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap(entry => (entry.isDirectory() ? filesBelow(join(folder, entry.name), `${prefix}${entry.name}/`) : [`${prefix}${entry.name}`]))
    .sort()
}

/** The rows that plain DuckDB finds. */
export async function query(sql: string): Promise<DuckDBValue[][]> {
  return await withDuckDb(async connection => (await connection.runAndReadAll(sql)).getRows())
}

export async function withDuckDb<T>(use: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  try {
    await connection.run("SET TimeZone = 'UTC'")
    return await use(connection)
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}
