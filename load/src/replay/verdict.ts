/** The outcome of a replay: the figures, whether they prove what was to be proved, and what to tell people. */
import type { FeatureComparison } from './compare-features.js'
import type { RowComparison } from './compare-rows.js'
import type { ExpectedRow, Fate } from './expectation.js'
import type { LedgerTotals } from './ledger.js'
import type { Replayed } from './replay.js'

/** What `--json` writes. */
export interface Verdict {
  readonly recording: string
  readonly profile: string
  readonly device: string
  readonly seed: number
  readonly rows: number
  readonly archived: number
  readonly quarantined: number
  readonly shed: number
  readonly missing: number
  readonly doubled: number
  readonly mismatched: number
  readonly feature_rows: number
  readonly feature_mismatches: number
  readonly flags_undecided: number
  readonly agent_kills: number
  readonly gateway_kills: number
  readonly kills_with_unacked: number
  readonly kills_with_unflushed: number
  readonly kills_between_commit_and_rename: number
  /** Readings. */
  readonly duplicates_delivered: number
  readonly duplicates_counted: number
  readonly ledger_balanced: boolean
  readonly seconds: number
  readonly ok: boolean
}

export interface Outcome {
  readonly recording: string
  readonly profile: string
  readonly device: string
  readonly seed: number
  /** Of each process. */
  readonly killsWanted: number
  readonly seconds: number
  readonly expected: readonly ExpectedRow[]
  readonly replayed: Replayed
  readonly rows: RowComparison
  readonly features: FeatureComparison
  readonly ledger: LedgerTotals
  /** Hours that the catalog marks for a repair of their features. */
  readonly repairs: number
}

export function judge(outcome: Outcome): { readonly verdict: Verdict; readonly faults: readonly string[] } {
  const { rows, features, replayed, ledger, killsWanted } = outcome
  const { agentKills, gatewayKills, duplicatesDelivered } = replayed
  const expected = (fate: Fate) => outcome.expected.filter(row => row.fate === fate).length
  const faults = [...rows.faults, ...features.faults]
  const insist = (holds: boolean, fault: string) => {
    if (!holds) faults.push(fault)
  }
  insist(
    features.featureMismatches === 0 || outcome.repairs === 0,
    `the catalog marks the features of ${outcome.repairs} hours for repair: readings came later than the profile's "corrections" reach back`
  )
  insist(ledger.isBalanced && ledger.missing === 0, `the gateway's ledger does not balance, or has ${ledger.missing} readings missing`)
  insist(ledger.shed === expected('shed'), `${ledger.shed} rows are declared as shed instead of ${expected('shed')}`)
  insist(agentKills.length === killsWanted, `the agent was killed ${agentKills.length} times, not ${killsWanted}`)
  insist(gatewayKills.length === killsWanted, `the gateway was killed ${gatewayKills.length} times, not ${killsWanted}`)
  insist(duplicatesDelivered > 0, 'nothing was delivered twice')
  insist(
    ledger.duplicates >= duplicatesDelivered,
    `the gateway counted ${ledger.duplicates} duplicates, where ${duplicatesDelivered} readings were delivered twice on purpose`
  )
  const isEqual = rows.missing + rows.doubled + rows.mismatched + features.featureMismatches === 0
  const verdict: Verdict = {
    recording: outcome.recording,
    profile: outcome.profile,
    device: outcome.device,
    seed: outcome.seed,
    rows: outcome.expected.length,
    archived: rows.archived,
    quarantined: rows.quarantined,
    shed: ledger.shed,
    missing: rows.missing,
    doubled: rows.doubled,
    mismatched: rows.mismatched,
    feature_rows: features.featureRows,
    feature_mismatches: features.featureMismatches,
    flags_undecided: features.flagsUndecided,
    agent_kills: agentKills.length,
    gateway_kills: gatewayKills.length,
    kills_with_unacked: agentKills.filter(kill => kill.isUnacked).length,
    kills_with_unflushed: gatewayKills.filter(kill => kill.isUnflushed).length,
    kills_between_commit_and_rename: gatewayKills.filter(kill => kill.isBetweenCommitAndRename).length,
    duplicates_delivered: duplicatesDelivered,
    duplicates_counted: ledger.duplicates,
    ledger_balanced: ledger.isBalanced,
    seconds: outcome.seconds,
    ok: isEqual && faults.length === 0
  }
  return { verdict, faults }
}

export function verdictText(v: Verdict): string {
  const elsewhere = [v.quarantined > 0 ? `${v.quarantined} quarantined` : '', v.shed > 0 ? `${v.shed} shed` : ''].filter(
    part => part !== ''
  )
  const lines: [string, string][] = [
    [
      'rows',
      `${v.rows} recorded; ${[`${v.archived} archived`, ...elsewhere].join(', ')}; ${v.missing} missing, ${v.doubled} doubled, ${v.mismatched} mismatched`
    ],
    ['features', `${v.feature_rows} rows; ${v.feature_mismatches} mismatches, ${v.flags_undecided} flags undecided`],
    ['agent', `killed ${v.agent_kills} times, ${v.kills_with_unacked} with published readings that were not deleted yet`],
    [
      'gateway',
      `killed ${v.gateway_kills} times, ${v.kills_with_unflushed} with unflushed readings, ${v.kills_between_commit_and_rename} between commit and rename`
    ],
    ['duplicates', `${v.duplicates_delivered} delivered on purpose, ${v.duplicates_counted} counted in all`],
    ['ledger', v.ledger_balanced ? 'balanced' : 'NOT BALANCED'],
    ['seed', `${v.seed} (${v.seconds} s)`]
  ]
  const verdict = v.ok ? 'OK: what went in came out, exactly once' : 'NOT OK'
  return `${lines.map(([name, text]) => `  ${name.padEnd(11)}${text}`).join('\n')}\n${verdict}\n`
}
