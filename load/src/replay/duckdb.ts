/** DuckDB as a foreign reader of the archive uses it: a glob over Parquet files, no help of ours. */
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'

/** Calls `use` with a connection to an empty database in memory, times in UTC. */
export async function withDuckDB<T>(use: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
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

/** The rows of a query; 64 bit integers are numbers. Values of other types are DuckDB's own. */
export async function queryRows(connection: DuckDBConnection, sql: string): Promise<unknown[][]> {
  const reader = await connection.runAndReadAll(sql)
  return reader.getRows().map(row => row.map(value => (typeof value === 'bigint' ? Number(value) : value)))
}

/** A FROM clause that reads all Parquet files below a folder; null where there is none. */
export async function parquetBelow(connection: DuckDBConnection, folder: string): Promise<string | null> {
  const glob = quoteText(`${folder}/**/*.parquet`)
  const [[files]] = await queryRows(connection, `SELECT count(*) FROM glob(${glob})`)
  return files === 0 ? null : `read_parquet(${glob}, hive_partitioning = false, union_by_name = true)`
}

export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
