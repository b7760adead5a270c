/** A repair's DuckDB: one thread, bounded memory, what exceeds it is spilled. What it computes and writes is a function of its input. */
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { copyOptions } from '../archive/copy-options.js'
import { quoteName, quoteText } from '../archive/parquet.js'
import { sqlType } from '../archive/sql-values.js'
import type { Plan } from '../processor/feature-plan.js'
import { PROCESSOR_VERSION } from '../processor/feature-rows.js'
import { FEATURE, featuresLayout } from '../processor/layouts.js'
import { computedSql, readingsSql, TABLES } from './feature-sql.js'
import type { Piece } from './pieces.js'

export interface RepairDatabaseOptions {
  /** A folder that DuckDB makes when it needs it. */
  readonly spillFolder: string
  /** DuckDB's memory, in MiB. */
  readonly memoryMiB: number
}

/** Rows computed, and those of them that differ from what the archive has as their latest revision. */
export interface BatchCounts {
  readonly readings: number
  readonly computed: number
  readonly changed: number
}

export class RepairDatabase {
  private constructor(
    private readonly instance: DuckDBInstance,
    private readonly connection: DuckDBConnection
  ) {}

  static async open({ spillFolder, memoryMiB }: RepairDatabaseOptions): Promise<RepairDatabase> {
    const instance = await DuckDBInstance.create(':memory:', {
      threads: '1',
      memory_limit: `${memoryMiB}MiB`,
      temp_directory: spillFolder,
      preserve_insertion_order: 'true'
    })
    const connection = await instance.connect()
    await connection.run("SET TimeZone = 'UTC'")
    return new RepairDatabase(instance, connection)
  }

  /** Empties `repaired`, the table that `compute` adds rows to. */
  async begin(plan: Plan): Promise<void> {
    const columns = featuresLayout(plan).columns.map(({ name, type }) => `${quoteName(name)} ${sqlType(type)}`)
    await this.connection.run(`CREATE OR REPLACE TABLE repaired (${columns.join(', ')})`)
  }

  /**
   * Computes the rows of the pieces from the readings that `processed` selects, and adds those to `repaired` that differ from
   * the latest among `curated`, as the next revision, known at `knownAtMs`.
   */
  async compute(
    plan: Plan,
    pieces: readonly Piece[],
    scans: { processed: string; curated: string | null },
    knownAtMs: number
  ): Promise<BatchCounts> {
    await this.loadPieces(pieces)
    await this.connection.run(readingsSql(plan, scans.processed))
    await this.connection.run(computedSql(plan))
    await this.connection.run(latestSql(plan, scans.curated))
    const [[readings, computed, before]] = await this.numbers(
      'SELECT (SELECT count(*) FROM readings), (SELECT count(*) FROM computed), (SELECT count(*) FROM repaired)'
    )
    await this.connection.run(changedSql(plan, knownAtMs))
    await this.connection.run('DROP TABLE readings; DROP TABLE computed; DROP TABLE latest')
    return { readings, computed, changed: (await this.rows()) - before }
  }

  /** Rows in `repaired`. */
  async rows(): Promise<number> {
    return (await this.numbers('SELECT count(*) FROM repaired'))[0][0]
  }

  /** The hours of as_of that `repaired` has rows of, oldest first, with how many. */
  async hours(): Promise<{ hourMs: number; rows: number }[]> {
    const hour = "epoch_ms(date_trunc('hour', as_of))"
    const rows = await this.numbers(`SELECT ${hour}, count(*) FROM repaired GROUP BY 1 ORDER BY 1`)
    return rows.map(([hourMs, count]) => ({ hourMs, rows: count }))
  }

  /** Writes the rows of an hour as a file that is like those of the processor's features; it is not fsynced. */
  async write(plan: Plan, hourMs: number, path: string): Promise<void> {
    const { sortBy, columns } = featuresLayout(plan)
    const select = `SELECT * FROM repaired WHERE as_of >= make_timestamptz(${hourMs * 1000}) AND as_of < make_timestamptz(${(hourMs + 3_600_000) * 1000}) ORDER BY ${sortBy.map(quoteName).join(', ')}`
    const options = await copyOptions(this.connection, select, columns)
    await this.connection.run(`COPY (${select}) TO ${quoteText(path)} (FORMAT PARQUET, COMPRESSION ZSTD${options})`)
  }

  close(): void {
    this.connection.closeSync()
    this.instance.closeSync()
  }

  private async loadPieces(pieces: readonly Piece[]): Promise<void> {
    await this.connection.run(TABLES)
    const [into, ranges] = [await this.connection.createAppender('pieces'), await this.connection.createAppender('ranges')]
    for (const [piece, { deviceId, sinceMs, throughMs, ranges: wanted }] of pieces.entries()) {
      into.appendInteger(piece)
      into.appendVarchar(deviceId)
      into.appendBigInt(BigInt(sinceMs))
      into.appendBigInt(BigInt(throughMs))
      into.endRow()
      for (const range of wanted) {
        ranges.appendInteger(piece)
        ranges.appendBigInt(BigInt(range.fromMs))
        ranges.appendBigInt(BigInt(range.throughMs))
        ranges.endRow()
      }
    }
    into.closeSync()
    ranges.closeSync()
  }

  private async numbers(sql: string): Promise<number[][]> {
    return (await this.connection.runAndReadAll(sql)).getRows().map(row => row.map(Number))
  }
}

/** The columns whose values make a row another one: those that tell when it was computed do not. */
function valueColumns(plan: Plan): string[] {
  const own = featuresLayout(plan).columns.slice(FEATURE.features)
  return ['event_count', 'coverage', ...own.map(({ name }) => name)].map(quoteName)
}

/** Makes `latest`: of the rows to be repaired, the latest revision that the archive has. */
function latestSql(plan: Plan, scan: string | null): string {
  const absent = valueColumns(plan).map(name => `NULL AS ${name}`)
  const none = `SELECT NULL::VARCHAR AS device_id, NULL::TIMESTAMPTZ AS as_of, NULL::INTEGER AS revision, NULL::BOOLEAN AS provisional, ${absent.join(', ')} WHERE false`
  return `CREATE OR REPLACE TABLE latest AS
    SELECT device_id, epoch_ms(as_of) AS as_of_ms, revision, provisional, ${valueColumns(plan).join(', ')}
    FROM (${none}${scan === null ? '' : ` UNION ALL BY NAME ${scan}`}) AS known SEMI JOIN computed
      ON computed.device_id = known.device_id AND computed.as_of_ms = epoch_ms(known.as_of)
    QUALIFY row_number() OVER (PARTITION BY device_id, as_of ORDER BY revision DESC) = 1`
}

function changedSql(plan: Plan, knownAtMs: number): string {
  const known = `make_timestamptz(${knownAtMs * 1000})`
  const own = featuresLayout(plan).columns.slice(FEATURE.features)
  const columns = [
    'computed.device_id',
    'make_timestamptz(computed.as_of_ms * 1000)',
    known,
    known,
    'coalesce(latest.revision, -1) + 1',
    'false',
    'computed.event_count',
    'computed.coverage',
    String(PROCESSOR_VERSION),
    ...own.map(({ name }) => `computed.${quoteName(name)}`)
  ]
  const differs = valueColumns(plan).map(name => `computed.${name} IS DISTINCT FROM latest.${name}`)
  return `INSERT INTO repaired SELECT ${columns.join(', ')} FROM computed LEFT JOIN latest USING (device_id, as_of_ms)
    WHERE latest.revision IS NULL OR latest.provisional OR ${differs.join(' OR ')}`
}
