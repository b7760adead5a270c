import { type DuckDBConnection, type DuckDBResult, StatementType } from '@duckdb/node-api'
import type { Command } from 'commander'
import { isNumeric, toJson, toText } from '../archive/sql-values.js'
import { textTable } from '../archive/text-table.js'
import { NoArchiveError, withViews } from '../archive/views.js'

/** `tidemark-gateway sql`: a question to the archive in DuckDB's SQL. */

/** Rows that people are shown; programs get all. */
const ROWS_SHOWN_MAX = 1000

export interface SqlOptions {
  /** One JSON array of objects instead of a table. */
  readonly json?: boolean
  /** Lets the query read and write files of the user's (`COPY … TO`, `read_csv`), not only read the archive. */
  readonly files?: boolean
  /** Gets the output, in pieces. Default: stdout. */
  readonly write?: (text: string) => void
}

/**
 * Runs the statements of `sql` and prints the result of the last. Throws a `NoArchiveError` where `dataDir` is none, and
 * DuckDB's error for a bad query.
 */
export async function runSql(dataDir: string, sql: string, options: SqlOptions = {}): Promise<void> {
  let hasWritten = false
  const write = (text: string) => {
    hasWritten = true
    if (options.write === undefined) process.stdout.write(text)
    else options.write(text)
  }
  const use = async (connection: DuckDBConnection) => {
    const result = await lastResult(connection, sql, options.files ?? false)
    if (options.json) await printJson(result, write)
    else await printTable(result, write)
  }
  await withViews(dataDir, { ownFiles: options.files ?? false }, use, () => !hasWritten)
}

async function lastResult(connection: DuckDBConnection, sql: string, ownFiles: boolean): Promise<DuckDBResult> {
  if (sql.replace(/--.*|\s|;/g, '') === '') throw new Error('there is no statement to run')
  const statements = await connection.extractStatements(sql)
  for (let i = 0; ; i++) {
    const statement = await statements.prepare(i)
    if (!ownFiles && (statement.statementType === StatementType.COPY || statement.statementType === StatementType.EXPORT)) {
      throw new Error('a query cannot write files unless you allow it with --files')
    }
    if (i === statements.count - 1) return statement.stream()
    await statement.run()
  }
}

async function printJson(result: DuckDBResult, write: (text: string) => void): Promise<void> {
  const names = result.deduplicatedColumnNames()
  const types = result.columnTypes()
  let separator = '['
  for await (const rows of result.yieldRows()) {
    let text = ''
    for (const row of rows) {
      text += `${separator}${JSON.stringify(Object.fromEntries(names.map((name, k) => [name, toJson(row[k], types[k])])))}`
      separator = ',\n'
    }
    write(text)
  }
  write(separator === '[' ? '[]\n' : ']\n')
}

async function printTable(result: DuckDBResult, write: (text: string) => void): Promise<void> {
  const shown: string[][] = []
  let rows = 0
  for await (const chunk of result.yieldRows()) {
    rows += chunk.length
    for (const row of chunk.slice(0, ROWS_SHOWN_MAX - shown.length)) shown.push(row.map(toText))
  }
  write(textTable(result.deduplicatedColumnNames(), shown, result.columnTypes().map(isNumeric)))
  const rest = rows > shown.length ? `, the first ${shown.length} shown (--json prints all)` : ''
  write(`(${rows} ${rows === 1 ? 'row' : 'rows'}${rest})\n`)
}

const HELP = `
Views: readings, features (latest revision of each), feature_revisions, quarantine, raw; and with the columns of one profile,
readings_<profile>, features_<profile> (- becomes _). DESCRIBE readings lists columns. It works while the gateway runs.
Times are UTC. With --json, integers beyond 2^53 and long decimals are strings and bytes are hex.

Examples:
  $ tidemark-gateway sql "SELECT profile, count(*), max(event_time) FROM readings GROUP BY profile"
  $ tidemark-gateway sql "SELECT reason, count(*) FROM quarantine GROUP BY reason"
  $ tidemark-gateway sql --files "COPY (SELECT * FROM features_water_loop) TO 'features.csv'"
`

export function addSqlCommand(program: Command): void {
  program
    .command('sql')
    .description('ask the archive, in SQL')
    .argument('<query>', 'DuckDB SQL, in quotes')
    .option('--data-dir <folder>', "the gateway's data folder", './data')
    .option('--json', 'print one JSON array of objects')
    .option('--files', 'let the query read and write other files too, as COPY … TO does')
    .addHelpText('after', HELP)
    .action(async (query: string, options: { dataDir: string; json?: boolean; files?: boolean }) => {
      process.stdout.on('error', leaveWhereNobodyReads)
      try {
        await runSql(options.dataDir, query, { json: options.json ?? false, files: options.files ?? false })
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error)
        const hint = message.includes('disabled by configuration') ? '\nA query reads the archive only, unless you give --files.' : ''
        process.stderr.write(`${message}${hint}\n`)
        process.exitCode = error instanceof NoArchiveError ? 2 : 1
      }
    })
}

/** `… | head` closes the pipe before the end: no fault. */
function leaveWhereNobodyReads(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
}
