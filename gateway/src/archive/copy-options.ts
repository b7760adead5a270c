/** How DuckDB is to write rows that it selects itself: in bounded row groups, and without taking -0.0 for 0.0. */
import type { DuckDBConnection } from '@duckdb/node-api'
import { NEGATIVE_ZERO_OPTION, quoteName, WIDE_OPTION } from './parquet.js'

/** The options of a COPY of what `select` gives, which has these columns. Empty, or begins with a comma. */
export async function copyOptions(
  connection: DuckDBConnection,
  select: string,
  columns: readonly { readonly name: string; readonly type: string }[]
): Promise<string> {
  if (columns.some(({ type }) => type === 'bytes')) return WIDE_OPTION
  const doubles = columns.filter(({ type }) => type === 'double').map(({ name }) => quoteName(name))
  if (doubles.length === 0) return ''
  const any = doubles.map(name => `bool_or(${name} = 0 AND signbit(${name}))`)
  const [found] = (await connection.runAndReadAll(`SELECT ${any.join(', ')} FROM (${select})`)).getRows()
  return found.includes(true) ? NEGATIVE_ZERO_OPTION : ''
}
