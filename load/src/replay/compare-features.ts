/**
 * Compares the archive's features, at their latest revision, with the reference: counts and extremes to the bit, the rest within
 * 1e-9 max(|value|, |mean of the window|). A flag that would come out otherwise if its operands moved by that much is undecided.
 */
import type { DuckDBConnection } from '@duckdb/node-api'
import type { Aggregate, FlagSpec, Profile } from '@tidemark/protocol'
import { parquetBelow, queryRows, quoteName } from './duckdb.js'
import type { ExpectedRow } from './expectation.js'
import { Faults } from './faults.js'
import { type ReferenceFeature, type ReferenceRow, readReference } from './feature-reference.js'

export interface FeatureComparison {
  /** Rows of the archive at their latest revision. */
  readonly featureRows: number
  /** Values that differ, and rows that are missing, doubled or explained by nothing (one each). */
  readonly featureMismatches: number
  readonly flagsUndecided: number
  readonly faults: readonly string[]
}

interface ArchivedRow {
  readonly deviceId: string
  readonly asOfMs: number
  /** Rows of this revision: one, unless it was written twice. */
  readonly copies: number
  readonly provisional: boolean
  readonly eventCount: number
  readonly coverage: number
  readonly features: readonly (number | null)[]
  readonly flags: readonly (boolean | null)[]
}

const TOLERANCE = 1e-9
const EXACT: ReadonlySet<Aggregate> = new Set(['count', 'min', 'max', 'last'])

export async function compareFeatures(
  connection: DuckDBConnection,
  archiveFolder: string,
  compared: {
    readonly profile: Profile
    readonly deviceId: string
    readonly expected: readonly ExpectedRow[]
    /** Devices whose rows are there by right and are not looked at. */
    readonly others?: readonly string[]
  }
): Promise<FeatureComparison> {
  const { profile, deviceId } = compared
  const reference = await readReference(connection, profile, compared.expected)
  const all = await readLatest(connection, `${archiveFolder}/curated/${profile.name}`, profile)
  const archived = all.filter(row => !compared.others?.includes(row.deviceId))
  const judge = new Judge(profile)
  const byTime = new Map<number, ArchivedRow>()
  for (const row of archived) {
    if (row.deviceId !== deviceId || byTime.has(row.asOfMs))
      judge.mismatch(row.asOfMs, `the row of device ${row.deviceId} has no right to be there`)
    else byTime.set(row.asOfMs, row)
  }
  for (const expected of reference) {
    const row = byTime.get(expected.asOfMs)
    if (row === undefined) judge.mismatch(expected.asOfMs, 'the row is missing')
    else judge.row(row, expected)
    byTime.delete(expected.asOfMs)
  }
  for (const asOfMs of byTime.keys()) judge.mismatch(asOfMs, 'there is a row although the hop holds no reading')
  return { featureRows: archived.length, featureMismatches: judge.mismatches, flagsUndecided: judge.undecided, faults: judge.faults.first }
}

class Judge {
  mismatches = 0
  undecided = 0
  readonly faults = new Faults()

  constructor(private readonly profile: Profile) {}

  mismatch(asOfMs: number, fault: string): void {
    this.mismatches++
    this.faults.add(`features as of ${new Date(asOfMs).toISOString()}: ${fault}`)
  }

  row(row: ArchivedRow, expected: ReferenceRow): void {
    const { asOfMs } = expected
    const complain = (name: string, is: unknown, shouldBe: unknown) => this.mismatch(asOfMs, `${name} is ${is} instead of ${shouldBe}`)
    if (row.copies !== 1) complain('the number of rows of the latest revision', row.copies, 1)
    if (row.provisional) complain('provisional', true, false)
    if (row.eventCount !== expected.eventCount) complain('event_count', row.eventCount, expected.eventCount)
    if (!isNear(row.coverage, expected.coverage, TOLERANCE * expected.coverage)) complain('coverage', row.coverage, expected.coverage)
    for (const [f, { name, aggregate }] of this.profile.features.entries()) {
      if (!isSameFeature(row.features[f], expected.features[f], aggregate)) complain(name, row.features[f], expected.features[f].value)
    }
    for (const [g, flag] of this.profile.flags.entries()) {
      const verdict = judgeFlag(flag, this.profile, expected, g)
      if (verdict === 'undecided') this.undecided++
      else if (row.flags[g] !== verdict) complain(flag.name, row.flags[g], verdict)
    }
  }
}

/** Zeros are equal whatever their sign: which of two equal extremes is met first is nobody's business. */
function isSameFeature(value: number | null, expected: ReferenceFeature, aggregate: Aggregate): boolean {
  if (value === null || expected.value === null) return value === expected.value
  return EXACT.has(aggregate) ? value === expected.value : isNear(value, expected.value, toleranceOf(expected))
}

function isNear(value: number, expected: number, tolerance: number): boolean {
  return Math.abs(value - expected) <= tolerance
}

function toleranceOf({ value, mean }: ReferenceFeature): number {
  return TOLERANCE * Math.max(Math.abs(value ?? 0), Math.abs(mean ?? 0))
}

/** What the flag must be: null where an operand is undefined. */
function judgeFlag(flag: FlagSpec, profile: Profile, expected: ReferenceRow, place: number): boolean | null | 'undecided' {
  const operand = (name: string) => expected.features[profile.features.findIndex(feature => feature.name === name)]
  const extremes = expected.hopExtremes[place]
  if (flag.flag === 'exceeds') {
    const of = operand(flag.of)
    if (extremes === null || of.value === null) return null
    const margin = flag.factor * toleranceOf(of)
    return above(extremes.max - flag.factor * of.value, margin)
  }
  const [mean, std] = [operand(flag.mean), operand(flag.std)]
  if (extremes === null || mean.value === null || std.value === null) return null
  const deviation = Math.max(extremes.max - mean.value, mean.value - extremes.min)
  const isFar = above(deviation - flag.factor * std.value, toleranceOf(mean) + flag.factor * toleranceOf(std))
  const isFarBeyondRounding = above(deviation - 1e-9 * Math.max(1, Math.abs(mean.value)), toleranceOf(mean))
  if (isFar === false || isFarBeyondRounding === false) return false
  return isFar === 'undecided' || isFarBeyondRounding === 'undecided' ? 'undecided' : true
}

/** Whether `difference` is above 0, where its true value may lie `margin` to either side. */
function above(difference: number, margin: number): boolean | 'undecided' {
  if (difference > margin) return true
  return difference <= -margin ? false : 'undecided'
}

async function readLatest(connection: DuckDBConnection, folder: string, profile: Profile): Promise<ArchivedRow[]> {
  const from = await parquetBelow(connection, folder)
  if (from === null) return []
  const names = [...profile.features, ...profile.flags].map(({ name }) => quoteName(name))
  const columns = ['device_id', 'epoch_ms(as_of)', 'copies', 'provisional', 'event_count', 'coverage', ...names].join(', ')
  const rows = await queryRows(
    connection,
    `SELECT ${columns} FROM (SELECT *, count(*) OVER (PARTITION BY device_id, as_of, revision) AS copies FROM ${from})
    QUALIFY row_number() OVER (PARTITION BY device_id, as_of ORDER BY revision DESC) = 1 ORDER BY as_of`
  )
  return rows.map(([deviceId, asOfMs, copies, provisional, eventCount, coverage, ...values]) => ({
    deviceId: String(deviceId),
    asOfMs: Number(asOfMs),
    copies: Number(copies),
    provisional: provisional === true,
    eventCount: Number(eventCount),
    coverage: Number(coverage),
    features: values.slice(0, profile.features.length) as (number | null)[],
    flags: values.slice(profile.features.length) as (boolean | null)[]
  }))
}
