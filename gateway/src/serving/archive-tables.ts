/** The archive's files and the rows of memory as DuckDB reads them for an answer. */
import { type DuckDBConnection, DuckDBTimestampTZValue } from '@duckdb/node-api'
import type { CatalogFile } from '../archive/catalog.js'
import { quoteText } from '../archive/parquet.js'
import type { DataPaths } from '../archive/paths.js'
import { toJson } from '../archive/sql-values.js'
import { scanOf } from '../archive/views.js'
import type { MemoryTable } from '../pipeline/served-state.js'
import type { Cell } from '../processor/row-table.js'
import type { FeatureCells } from './messages.js'

/** A point of time in SQL. */
export function timeSql(ms: number): string {
  return `make_timestamptz(${ms}::BIGINT * 1000)`
}

export function timeValue(ms: number): DuckDBTimestampTZValue {
  return new DuckDBTimestampTZValue(BigInt(ms) * 1000n)
}

/** By profile: the files' rows as a SELECT, times as Unix ms. */
export function scansOf(paths: DataPaths, files: readonly CatalogFile[]): Map<string, string> {
  const byProfile = new Map<string, CatalogFile[]>()
  for (const file of files) {
    const profile = file.profile ?? ''
    byProfile.set(profile, [...(byProfile.get(profile) ?? []), file])
  }
  return new Map(Array.from(byProfile, ([profile, group]) => [profile, scanOf(paths, group)]))
}

/** Rows of a query by column, with their profile; times must be selected as Unix ms. */
export async function cellsOf(connection: DuckDBConnection, sql: string, profile: string): Promise<FeatureCells[]> {
  const reader = await connection.runAndReadAll(sql)
  const names = reader.deduplicatedColumnNames()
  const types = reader.columnTypes()
  return reader.getRows().map(row => {
    const cells = names.map((name, k) => [name, cellOf(toJson(row[k], types[k]))] as const)
    return { profile, ...Object.fromEntries(cells) }
  })
}

/** Rows of memory by column, with their profile. */
export function cellsOfMemory({ profile, columns, rows }: MemoryTable): FeatureCells[] {
  return rows.map(row => ({ profile, ...Object.fromEntries(columns.map(({ name }, k) => [name, row[k]])) }))
}

/** `IN (…)`, for a handful of devices. */
export function isOneOf(column: string, texts: Iterable<string>): string {
  return `${column} IN (${[...new Set(texts)].map(quoteText).join(', ')})`
}

function cellOf(value: ReturnType<typeof toJson>): Cell {
  if (typeof value === 'object' && value !== null) throw new Error('a column of the archive holds neither number, text nor flag')
  return value
}
