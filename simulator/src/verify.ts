/**
 * Compares an archive with what the oracle says it must hold after a run: exact values, counted exactly, in bounded memory (a range of
 * devices at a time). Rows of other devices, and of other runs (other epochs) of the same devices, are not looked at.
 *
 * - `doubled` counts the rows beyond the first of an event ID, `different` the rows of which any value differs.
 * - An undecodable message has no event ID, so a redelivery doubles it: the quarantine must hold at least as many as were sent.
 * - Which rows are `late` depends on the order in which the gateway took them in; their number is told, and not judged.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { UsageError } from './broker.js'
import { deviceId, PROFILE, type RunPlan } from './device.js'
import { appendDevices, appendExpected, createTables, NUMERIC_NAMES } from './expected-table.js'
import { VERIFY_MEMORY, VERIFY_ROWS } from './limits.js'
import { expectedReadings, FATES } from './oracle.js'
import type { Run } from './run-file.js'

export interface VerifyOptions {
  /** The folder that holds processed/ and quarantine/. */
  readonly archiveDir: string
  readonly run: Run
  /** Rows compared at a time, more or less: whole devices. */
  readonly rowsAtOnce?: number
  /** Told after each range of devices: how many of the run's devices have been compared. */
  readonly onProgress?: (devices: number) => void
}

/** Numbers of readings, unless a field says otherwise. */
export interface VerifyCounts {
  /** What processed/ must hold. */
  expected: number
  archived: number
  missing: number
  doubled: number
  different: number
  /** Archived, though the run never sent them or they belong into the quarantine. */
  unexpected: number
  lateExpected: number
  late: number
  quarantinedExpected: number
  quarantined: number
  quarantineMissing: number
  quarantineUnexpected: number
  /** Messages. */
  undecodableExpected: number
  undecodable: number
}

export interface VerifyResult extends Readonly<VerifyCounts> {
  readonly ok: boolean
}

/** Rejects with a UsageError where there is no archive. */
export async function verifyArchive({ archiveDir, run, rowsAtOnce, onProgress }: VerifyOptions): Promise<VerifyResult> {
  if (!existsSync(archiveDir))
    throw new UsageError(`there is no folder ${archiveDir}: give the gateway's data folder with /archive behind it`)
  const spillDir = mkdtempSync(join(tmpdir(), 'tidemark-verify-'))
  const instance = await DuckDBInstance.create(':memory:', { threads: '2', memory_limit: VERIFY_MEMORY, temp_directory: spillDir })
  const connection = await instance.connect()
  const counts = noCounts()
  try {
    const comparison = await Comparison.begin(connection, archiveDir, run, counts)
    for (const { first, end } of rangesOf(run, rowsAtOnce ?? VERIFY_ROWS)) {
      await comparison.compare(first, end)
      onProgress?.(end - run.plan.firstDevice)
    }
  } finally {
    connection.closeSync()
    instance.closeSync()
    rmSync(spillDir, { recursive: true, force: true })
  }
  return { ...counts, ok: isOk(counts) }
}

/** The result in the form that `--json` prints. */
export function resultToJson(result: VerifyResult) {
  return {
    expected: result.expected,
    archived: result.archived,
    missing: result.missing,
    doubled: result.doubled,
    different: result.different,
    unexpected: result.unexpected,
    late_expected: result.lateExpected,
    late: result.late,
    quarantined_expected: result.quarantinedExpected,
    quarantined: result.quarantined,
    quarantine_missing: result.quarantineMissing,
    quarantine_unexpected: result.quarantineUnexpected,
    undecodable_expected: result.undecodableExpected,
    undecodable: result.undecodable,
    ok: result.ok
  }
}

function noCounts(): VerifyCounts {
  return {
    ...{ expected: 0, archived: 0, missing: 0, doubled: 0, different: 0, unexpected: 0, lateExpected: 0, late: 0 },
    ...{ quarantinedExpected: 0, quarantined: 0, quarantineMissing: 0, quarantineUnexpected: 0, undecodableExpected: 0, undecodable: 0 }
  }
}

function isOk(c: VerifyCounts): boolean {
  const wrong = c.missing + c.doubled + c.different + c.unexpected + c.quarantineMissing + c.quarantineUnexpected
  return wrong === 0 && c.archived === c.expected && c.quarantined === c.quarantinedExpected && c.undecodable >= c.undecodableExpected
}

/** Cuts a run into ranges of whole devices, [first, end). */
function* rangesOf({ plan, seqs }: Run, rowsAtOnce: number): Generator<{ first: number; end: number }> {
  let first = plan.firstDevice
  let rows = 0
  for (let i = 0; i < plan.devices; i++) {
    rows += seqs[i] + 1 // a device costs something even when it sent nothing
    if (rows < rowsAtOnce && i + 1 < plan.devices) continue
    yield { first, end: plan.firstDevice + i + 1 }
    first = plan.firstDevice + i + 1
    rows = 0
  }
}

const DIFFERENCES = [
  'a.event_time_ms IS DISTINCT FROM e.event_time_ms',
  'a.location IS DISTINCT FROM d.location',
  ...NUMERIC_NAMES.map(name => `a.${name} IS DISTINCT FROM nullif(e.${name}, 'nan'::DOUBLE)`)
].join(' OR ')

const REASONS = `(VALUES ${FATES.flatMap((reason, fate) => (reason === null ? [] : [`(${fate}, '${reason}')`])).join(', ')})`

class Comparison {
  private constructor(
    private readonly connection: DuckDBConnection,
    private readonly run: { readonly plan: RunPlan; readonly seqs: readonly number[] },
    private readonly counts: VerifyCounts,
    /** SQL for the rows of each layer; null: it holds no file. */
    private readonly processed: string | null,
    private readonly quarantine: string | null
  ) {}

  static async begin(connection: DuckDBConnection, archiveDir: string, run: Run, counts: VerifyCounts): Promise<Comparison> {
    const processed = await sourceOf(connection, join(archiveDir, 'processed', PROFILE.name))
    const quarantine = await sourceOf(connection, join(archiveDir, 'quarantine'))
    return new Comparison(connection, run, counts, processed, quarantine)
  }

  /** Adds what is found of the devices [first, end) to the counts. */
  async compare(first: number, end: number): Promise<void> {
    const { connection, counts } = this
    const { plan, seqs } = this.run
    await createTables(connection)
    await appendDevices(connection, plan, first, end)
    const sums = await appendExpected(connection, expectedReadings(plan, seqs, first, end))
    counts.lateExpected += sums.late
    counts.undecodableExpected += sums.undecodable
    const ids = `device_id BETWEEN '${deviceId(first)}' AND '${deviceId(end - 1)}'`
    await this.compareArchive(ids)
    await this.compareQuarantine(ids)
  }

  private async compareArchive(ids: string): Promise<void> {
    const { counts } = this
    const metrics = NUMERIC_NAMES.map(name => `${name}::DOUBLE AS ${name}`).join(', ')
    await this.collect('archived', this.processed, {
      columns: `seq::DOUBLE AS seq, epoch_us(event_time) / 1000 AS event_time_ms, late, location, ${metrics}`,
      nothing: `0::DOUBLE AS seq, 0::DOUBLE AS event_time_ms, false AS late, '' AS location, ${NUMERIC_NAMES.map(name => `0::DOUBLE AS ${name}`).join(', ')}`,
      where: ids
    })
    const [expected, missing] = await this.numbers(
      'SELECT count(*), count(*) FILTER (a.seq IS NULL) FROM (FROM expected WHERE fate = 0) e LEFT JOIN (SELECT DISTINCT device, seq FROM archived) a USING (device, seq)'
    )
    const [archived, events, late] = await this.numbers(
      'SELECT count(*), count(DISTINCT (device, seq)), count(*) FILTER (late) FROM archived'
    )
    const [unexpected, different] = await this.numbers(
      `SELECT count(*) FILTER (e.fate IS DISTINCT FROM 0), count(*) FILTER (e.fate = 0 AND (${DIFFERENCES}))
       FROM archived a JOIN devices d USING (device) LEFT JOIN expected e USING (device, seq)`
    )
    counts.expected += expected
    counts.missing += missing
    counts.archived += archived
    counts.doubled += archived - events
    counts.late += late
    counts.unexpected += unexpected
    counts.different += different
  }

  private async compareQuarantine(ids: string): Promise<void> {
    const { counts } = this
    await this.collect('quarantined', this.quarantine, {
      columns: 'seq::DOUBLE AS seq, reason',
      nothing: "0::DOUBLE AS seq, '' AS reason",
      where: `accounted AND ${ids}`
    })
    const wanted = `(SELECT device, seq, reason FROM expected JOIN ${REASONS} reasons(fate, reason) USING (fate))`
    const [expected, missing] = await this.numbers(
      `SELECT count(*), count(*) FILTER (q.seq IS NULL) FROM ${wanted} e LEFT JOIN (SELECT DISTINCT * FROM quarantined) q USING (device, seq, reason)`
    )
    const [quarantined] = await this.numbers('SELECT count(*) FROM quarantined')
    counts.quarantinedExpected += expected
    counts.quarantineMissing += missing
    counts.quarantined += quarantined
    counts.quarantineUnexpected += quarantined - (expected - missing)
    if (this.quarantine === null) return
    const [undecodable] = await this.numbers(`SELECT count(*) FROM ${this.quarantine} WHERE reason = 'undecodable' AND ${ids}`)
    counts.undecodable += undecodable
  }

  /** Makes a table of a layer's rows that belong to this range of devices and to this run. */
  private async collect(table: string, source: string | null, of: { columns: string; nothing: string; where: string }): Promise<void> {
    const rows =
      source === null
        ? `SELECT 0 AS device, ${of.nothing} WHERE false`
        : `SELECT device, r.* FROM (SELECT device_id, epoch::DOUBLE AS epoch, ${of.columns} FROM ${source} WHERE ${of.where}) r JOIN devices USING (device_id, epoch)`
    await this.connection.run(`CREATE OR REPLACE TEMP TABLE ${table} AS ${rows}`)
  }

  private async numbers(sql: string): Promise<number[]> {
    const reader = await this.connection.runAndReadAll(sql)
    return reader.getRows()[0].map(Number)
  }
}

/** SQL for the rows of all Parquet files in a folder and its partitions; null where there is none. */
async function sourceOf(connection: DuckDBConnection, dir: string): Promise<string | null> {
  const glob = `'${join(dir, '**', '*.parquet').replaceAll("'", "''")}'`
  const reader = await connection.runAndReadAll(`SELECT count(*) FROM glob(${glob})`)
  return Number(reader.getRows()[0][0]) === 0 ? null : `read_parquet(${glob}, union_by_name = true, hive_partitioning = false)`
}
