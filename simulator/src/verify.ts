/**
 * Compares an archive with what the oracle says it must hold after a run: exact values, counted exactly, in one pass over the files in
 * whatever order their rows come. What has been found is one bit a reading, so memory is bounded: 100 million readings take 12.5 MB
 * beside DuckDB's own. Rows of other devices, and of other runs (other epochs) of the same devices, are not looked at.
 *
 * - `doubled` counts the rows beyond the first of an event ID, `different` the rows of which any value differs.
 * - An undecodable message has no event ID, so a redelivery doubles it: the quarantine must hold at least as many as were sent.
 * - Which rows are `late` depends on the order in which the gateway took them in; their number is told, and not judged.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { type ArchivedRows, archivedRows, countUndecodable, createDevices, type QuarantinedRows, quarantinedRows } from './archive-rows.js'
import { UsageError } from './broker.js'
import { VERIFY_MEMORY } from './limits.js'
import { NUMERIC_METRICS } from './machine.js'
import { type Expected, Oracle } from './oracle.js'
import type { Run } from './run-file.js'
import { SeenReadings } from './seen.js'

export interface VerifyOptions {
  /** The folder that holds processed/ and quarantine/. */
  readonly archiveDir: string
  readonly run: Run
  /** Told now and then: how much has been compared, in [0, 1]. */
  readonly onProgress?: (share: number) => void
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
export async function verifyArchive({ archiveDir, run, onProgress = () => {} }: VerifyOptions): Promise<VerifyResult> {
  if (!existsSync(archiveDir))
    throw new UsageError(`there is no folder ${archiveDir}: give the gateway's data folder with /archive behind it`)
  const spillDir = mkdtempSync(join(tmpdir(), 'tidemark-verify-'))
  const instance = await DuckDBInstance.create(':memory:', { threads: '2', memory_limit: VERIFY_MEMORY, temp_directory: spillDir })
  const connection = await instance.connect()
  try {
    const counts = await compare(connection, archiveDir, run, onProgress)
    return { ...counts, ok: isOk(counts) }
  } finally {
    connection.closeSync()
    instance.closeSync()
    rmSync(spillDir, { recursive: true, force: true })
  }
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

async function compare(
  connection: DuckDBConnection,
  archiveDir: string,
  run: Run,
  onProgress: (share: number) => void
): Promise<VerifyCounts> {
  const comparison = new Comparison(run)
  await createDevices(connection, run.plan)
  const total = run.seqs.reduce((sum, seq) => sum + seq, 0)
  let told = 0
  for await (const rows of archivedRows(connection, archiveDir, run.plan)) {
    comparison.takeArchived(rows)
    if (comparison.counts.archived - told < PROGRESS_ROWS) continue
    told = comparison.counts.archived
    onProgress(Math.min(1, told / total))
  }
  for await (const rows of quarantinedRows(connection, archiveDir, run.plan)) comparison.takeQuarantined(rows)
  comparison.counts.undecodable = await countUndecodable(connection, archiveDir, run.plan)
  onProgress(1)
  return comparison.end()
}

/** Rows between two tellings of progress. */
const PROGRESS_ROWS = 250_000

class Comparison {
  readonly counts = noCounts()
  private readonly oracle: Oracle
  private readonly seen: SeenReadings
  /** Archived readings that were found, among those seen. */
  private archivedFound = 0

  constructor(private readonly run: Run) {
    this.oracle = new Oracle(run.plan)
    this.seen = new SeenReadings(run.seqs)
  }

  takeArchived(rows: ArchivedRows): void {
    const { counts, seen, oracle } = this
    counts.archived += rows.rows
    for (let row = 0; row < rows.rows; row++) {
      const i = rows.devices[row]
      const seq = rows.seqs[row]
      counts.late += rows.late[row]
      if (!seen.holds(i, seq) || oracle.ask(i, seq) !== 0) {
        counts.unexpected++
        continue
      }
      if (seen.add(i, seq)) this.archivedFound++
      else counts.doubled++
      if (!this.isEqual(rows, row)) counts.different++
    }
  }

  takeQuarantined({ rows, devices, seqs, fates }: QuarantinedRows): void {
    const { counts, seen, oracle } = this
    counts.quarantined += rows
    for (let row = 0; row < rows; row++) {
      const isWanted = fates[row] > 0 && seen.holds(devices[row], seqs[row]) && oracle.fate(devices[row], seqs[row]) === fates[row]
      if (!isWanted || !seen.add(devices[row], seqs[row])) counts.quarantineUnexpected++
    }
  }

  /** What should have come, and has not. */
  end(): VerifyCounts {
    const { counts, oracle, run, seen } = this
    const expected: Expected = { archived: 0, quarantined: 0, late: 0, undecodable: 0 }
    for (const [i, lastSeq] of run.seqs.entries()) oracle.count(i, lastSeq, expected)
    counts.expected = expected.archived
    counts.quarantinedExpected = expected.quarantined
    counts.lateExpected = expected.late
    counts.undecodableExpected = expected.undecodable
    counts.missing = expected.archived - this.archivedFound
    counts.quarantineMissing = expected.quarantined - (seen.found - this.archivedFound)
    return counts
  }

  /** Whether a row holds what the oracle was just asked for. */
  private isEqual(rows: ArchivedRows, row: number): boolean {
    const { eventTimesMs, metrics } = this.oracle.reading
    if (rows.eventTimesMs[row] !== eventTimesMs[0] || rows.hasLocation[row] === 0) return false
    for (let m = 0; m < NUMERIC_METRICS; m++) {
      const [found, wanted] = [rows.metrics[m][row], metrics[m][0]]
      if (found !== wanted && !(Number.isNaN(found) && Number.isNaN(wanted))) return false
    }
    return true
  }
}
