/**
 * A reprocessing's DuckDB: one thread, bounded memory, what exceeds it is spilled. It compares rows, and keeps what changes between the
 * archive and a replay, as tables:
 *
 *   changed    profile, device_id, from_ms, through_ms     stretches of event time whose rows of features are to be computed again
 *   removed    profile, device_id, t                       event times of readings that are archived no more
 *   counts     hour_ms, profile, device_id, received, quarantined, late     what is to be added to the counts of hours
 *   added_resolved, removed_resolved                       rows of the quarantine that are resolved now, and that are no longer
 */
import { join } from 'node:path'
import { type DuckDBConnection, DuckDBInstance, type DuckDBValue } from '@duckdb/node-api'
import { copyOptions } from '../archive/copy-options.js'
import { quoteName, quoteText } from '../archive/parquet.js'
import { type DataPaths, HOUR_MS } from '../archive/paths.js'
import { deleteFile } from '../archive/snapshot-file.js'
import { describedColumn } from '../archive/sql-values.js'
import type { Column } from '../maintenance/plan.js'

const TABLES = `
  CREATE TABLE changed (profile VARCHAR, device_id VARCHAR, from_ms BIGINT, through_ms BIGINT);
  CREATE TABLE removed (profile VARCHAR, device_id VARCHAR, t BIGINT);
  CREATE TABLE counts (hour_ms BIGINT, profile VARCHAR, device_id VARCHAR, received BIGINT, quarantined BIGINT, late BIGINT);
  CREATE TABLE added_resolved (entry BIGINT, frame_index INTEGER, epoch BIGINT, seq BIGINT, event_id VARCHAR);
  CREATE TABLE removed_resolved (entry BIGINT, frame_index INTEGER, epoch BIGINT, seq BIGINT, event_id VARCHAR);
  CREATE TABLE ends (profile VARCHAR, device_id VARCHAR, as_of_ms BIGINT);
  CREATE TABLE emitted (profile VARCHAR, device_id VARCHAR, through_ms BIGINT);
`

/** A quarantined reading counts in the hour of its event time, unless that cannot be true (processor/hour-counts.ts). */
const COUNTED = `event_time >= TIMESTAMPTZ '2000-01-01 00:00:00+00' AND event_time <= ingest_time + INTERVAL 5 MINUTE`

export class ScratchDatabase {
  private constructor(
    private readonly instance: DuckDBInstance,
    readonly connection: DuckDBConnection
  ) {}

  static async open(paths: DataPaths, memoryMiB: number): Promise<ScratchDatabase> {
    const options = { threads: '1', memory_limit: `${memoryMiB}MiB`, temp_directory: join(paths.reprocessing, 'spill') }
    // Row groups bounded by bytes insist on it; one thread keeps the order anyway.
    const instance = await DuckDBInstance.create(':memory:', { ...options, preserve_insertion_order: 'false' })
    const connection = await instance.connect()
    await connection.run("SET TimeZone = 'UTC'")
    await connection.run(TABLES)
    return new ScratchDatabase(instance, connection)
  }

  async columnsOf(path: string): Promise<Column[]> {
    const rows = await this.rows(
      `SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_parquet(${quoteText(path)}, hive_partitioning = false))`
    )
    return rows.map(describedColumn)
  }

  /** Whether the two have the same rows, each as often: by a hash of each row, which takes no memory. */
  async areEqual(columns: readonly Column[], a: string, b: string): Promise<boolean> {
    const row = `hash(${columns.map(({ name }) => quoteName(name)).join(', ')})`
    const sums = (from: string) => this.rows(`SELECT count(*), bit_xor(${row}), sum(${row}::HUGEINT) FROM ${from}`)
    const [[left], [right]] = [await sums(a), await sums(b)]
    return left.every((value, i) => value === right[i])
  }

  /**
   * Notes readings of an hour that are in one of the two only, as far as `columns` tell. Returns by how many rows, and late ones, `after`
   * exceeds `before`.
   */
  async noteReadings(
    profile: string,
    hourMs: number,
    columns: readonly string[],
    before: string,
    after: string
  ): Promise<[number, number]> {
    const name = quoteText(profile)
    const names = columns.join(', ')
    const only = (a: string, b: string) => `SELECT ${names} FROM ${a} EXCEPT ALL SELECT ${names} FROM ${b}`
    const time = 'epoch_ms(event_time)'
    await this.connection.run(`INSERT INTO removed SELECT ${name}, device_id, ${time} FROM (${only(before, after)})`)
    await this.connection.run(`INSERT INTO changed SELECT ${name}, device_id, min(${time}), max(${time})
      FROM ((${only(before, after)}) UNION ALL (${only(after, before)})) GROUP BY device_id`)
    const each = (from: string, sign: number) => `SELECT device_id, ${sign} AS n, ${sign} * late::INTEGER AS l FROM ${from}`
    await this.connection.run(`INSERT INTO counts SELECT ${hourMs}, ${name}, device_id, sum(n), 0, sum(l)
      FROM (${each(before, -1)} UNION ALL ${each(after, 1)}) GROUP BY device_id HAVING sum(n) <> 0 OR sum(l) <> 0`)
    const [[rows, late]] = await this.rows(
      `SELECT coalesce(sum(n), 0), coalesce(sum(l), 0) FROM (${each(before, -1)} UNION ALL ${each(after, 1)})`
    )
    return [Number(rows), Number(late)]
  }

  /** Notes rows of the quarantine that are in one of the two only. */
  async noteRejected(before: string, after: string): Promise<void> {
    await this.addRejected(`SELECT *, -1 AS n FROM ${before} UNION ALL SELECT *, 1 AS n FROM ${after}`)
  }

  async noteResolved(before: string, after: string): Promise<void> {
    const names = 'entry, frame_index, epoch, seq, event_id'
    const only = (a: string, b: string) => `SELECT ${names} FROM ${a} EXCEPT ALL SELECT ${names} FROM ${b}`
    await this.connection.run(`INSERT INTO added_resolved ${only(after, before)}`)
    await this.connection.run(`INSERT INTO removed_resolved ${only(before, after)}`)
  }

  /** Takes what is resolved out of the counts: `before` and `after` select all rows of the quarantine as they were, and as they are now. */
  async countResolved(before: string, after: string): Promise<void> {
    const same = ['entry', 'frame_index', 'epoch', 'seq', 'event_id'].map(name => `q.${name} IS NOT DISTINCT FROM r.${name}`).join(' AND ')
    const matched = (resolved: string, from: string, sign: number) => {
      return `SELECT DISTINCT ON (r.entry, r.frame_index, r.epoch, r.seq, r.event_id) q.*, ${sign} AS n FROM ${resolved} AS r JOIN (${from}) AS q ON ${same}`
    }
    if ((await this.number('SELECT (SELECT count(*) FROM added_resolved) + (SELECT count(*) FROM removed_resolved)')) === 0) return
    await this.addRejected(`SELECT * FROM (${matched('added_resolved', after, -1)})`)
    await this.addRejected(`SELECT * FROM (${matched('removed_resolved', before, 1)})`)
  }

  /** Writes the rows to `path`, closed and not fsynced; returns their number. A file without rows is deleted. */
  async copy(select: string, path: string, columns: readonly Column[]): Promise<number> {
    const options = await copyOptions(this.connection, select, columns)
    await this.connection.run(`COPY (${select}) TO ${quoteText(path)} (FORMAT PARQUET, COMPRESSION ZSTD${options})`)
    const rows = await this.number(`SELECT count(*) FROM read_parquet(${quoteText(path)})`)
    if (rows === 0) deleteFile(path)
    return rows
  }

  async number(sql: string): Promise<number> {
    return Number((await this.rows(sql))[0][0])
  }

  async rows(sql: string): Promise<DuckDBValue[][]> {
    return (await this.connection.runAndReadAll(sql)).getRows()
  }

  /** The rows as they come, so that they need not all be held. */
  async *stream(sql: string): AsyncGenerator<readonly DuckDBValue[]> {
    const result = await this.connection.stream(sql)
    for await (const rows of result.yieldRows()) yield* rows
  }

  close(): void {
    this.connection.closeSync()
    this.instance.closeSync()
  }

  /** `select`: rows of the quarantine with `n`, how often each counts. */
  private async addRejected(select: string): Promise<void> {
    await this.connection.run(`INSERT INTO counts SELECT (epoch_ms(event_time) // ${HOUR_MS}) * ${HOUR_MS}, coalesce(profile, ''), device_id, sum(n), sum(n), 0
      FROM (${select}) WHERE ${COUNTED} AND device_id IS NOT NULL GROUP BY 1, 2, 3 HAVING sum(n) <> 0`)
  }
}
