/** Small archives as a gateway would leave them, written by DuckDB, for tests of what compares them. */
import { mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Profile, profileSchema, type Value } from '@tidemark/protocol'
import { queryRows, withDuckDB } from '../../load/src/replay/duckdb.js'
import { type ExpectedRow, expectRows } from '../../load/src/replay/expectation.js'

export const START_MS = Date.UTC(2026, 2, 1)
export const DEVICE = 'replayed'

export const TANK: Profile = profileSchema.parse({
  name: 'tank',
  interval: '20s',
  metrics: [
    { name: 'level', required: false },
    { name: 'warmth', max: 100, resolution: 0.1 },
    { name: 'valve', type: 'bool' }
  ],
  features: [
    ...(['mean', 'std', 'min', 'max', 'sum', 'count', 'last', 'rate', 'range'] as const).map(aggregate => ({
      name: `level_${aggregate}`,
      metric: 'level',
      aggregate,
      window: '2m'
    })),
    { name: 'level_slow', metric: 'level', aggregate: 'mean', window: '4m', hop: '2m' }
  ],
  flags: [
    { name: 'surge', flag: 'exceeds', metric: 'level', of: 'level_slow', factor: 1.5 },
    { name: 'odd', flag: 'deviates', metric: 'level', mean: 'level_mean', std: 'level_std', factor: 1 }
  ]
})

/** Rows as if a recording had held them: seconds since `START_MS`, then level, warmth and valve. */
export function recorded(rows: readonly (readonly [number, ...Value[]])[]): ExpectedRow[] {
  const recording = {
    path: '',
    delimiter: ',',
    timeColumn: 'time',
    columns: {},
    rows: rows.map(([seconds, ...values]) => ({ eventTimeMs: START_MS + seconds * 1000, values }))
  }
  return expectRows(recording, TANK, Date.UTC(2026, 10, 24))
}

/** A row of the archive; what is not given is what the gateway would write. */
export interface ArchiveRow {
  readonly seq: number
  readonly eventTimeMs: number
  readonly values: readonly Value[]
  readonly epoch?: number
}

export function newArchive(): string {
  return mkdtempSync(join(tmpdir(), 'tidemark-replay-test-'))
}

export async function writeReadings(archive: string, rows: readonly ArchiveRow[]): Promise<void> {
  const names = ['device_id', 'event_time', 'epoch', 'seq', ...TANK.metrics.map(metric => metric.name)]
  const tuples = rows.map(({ seq, eventTimeMs, values, epoch = 7 }) => [
    `'${DEVICE}'`,
    timeSql(eventTimeMs),
    `${epoch}::BIGINT`,
    `${seq}::BIGINT`,
    ...values.map((value, m) => valueSql(value, m === 2 ? 'BOOLEAN' : 'DOUBLE'))
  ])
  await writeParquet(join(archive, 'processed/tank/date=2026-03-01/hour=00'), names, tuples)
}

export async function writeQuarantine(archive: string, seqs: readonly number[]): Promise<void> {
  const tuples = seqs.map(seq => ['7::BIGINT', `${seq}::BIGINT`, "'metric-out-of-range'", 'true'])
  await writeParquet(join(archive, 'quarantine/date=2026-11-24/hour=00'), ['epoch', 'seq', 'reason', 'accounted'], tuples)
}

/** A feature row of the archive, values in the profile's order. */
export interface ArchiveFeatures {
  readonly asOfSeconds: number
  readonly revision?: number
  readonly eventCount: number
  readonly coverage: number
  readonly features: readonly (number | null)[]
  readonly flags: readonly (boolean | null)[]
}

export async function writeFeatures(archive: string, rows: readonly ArchiveFeatures[]): Promise<void> {
  const names = [
    'device_id',
    'as_of',
    'revision',
    'provisional',
    'event_count',
    'coverage',
    ...[...TANK.features, ...TANK.flags].map(({ name }) => name)
  ]
  const tuples = rows.map(row => [
    `'${DEVICE}'`,
    timeSql(START_MS + row.asOfSeconds * 1000),
    String(row.revision ?? 0),
    'false',
    `${row.eventCount}::BIGINT`,
    valueSql(row.coverage, 'DOUBLE'),
    ...row.features.map((value, f) => valueSql(value, TANK.features[f].aggregate === 'count' ? 'BIGINT' : 'DOUBLE')),
    ...row.flags.map(value => valueSql(value, 'BOOLEAN'))
  ])
  await writeParquet(join(archive, 'curated/tank/date=2026-03-01/hour=00'), names, tuples)
}

function timeSql(ms: number): string {
  return `make_timestamptz(${ms} * 1000)`
}

/** JavaScript's shortest decimal of a double reads back as the same double. */
function valueSql(value: Value, type: string): string {
  return value === null ? `NULL::${type}` : `'${Object.is(value, -0) ? '-0' : value}'::${type}`
}

async function writeParquet(folder: string, names: readonly string[], tuples: readonly (readonly string[])[]): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const values = tuples.map(tuple => `(${tuple.join(', ')})`).join(', ')
  const copy = `COPY (SELECT * FROM (VALUES ${values}) AS t(${names.join(', ')})) TO '${folder}/0-1-2.parquet' (FORMAT PARQUET, DICTIONARY_SIZE_LIMIT 0)`
  await withDuckDB(connection => queryRows(connection, copy))
}
