import { type DuckDBConnection, DuckDBInstance, DuckDBTableFunction } from '@duckdb/node-api'
import type { FileColumn, FileRows, NumberColumn } from '../processor/flush.js'
import type { ChunkSource } from './chunk-source.js'
import { Dictionary } from './dictionary.js'
import { orderOf } from './row-order.js'
import { RowSource, sourceColumn } from './row-source.js'

/**
 * Writes Parquet files by DuckDB. A file's bytes are a function of its rows and of the DuckDB version: one thread, a total
 * order. Memory is bounded: DuckDB pulls the rows from us, sorted, and holds a row group or two. Nothing here makes files durable: see commit.ts.
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

/** For rows with payloads: row groups end at about this size, DuckDB holds one or two of them in memory. */
export const WIDE_OPTION = ", ROW_GROUP_SIZE_BYTES '32MiB'"

/**
 * DuckDB's dictionary takes -0.0 and 0.0 for the same value and writes the one that came first for both
 * (duckdb/duckdb#25781); so a file with a -0.0 gets no dictionary.
 */
export const NEGATIVE_ZERO_OPTION = ', DICTIONARY_SIZE_LIMIT 0'

export class ParquetWriter {
  private source: ChunkSource | null = null

  private constructor(
    private readonly instance: DuckDBInstance,
    private readonly connection: DuckDBConnection,
    private readonly memoryLimit: string
  ) {}

  static async open(options: ParquetOptions): Promise<ParquetWriter> {
    const memoryLimit = `${options.memoryMiB}MiB`
    const instance = await DuckDBInstance.create(':memory:', {
      threads: '1',
      memory_limit: memoryLimit,
      temp_directory: options.spillFolder,
      preserve_insertion_order: 'true'
    })
    const connection = await instance.connect()
    await connection.run("SET TimeZone = 'UTC'")
    const writer = new ParquetWriter(instance, connection, memoryLimit)
    connection.registerTableFunction(writer.sourceFunction())
    return writer
  }

  /** Writes the files in order; they are closed, not fsynced. */
  async writeFiles(files: readonly ParquetFile[], strings: readonly string[]): Promise<void> {
    const dictionary = new Dictionary(strings)
    for (const { rows, path } of files) if (rows.rows > 0) await this.writeOne(rows, path, dictionary)
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

  /**
   * Gives the system back what this process has freed, in whatever thread: C's allocator would keep it, in an arena for each of them.
   * DuckDB has it do so (`malloc_trim`) when it is told a limit of memory, be it the one that holds. Takes 9 to 33 ms where 200 MB go back.
   */
  async releaseMemory(): Promise<void> {
    await this.connection.run(`SET memory_limit = '${this.memoryLimit}'`)
  }

  close(): void {
    this.connection.closeSync()
    this.instance.closeSync()
  }

  private async writeOne(file: FileRows, path: string, dictionary: Dictionary): Promise<void> {
    const order = orderOf(file, dictionary)
    const constants = file.columns.map(column => constantOf(column, dictionary))
    const varying = file.columns.filter((_, k) => constants[k] === null)
    const columns = varying.length > 0 ? varying : file.columns.slice(0, 1)
    const expressions = file.columns.map(
      (column, k) => `${constants[k] ?? typedColumn(column, varying.indexOf(column))} AS ${quoteName(column.name)}`
    )
    const select = `SELECT ${expressions.join(', ')} FROM source()`
    const source = new RowSource(columns, dictionary, order)
    if (isWide(file)) await this.copyWide(source, select, path, dictionaryOption(file))
    else await this.pull(source, copyStatement(select, path, dictionaryOption(file)))
  }

  private async pull(source: ChunkSource, statement: string): Promise<void> {
    this.source = source
    try {
      await this.connection.run(statement)
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

/** What SQL calls the one value that the column is full of; null where it is not. Clocks are mostly `synced`, and many metrics null. */
function constantOf(column: FileColumn, { texts }: Dictionary): string | null {
  if (column.type === 'bytes') return null
  if (column.type === 'string') {
    const only = onlyPlace(column.values, texts)
    if (only === null) return null
    if (only < 0) return 'NULL::VARCHAR'
    // A NUL would end the statement that it is put into.
    return texts[only].includes('\0') ? null : quoteText(texts[only])
  }
  const { type, values } = column
  const [only] = values
  for (let row = 1; row < values.length; row++) if (!Object.is(values[row], only)) return null
  if (Number.isNaN(only)) return typed('NULL::DOUBLE', type)
  return Number.isSafeInteger(only) && !Object.is(only, -0) ? typed(`${only}::DOUBLE`, type) : null
}

/** The place of the text that all rows have, -1 where all are null; null where they are not all the same. */
function onlyPlace(places: Int32Array, texts: readonly string[]): number | null {
  const [only] = places
  for (let row = 1; row < places.length; row++) {
    const place = places[row]
    if (place !== only && (place < 0 || only < 0 || texts[place] !== texts[only])) return null
  }
  return only
}

/** The k-th column of a source, typed. */
function typedColumn({ type, values }: FileColumn, k: number): string {
  const value = sourceColumn(k)
  if (type === 'string' || type === 'bytes') return value
  // In DuckDB NaN equals NaN.
  return typed(hasNaN(values) ? `nullif(${value}, 'NaN'::DOUBLE)` : value, type)
}

/** What is a double in SQL, as what it stands for. */
function typed(number: string, type: NumberColumn['type']): string {
  switch (type) {
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

function hasNaN(values: Float64Array): boolean {
  for (let row = 0; row < values.length; row++) if (Number.isNaN(values[row])) return true
  return false
}

function copyStatement(select: string, path: string, options: string): string {
  return `COPY (${select}) TO ${quoteText(path)} (FORMAT PARQUET, COMPRESSION ZSTD${options})`
}

function dictionaryOption(rows: FileRows): string {
  return rows.columns.some(column => column.type === 'double' && hasNegativeZero(column.values)) ? NEGATIVE_ZERO_OPTION : ''
}

function hasNegativeZero(values: Float64Array): boolean {
  for (let row = 0; row < values.length; row++) if (values[row] === 0 && 1 / values[row] < 0) return true
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
