import { type DuckDBConnection, DuckDBInstance, type DuckDBMaterializedResult, DuckDBTableFunction } from '@duckdb/node-api'
import type { FileColumn, FileRows } from '../processor/flush.js'
import { type ChunkSource, FILE_COLUMN, FileSource, ROW_COLUMN, StringSource, sourceColumn } from './chunk-source.js'
import { WideSource } from './wide-source.js'

/**
 * Writes Parquet files by DuckDB. A file's bytes are a function of its rows and of the DuckDB version: one thread, a total
 * order. Memory is bounded: DuckDB pulls the rows from us, sorts within its limit and spills what exceeds it. Nothing here
 * makes files durable: see commit.ts.
 */

export interface ParquetOptions {
  /** A folder that DuckDB makes when it needs it. */
  readonly spillFolder: string
  /** DuckDB's memory, in MiB. */
  readonly memoryMiB: number
}

/** One file to write. */
export interface ParquetFile {
  readonly rows: FileRows
  /** Where to. */
  readonly path: string
}

/** Files of at most this many rows are sorted together, so that a backlog over 2,000 hours does not cost 2,000 sorts. */
const SMALL_FILE_ROWS = 20_000
/** Most rows that are sorted together: they are held as a table in memory. */
const GROUP_ROWS_MAX = 200_000
/** For rows with payloads: row groups end at about this size, DuckDB holds one or two of them in memory. */
export const WIDE_OPTION = ", ROW_GROUP_SIZE_BYTES '32MiB'"

/**
 * DuckDB's dictionary takes -0.0 and 0.0 for the same value and writes the one that came first for both
 * (duckdb/duckdb#25781); so a file with a -0.0 gets no dictionary.
 */
export const NEGATIVE_ZERO_OPTION = ', DICTIONARY_SIZE_LIMIT 0'

/** The ranks of strings sort as they do, and sort faster. */
const DICTIONARY = 'CREATE OR REPLACE TABLE dictionary AS SELECT id, text, dense_rank() OVER (ORDER BY text)::INTEGER AS rank FROM source()'

export class ParquetWriter {
  private source: ChunkSource | null = null

  private constructor(
    private readonly instance: DuckDBInstance,
    private readonly connection: DuckDBConnection
  ) {}

  static async open(options: ParquetOptions): Promise<ParquetWriter> {
    const instance = await DuckDBInstance.create(':memory:', {
      threads: '1',
      memory_limit: `${options.memoryMiB}MiB`,
      temp_directory: options.spillFolder,
      preserve_insertion_order: 'true'
    })
    const connection = await instance.connect()
    await connection.run("SET TimeZone = 'UTC'")
    const writer = new ParquetWriter(instance, connection)
    connection.registerTableFunction(writer.sourceFunction())
    return writer
  }

  /** Writes the files in order; they are closed, not fsynced. */
  async writeFiles(files: readonly ParquetFile[], strings: readonly string[]): Promise<void> {
    await this.pull(new StringSource(strings), DICTIONARY)
    try {
      for (const group of groupsOf(files)) {
        if (group.length === 1) await this.writeOne(group[0], strings)
        else await this.writeGroup(group, strings)
      }
    } finally {
      await this.connection.run('DROP TABLE IF EXISTS dictionary; DROP TABLE IF EXISTS sorted')
    }
  }

  /** Writes what `select` makes of the rows of `source()`, which is `source`, in its order: rows that may hold many bytes. */
  async copyWide(source: ChunkSource, select: string, path: string, options = ''): Promise<void> {
    // One thread keeps the order anyway; row groups bounded by bytes insist on this.
    await this.connection.run('SET preserve_insertion_order = false')
    try {
      await this.pull(source, copyStatement(select, path, `${WIDE_OPTION}${options}`))
    } finally {
      await this.connection.run('SET preserve_insertion_order = true')
    }
  }

  close(): void {
    this.connection.closeSync()
    this.instance.closeSync()
  }

  private async writeOne({ rows, path }: ParquetFile, strings: readonly string[]): Promise<void> {
    if (isWide(rows)) {
      const expressions = rows.columns.map((column, k) => `${typedColumn(column, k)} AS ${quoteName(column.name)}`)
      const source = new WideSource(rows, strings, await this.orderOf(rows, strings))
      await this.copyWide(source, `SELECT ${expressions.join(', ')} FROM source()`, path, dictionaryOption(rows))
      return
    }
    const { expressions, from, order } = queryOf([rows], strings)
    const select = `SELECT ${expressions} FROM ${from} ORDER BY ${order}`
    await this.pull(new FileSource([rows]), copyStatement(select, path, dictionaryOption(rows)))
  }

  /** The numbers of the file's rows in their order. */
  private async orderOf(rows: FileRows, strings: readonly string[]): Promise<Float64Array> {
    const narrow = { ...rows, columns: rows.columns.filter(column => rows.sortBy.includes(column.name)) }
    const { expressions, from, order } = queryOf([narrow], strings)
    const columns = expressions === '' ? '' : `, ${expressions}`
    const sorted = await this.pull(new FileSource([narrow]), `SELECT ${ROW_COLUMN}${columns} FROM ${from} ORDER BY ${order}`)
    return Float64Array.from((await sorted.getColumns())[0], Number)
  }

  private async writeGroup(group: readonly ParquetFile[], strings: readonly string[]): Promise<void> {
    const { expressions, from, order } = queryOf(
      group.map(file => file.rows),
      strings
    )
    const select = `SELECT ${FILE_COLUMN}, ${expressions} FROM ${from} ORDER BY ${FILE_COLUMN}, ${order}`
    await this.pull(new FileSource(group.map(file => file.rows)), `CREATE OR REPLACE TABLE sorted AS ${select}`)
    let firstRow = 0
    for (const { rows, path } of group) {
      const range = `rowid BETWEEN ${firstRow} AND ${firstRow + rows.rows - 1}`
      const copy = copyStatement(`SELECT * EXCLUDE (${FILE_COLUMN}) FROM sorted WHERE ${range}`, path, dictionaryOption(rows))
      await this.connection.run(copy)
      firstRow += rows.rows
    }
  }

  private async pull(source: ChunkSource, statement: string): Promise<DuckDBMaterializedResult> {
    this.source = source
    try {
      return await this.connection.run(statement)
    } finally {
      this.source = null
    }
  }

  /** `source()` in SQL: the rows of `this.source`. */
  private sourceFunction(): DuckDBTableFunction {
    const current = () => {
      if (this.source === null) throw new Error('nothing is there to be written')
      return this.source
    }
    return DuckDBTableFunction.create({
      name: 'source',
      bindFunction: info => {
        for (const { name, type } of current().columns) info.addResultColumn(name, type)
      },
      initFunction: () => current().rewind(),
      mainFunction: (_info, chunk) => current().fill(chunk)
    })
  }
}

/** Small files with the same columns go together; large and wide ones stand alone. Empty files are none. */
function groupsOf(files: readonly ParquetFile[]): ParquetFile[][] {
  const groups: ParquetFile[][] = []
  const open = new Map<string, { group: ParquetFile[]; rows: number }>()
  for (const file of files) {
    const { rows } = file.rows
    if (rows === 0) continue
    if (rows > SMALL_FILE_ROWS || isWide(file.rows)) {
      groups.push([file])
      continue
    }
    const shape = JSON.stringify([file.rows.columns.map(column => [column.name, column.type]), file.rows.sortBy])
    let same = open.get(shape)
    if (same === undefined || same.rows + rows > GROUP_ROWS_MAX) {
      same = { group: [], rows: 0 }
      open.set(shape, same)
      groups.push(same.group)
    }
    same.group.push(file)
    same.rows += rows
  }
  return groups
}

/** How the rows of a `FileSource` of `files` become typed and sorted. */
function queryOf(files: readonly FileRows[], strings: readonly string[]): { expressions: string; from: string; order: string } {
  const joins: string[] = []
  const keys = new Map<string, string>()
  const expressions = files[0].columns.map((column, k) => {
    const constant = column.type === 'string' ? onlyString(files, k, strings) : null
    let expression = typedColumn(column, k)
    if (constant !== null) {
      expression = constant < 0 ? 'NULL::VARCHAR' : quoteText(strings[constant])
    } else if (column.type === 'string') {
      expression = `d${k}.text`
      joins.push(`LEFT JOIN dictionary AS d${k} ON d${k}.id = ${sourceColumn(k)}`)
      keys.set(column.name, `d${k}.rank`)
    }
    return `${expression} AS ${quoteName(column.name)}`
  })
  const order = [...files[0].sortBy.map(name => keys.get(name) ?? quoteName(name)), ROW_COLUMN]
  return { expressions: expressions.join(', '), from: ['source()', ...joins].join(' '), order: order.join(', ') }
}

/** The index of the string that the k-th column is full of; null where it is not. It saves a join: clocks are mostly `synced`. */
function onlyString(files: readonly FileRows[], k: number, strings: readonly string[]): number | null {
  let only: number | null = null
  for (const { columns } of files) {
    const column = columns[k]
    if (column.type !== 'string') return null
    only ??= column.values[0]
    for (const value of column.values) {
      if (value !== only && (value < 0 || only < 0 || strings[value] !== strings[only])) return null
    }
  }
  // A NUL would end the statement that it is put into.
  return only !== null && only >= 0 && strings[only].includes('\0') ? null : only
}

/** The k-th column of a source, typed. */
function typedColumn(column: FileColumn, k: number): string {
  const value = sourceColumn(k)
  // In DuckDB NaN equals NaN.
  const number = `nullif(${value}, 'NaN'::DOUBLE)`
  const { type } = column
  switch (type) {
    case 'string':
    case 'bytes':
      return value
    case 'double':
      return number
    case 'bigint':
    case 'integer':
    case 'boolean':
      return `${number}::${type.toUpperCase()}`
    case 'timestamp':
      return `make_timestamptz(${number}::BIGINT * 1000)`
    default:
      return type satisfies never
  }
}

function copyStatement(select: string, path: string, options: string): string {
  return `COPY (${select}) TO ${quoteText(path)} (FORMAT PARQUET, COMPRESSION ZSTD${options})`
}

function dictionaryOption(rows: FileRows): string {
  return rows.columns.some(column => column.type === 'double' && hasNegativeZero(column.values)) ? NEGATIVE_ZERO_OPTION : ''
}

function hasNegativeZero(values: Float64Array): boolean {
  for (const value of values) if (value === 0 && 1 / value < 0) return true
  return false
}

/** Whether rows may hold so many bytes that row groups must be bounded by them. */
function isWide(rows: FileRows): boolean {
  return rows.columns.some(column => column.type === 'bytes')
}

export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
