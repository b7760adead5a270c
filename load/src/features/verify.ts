/** The proof of the features: one recording, delivered in three ways, must come to the same features, whatever was late or repaired. */
import { rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { DuckDBConnection } from '@duckdb/node-api'
import type { Profile } from '@tidemark/protocol'
import { Child } from '../child.js'
import { compareFeatures } from '../replay/compare-features.js'
import { Draw } from '../replay/draw.js'
import { parquetBelow, queryRows, withDuckDB } from '../replay/duckdb.js'
import { readRecording } from '../replay/recording.js'
import { UsageError } from '../replay/replay-error.js'
import { findProfile, makeFolder, UnfinishedReplayError } from '../replay/verify.js'
import { type Delivered, deliver } from './deliver.js'
import {
  BYSTANDER,
  DEVICE,
  type Delivery,
  type ExpectedOfDevice,
  expectOf,
  inOrder,
  latestEventTimeMs,
  offlineDay,
  someLate,
  timedRows
} from './delivery.js'

/** What `--json` writes of each case. */
export interface CaseVerdict {
  readonly case: Delivery['name']
  readonly readings: number
  /** Feature rows at their latest revision that were compared with the reference, of all devices. */
  readonly rows_compared: number
  readonly mismatches: number
  readonly flags_undecided: number
  /** Rows that went out again, and the highest revision. */
  readonly revisions: number
  readonly highest_revision: number
  readonly late: number
  readonly late_expected: number
  /** Readings delayed on purpose: while their panes are kept, and past that. */
  readonly delayed_within_panes: number
  readonly delayed_past_panes: number
  /** Late readings of the device that goes on while the other is offline. */
  readonly bystander_late: number
  /** Rows that a repair made, and the marks that none has served. */
  readonly repaired_rows: number
  readonly repair_marks_left: number
  readonly ok: boolean
}

export interface FeaturesVerdict {
  readonly recording: string
  readonly profile: string
  readonly seed: number
  readonly cases: readonly CaseVerdict[]
  readonly ok: boolean
}

export interface VerifyFeaturesOptions {
  readonly csv: string
  readonly profile: string
  readonly profileFile?: string
  readonly seed: number
  readonly keep?: string
  /** Called when a case begins, and when it is judged. */
  onCase(name: string, verdict: CaseVerdict | null): void
  readonly signal: AbortSignal
}

export interface VerifiedFeatures {
  readonly verdict: FeaturesVerdict
  readonly faults: readonly string[]
  /** Where data and logs are; null where they were removed. */
  readonly folder: string | null
}

/** Throws a `UsageError` for what the person must change, and an `UnfinishedReplayError` where a case could not be finished. */
export async function verifyFeatures(options: VerifyFeaturesOptions): Promise<VerifiedFeatures> {
  const profile = findProfile(options.profile, options.profileFile)
  const deliveries = deliveriesOf(options, profile)
  const folder = makeFolder(options.keep, 'features')
  const cases: CaseVerdict[] = []
  const faults: string[] = []
  try {
    for (const delivery of deliveries) {
      options.onCase(delivery.name, null)
      const delivered = await deliver(delivery, { folder, profile, profileFile: options.profileFile ?? null, signal: options.signal })
      const judged = await judge(delivery, delivered, profile)
      cases.push(judged.verdict)
      faults.push(...judged.faults.map(fault => `${delivery.name}: ${fault}`))
      options.onCase(delivery.name, judged.verdict)
    }
  } catch (error) {
    const isWorthKeeping = !(error instanceof UsageError) && !options.signal.aborted
    if (options.keep === undefined && !isWorthKeeping) rmSync(folder, { recursive: true })
    throw isWorthKeeping ? new UnfinishedReplayError(folder, error) : error
  }
  const ok = cases.every(each => each.ok) && faults.length === 0
  const isKept = options.keep !== undefined || !ok
  if (!isKept) rmSync(folder, { recursive: true })
  const verdict = { recording: basename(options.csv), profile: profile.name, seed: options.seed, cases, ok }
  return { verdict, faults, folder: isKept ? folder : null }
}

const ROWS_MIN = 100

function deliveriesOf({ csv, seed }: VerifyFeaturesOptions, profile: Profile): Delivery[] {
  const rows = timedRows(readRecording(csv, profile))
  if (rows.length < ROWS_MIN) throw new UsageError(`${csv} has ${rows.length} rows with a time: give a recording of at least ${ROWS_MIN}`)
  const deliveries = [inOrder(rows), offlineDay(rows), someLate(rows, profile, new Draw(seed))]
  const nowMs = Date.now()
  if (deliveries.some(delivery => latestEventTimeMs(delivery) > nowMs))
    throw new UsageError(
      `${csv} is too recent: devices go on for days behind it, and nothing may lie in the future; give an older recording`
    )
  return deliveries
}

async function judge(delivery: Delivery, delivered: Delivered, profile: Profile): Promise<{ verdict: CaseVerdict; faults: string[] }> {
  const { dataDir } = delivered
  const left = await repairRest(delivered)
  const nowMs = Date.now()
  const device = expectOf(delivery, DEVICE, profile, nowMs)
  const bystander = expectOf(delivery, BYSTANDER, profile, nowMs)
  const late = await readLate(delivered)
  const archive = join(dataDir, 'archive')
  const faults: string[] = []
  const compare = (deviceId: string, { rows }: ExpectedOfDevice) =>
    withDuckDB(connection =>
      compareFeatures(connection, archive, { profile, deviceId, expected: rows, others: [deviceId === DEVICE ? BYSTANDER : DEVICE] })
    )
  const compared = [await compare(DEVICE, device)]
  if (bystander.rows.length > 0) compared.push(await compare(BYSTANDER, bystander))
  for (const each of compared) faults.push(...each.faults)
  const counts = await withDuckDB(connection => countRevisions(connection, `${archive}/curated/${profile.name}`))
  const insist = (holds: boolean, fault: string) => {
    if (!holds) faults.push(fault)
  }
  const [deviceLate, bystanderLate] = [late.get(DEVICE) ?? 0, late.get(BYSTANDER) ?? 0]
  insist(deviceLate === device.late, `${deviceLate} readings are late instead of ${device.late}`)
  insist(bystanderLate === 0, `${bystanderLate} readings of the bystander are late`)
  insist(left === 0, `${left} hours stay marked for repair`)
  insist(delivery.delayed.past === 0 || counts.repaired > 0, 'readings came past the panes, and nothing was repaired')
  insist(counts.doubled === 0, `${counts.doubled} revisions of a row are there twice`)
  const mismatches = compared.reduce((sum, each) => sum + each.featureMismatches, 0)
  const verdict: CaseVerdict = {
    case: delivery.name,
    readings: device.rows.length + bystander.rows.length,
    rows_compared: compared.reduce((sum, each) => sum + each.featureRows, 0),
    mismatches,
    flags_undecided: compared.reduce((sum, each) => sum + each.flagsUndecided, 0),
    revisions: counts.revisions,
    highest_revision: counts.highest,
    late: deviceLate,
    late_expected: device.late,
    delayed_within_panes: delivery.delayed.within,
    delayed_past_panes: delivery.delayed.past,
    bystander_late: bystanderLate,
    repaired_rows: counts.repaired,
    repair_marks_left: left,
    ok: mismatches === 0 && faults.length === 0
  }
  return { verdict, faults }
}

/** Repairs by hand what the drained gateway has left; returns the marks that stay. */
async function repairRest({ dataDir, logPath }: Delivered): Promise<number> {
  const { marks_left } = await ask<{ marks_left: number }>(['repair', '--data-dir', dataDir, '--json'], logPath('repair'))
  return marks_left
}

/** Late readings by device, as the gateway's own command counts them. */
async function readLate({ dataDir, logPath }: Delivered): Promise<Map<string, number>> {
  const ledger = await ask<{ devices: { deviceId: string; late: number }[] }>(
    ['ledger', '--data-dir', dataDir, '--json'],
    logPath('ledger')
  )
  return new Map(ledger.devices.map(({ deviceId, late }) => [deviceId, late]))
}

async function ask<T>(args: readonly string[], logPath: string): Promise<T> {
  const child = new Child('gateway', args, logPath)
  let text = ''
  child.onLine(line => (text += line))
  const exit = await child.exited
  if (exit.code !== 0) throw child.unexpected(exit)
  return JSON.parse(text) as T
}

/** Of all feature rows; those in the files of repairs are told by the files' names. */
async function countRevisions(connection: DuckDBConnection, folder: string) {
  const from = await parquetBelow(connection, folder)
  if (from === null) return { revisions: 0, highest: 0, repaired: 0, doubled: 0 }
  const [[revisions, highest, repaired, doubled]] = await queryRows(
    connection,
    `SELECT count(*) FILTER (revision > 0), max(revision), count(*) FILTER (contains(filename, '-repair-')),
      count(*) - count(DISTINCT (device_id, as_of, revision)) FROM ${from.replace(/\)$/, ', filename = true)')}`
  )
  return { revisions: Number(revisions), highest: Number(highest), repaired: Number(repaired), doubled: Number(doubled) }
}

export function caseText(v: CaseVerdict): string {
  const delayed = v.delayed_within_panes + v.delayed_past_panes
  const lines: [string, string][] = [
    ['readings', `${v.readings}; ${v.late} late (${v.late_expected} expected), ${v.bystander_late} of the bystander`],
    ['features', `${v.rows_compared} rows compared, ${v.mismatches} mismatches, ${v.flags_undecided} flags undecided`],
    ['revisions', `${v.revisions} rows went out again, up to revision ${v.highest_revision}; ${v.repaired_rows} of all by repair`]
  ]
  if (delayed > 0) lines.push(['delayed', `${v.delayed_within_panes} within the panes, ${v.delayed_past_panes} past them`])
  return `${v.case}: ${v.ok ? 'ok' : 'NOT OK'}\n${lines.map(([name, text]) => `  ${name.padEnd(11)}${text}`).join('\n')}\n`
}
