import { join } from 'node:path'
import { type DuckDBConnection, DuckDBInstance, type DuckDBValue } from '@duckdb/node-api'
import type { CatalogFile } from '../archive/catalog.js'
import { copyOptions } from '../archive/copy-options.js'
import { quoteName, quoteText } from '../archive/parquet.js'
import type { DataPaths } from '../archive/paths.js'
import { describedColumn } from '../archive/sql-values.js'
import type { ExpiredRows } from '../archive/supersede.js'
import type { Layer } from '../processor/flush.js'
import { SORT_BY } from '../processor/layouts.js'
import { type Column, groupBy } from './plan.js'

/**
 * Merges Parquet files of the archive into one, by DuckDB: the same rows to the bit, sorted as the layer is. One thread and a total
 * order make the bytes a function of the input files, their order and the DuckDB version. Memory is bounded; what exceeds it is
 * spilled. Nothing here makes a file durable or part of the archive: see swap.ts.
 */

export interface MergeWriterOptions {
  /** DuckDB's memory, in MiB. */
  readonly memoryMiB: number
  /** Most bytes that it spills. */
  readonly spillBytesMax: number
}

/** Names of columns that break ties. No name of ours begins with `__`. */
const SHAPE = '__shape'
const FILE = '__file'
const ROW = '__row'

export class MergeWriter {
  private readonly shapes = new Map<string, readonly Column[]>()

  private constructor(
    private readonly instance: DuckDBInstance,
    private readonly connection: DuckDBConnection,
    private readonly paths: DataPaths
  ) {}

  static async open(paths: DataPaths, options: MergeWriterOptions): Promise<MergeWriter> {
    const instance = await DuckDBInstance.create(':memory:', {
      threads: '1',
      memory_limit: `${options.memoryMiB}MiB`,
      temp_directory: paths.compactionSpill,
      max_temp_directory_size: `${Math.floor(options.spillBytesMax / 2 ** 20)}MiB`,
      // Row groups bounded by bytes insist on it; one thread keeps the order anyway.
      preserve_insertion_order: 'false'
    })
    const connection = await instance.connect()
    await connection.run("SET TimeZone = 'UTC'")
    return new MergeWriter(instance, connection, paths)
  }

  /** The columns of a file, those of the same digest having the same; read once for each digest. */
  async columnsOf(file: CatalogFile): Promise<readonly Column[]> {
    const known = this.shapes.get(file.columns)
    if (known !== undefined) return known
    const columns = await this.describe(this.scan([file]))
    this.shapes.set(file.columns, columns)
    return columns
  }

  /** Bytes of the files' values before compression, by file. */
  async uncompressedBytes(files: readonly CatalogFile[]): Promise<Map<CatalogFile, number>> {
    const rows = await this.rows(
      `SELECT file_name, sum(total_uncompressed_size)::DOUBLE FROM parquet_metadata(${this.list(files)}) GROUP BY file_name`
    )
    const byPath = new Map(rows.map(([path, bytes]) => [String(path), Number(bytes)]))
    return new Map(files.map(file => [file, byPath.get(this.place(file)) ?? 0]))
  }

  /**
   * Writes the rows of `files` to `path`, closed and not fsynced, and returns its columns and the number of its rows. The files'
   * columns of the same name have the same type; one that a file lacks is null.
   */
  async merge(files: readonly CatalogFile[], path: string): Promise<{ columns: readonly Column[]; rows: number }> {
    const { layer } = files[0]
    const shapes = groupBy(files, file => file.columns)
    for (const [first] of shapes) await this.columnsOf(first)
    const all = shapes.map(shape => this.scan(shape)).join(' UNION ALL BY NAME ')
    const columns = await this.describe(all)
    const isSorted = layer === 'raw' && shapes.length === 1 && areBehindOneAnother(files)
    const from = isSorted ? this.scan(files) : this.sorted(shapes, columns, layer)
    const options = await copyOptions(this.connection, all, columns)
    await this.connection.run(`COPY (${from}) TO ${quoteText(path)} (FORMAT PARQUET, COMPRESSION ZSTD${options})`)
    const [[rows]] = await this.rows(`SELECT count(*) FROM read_parquet(${quoteText(path)})`)
    return { columns, rows: Number(rows) }
  }

  /** How many rows of each epoch the files hold, of those that the ledger counts. */
  async countByEpoch(files: readonly CatalogFile[]): Promise<ExpiredRows[]> {
    const { layer } = files[0]
    if (layer !== 'processed' && layer !== 'quarantine') return []
    const counted = layer === 'processed' ? 'true' : 'accounted AND device_id IS NOT NULL'
    const shapes = groupBy(files, file => file.columns)
    const from = shapes.map(shape => `SELECT device_id, epoch FROM (${this.scan(shape)}) WHERE ${counted}`).join(' UNION ALL ')
    const rows = await this.rows(`SELECT device_id, coalesce(epoch, 0) AS e, count(*) FROM (${from}) GROUP BY 1, 2 ORDER BY 1, 2`)
    return rows.map(([deviceId, epoch, count]) => ({
      deviceId: String(deviceId),
      epoch: Number(epoch),
      archived: layer === 'processed' ? Number(count) : 0,
      quarantined: layer === 'quarantine' ? Number(count) : 0
    }))
  }

  /** Makes what is under way fail soon. */
  interrupt(): void {
    this.connection.interrupt()
  }

  close(): void {
    this.connection.closeSync()
    this.instance.closeSync()
  }

  private sorted(shapes: readonly (readonly CatalogFile[])[], columns: readonly Column[], layer: Layer): string {
    const scans = shapes.map((shape, i) => {
      const ties = `${i} AS ${SHAPE}, file_index AS ${FILE}, file_row_number AS ${ROW}`
      return `SELECT *, ${ties} FROM read_parquet(${this.list(shape)}, hive_partitioning = false)`
    })
    const keys = SORT_BY[layer].filter(name => columns.some(column => column.name === name)).map(quoteName)
    return `SELECT ${columns.map(({ name }) => quoteName(name)).join(', ')} FROM (${scans.join(' UNION ALL BY NAME ')})
      ORDER BY ${[...keys, SHAPE, FILE, ROW].join(', ')}`
  }

  private async describe(select: string): Promise<Column[]> {
    const rows = await this.rows(`SELECT column_name, column_type FROM (DESCRIBE ${select})`)
    return rows.map(describedColumn)
  }

  private async rows(sql: string): Promise<DuckDBValue[][]> {
    return (await this.connection.runAndReadAll(sql)).getRows()
  }

  private scan(files: readonly CatalogFile[]): string {
    return `SELECT * FROM read_parquet(${this.list(files)}, hive_partitioning = false)`
  }

  private list(files: readonly CatalogFile[]): string {
    return `[${files.map(file => quoteText(this.place(file))).join(', ')}]`
  }

  private place(file: CatalogFile): string {
    return join(this.paths.archive, file.path)
  }
}

/** Whether each file holds the entries behind those of the one before. Merges by size can put those of one between those of another. */
function areBehindOneAnother(files: readonly CatalogFile[]): boolean {
  return files.every((file, i) => i === 0 || file.firstEntry > files[i - 1].lastEntry)
}
