/**
 * Compares the archive's readings with the recording: every row once, event time and values equal. Rows are matched by seq,
 * since the k-th row of a recording is the k-th reading of the device's only epoch.
 */
import type { DuckDBConnection } from '@duckdb/node-api'
import { decimalsOf, type Metric, type Profile, type Value } from '@tidemark/protocol'
import { parquetBelow, queryRows, quoteName } from './duckdb.js'
import type { ExpectedRow } from './expectation.js'
import { Faults } from './faults.js'

export interface RowComparison {
  /** Rows of the archive, whatever they are. */
  readonly archived: number
  /** Readings in the quarantine that are accounted there. */
  readonly quarantined: number
  /** Rows of the recording that are neither in the archive nor, where they belong there, in the quarantine. */
  readonly missing: number
  /** Rows of the archive or the quarantine beyond one a row of the recording, and rows that no row of the recording explains. */
  readonly doubled: number
  /** Rows whose event time or a value differs. */
  readonly mismatched: number
  readonly faults: readonly string[]
}

interface Compared {
  readonly profile: Profile
  readonly deviceId: string
  readonly expected: readonly ExpectedRow[]
}

interface ArchivedRow {
  readonly deviceId: string
  readonly epoch: number
  readonly seq: number
  /** Unix microseconds: nothing below a millisecond may have crept in. */
  readonly eventTimeUs: number
  readonly values: readonly Value[]
}

export async function compareRows(connection: DuckDBConnection, archiveFolder: string, compared: Compared): Promise<RowComparison> {
  const rows = await readArchived(connection, `${archiveFolder}/processed/${compared.profile.name}`, compared.profile)
  const quarantined = await readQuarantined(connection, `${archiveFolder}/quarantine`)
  const faults = new Faults()
  const counts = { missing: 0, doubled: 0, mismatched: 0 }
  const bySeq = new Map<number, ArchivedRow>()
  const epoch = usualEpoch(rows)
  for (const row of rows) {
    const expectation = row.deviceId === compared.deviceId && row.epoch === epoch ? compared.expected[row.seq - 1] : undefined
    if (expectation?.fate === 'archived' && !bySeq.has(row.seq)) {
      bySeq.set(row.seq, row)
      continue
    }
    counts.doubled++
    faults.add(
      `row ${row.seq} (device ${row.deviceId}, epoch ${row.epoch}) is in the archive ${bySeq.has(row.seq) ? 'more than once' : 'but in no recording'}`
    )
  }
  const refused = new Map<number, string>()
  for (const { seq, reason } of quarantined) {
    if (compared.expected[seq - 1]?.fate === 'quarantined' && !refused.has(seq)) refused.set(seq, reason)
    else {
      counts.doubled++
      faults.add(`row ${seq} is in the quarantine (${reason}), where it does not belong`)
    }
  }
  for (const expectation of compared.expected) {
    const { seq, fate } = expectation
    if (fate === 'archived' ? !bySeq.has(seq) : fate === 'quarantined' && !refused.has(seq)) {
      counts.missing++
      faults.add(`row ${seq} is missing from the ${fate === 'archived' ? 'archive' : 'quarantine'}`)
    }
    const row = bySeq.get(seq)
    const difference = row === undefined ? null : differenceOf(row, expectation, compared.profile)
    if (difference === null) continue
    counts.mismatched++
    faults.add(`row ${seq}: ${difference}`)
  }
  return { archived: rows.length, quarantined: quarantined.length, ...counts, faults: faults.first }
}

/** A device that kept its buffer has one epoch; rows of another have no right to be there. */
function usualEpoch(rows: readonly ArchivedRow[]): number | null {
  const sizes = new Map<number, number>()
  for (const { epoch } of rows) sizes.set(epoch, (sizes.get(epoch) ?? 0) + 1)
  let usual: number | null = null
  for (const [epoch, size] of sizes) if (usual === null || size > sizes.get(usual)!) usual = epoch
  return usual
}

function differenceOf(row: ArchivedRow, expected: ExpectedRow, profile: Profile): string | null {
  if (row.eventTimeUs !== expected.eventTimeMs * 1000) {
    return `event time ${new Date(row.eventTimeUs / 1000).toISOString()} instead of ${new Date(expected.eventTimeMs).toISOString()}`
  }
  for (const [m, metric] of profile.metrics.entries()) {
    if (!isSame(row.values[m], expected.recorded[m], metric)) return `${metric.name} is ${row.values[m]} instead of ${expected.recorded[m]}`
  }
  return null
}

/** To the bit, signs of zeros included; where the metric has a resolution, to the nearest multiple of it. */
function isSame(archived: Value, recorded: Value, metric: Metric): boolean {
  const decimals = metric.type === 'float' ? decimalsOf(metric) : null
  if (decimals === null || typeof archived !== 'number' || typeof recorded !== 'number') return Object.is(archived, recorded)
  const scaled = archived * 10 ** decimals
  const isMultiple = Math.abs(scaled - Math.round(scaled)) <= 1e-12 * Math.max(1, Math.abs(scaled))
  return isMultiple && Math.abs(scaled - recorded * 10 ** decimals) <= 0.5 + 1e-12 * Math.abs(scaled)
}

async function readArchived(connection: DuckDBConnection, folder: string, profile: Profile): Promise<ArchivedRow[]> {
  const from = await parquetBelow(connection, folder)
  if (from === null) return []
  const metrics = profile.metrics.map(metric => quoteName(metric.name)).join(', ')
  const rows = await queryRows(
    connection,
    `SELECT device_id, epoch, seq, epoch_us(event_time), ${metrics} FROM ${from} ORDER BY epoch, seq`
  )
  return rows.map(([deviceId, epoch, seq, eventTimeUs, ...values]) => ({
    deviceId: String(deviceId),
    epoch: Number(epoch),
    seq: Number(seq),
    eventTimeUs: Number(eventTimeUs),
    values: values as Value[]
  }))
}

async function readQuarantined(connection: DuckDBConnection, folder: string): Promise<{ seq: number; reason: string }[]> {
  const from = await parquetBelow(connection, folder)
  if (from === null) return []
  const rows = await queryRows(connection, `SELECT seq, reason FROM ${from} WHERE accounted ORDER BY epoch, seq`)
  return rows.map(([seq, reason]) => ({ seq: Number(seq), reason: String(reason) }))
}
