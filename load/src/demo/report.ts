/** What is printed when the demo is over: the ledger, three queries, where the archive is. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { VerifyResult } from '@tidemark/simulator'

const GATEWAY_CLI = fileURLToPath(new URL('../../../gateway/dist/cli.js', import.meta.url))

/** The ledger in total, as `tidemark-gateway ledger --json` says it. */
export interface LedgerTotal {
  readonly sampled: number
  readonly archived: number
  readonly quarantined: number
  readonly shed: number
  readonly buffered: number
  readonly missing: number
  readonly duplicates: number
  readonly late: number
  readonly doubled: number
}

const QUERIES: readonly (readonly [string, string])[] = [
  [
    'The hottest machines',
    'SELECT device_id, count(*) AS readings, round(avg(temperature), 2) AS temp_mean, max(temperature) AS temp_max FROM readings_rotating_machine GROUP BY device_id ORDER BY temp_max DESC LIMIT 5'
  ],
  [
    'Features, their latest revision',
    'SELECT device_id, as_of, revision, event_count, round(temp_mean_1h, 3) AS temp_mean_1h, round(temp_std_1h, 4) AS temp_std_1h, vibration_max_1h, temp_anomaly, vibration_spike FROM features_rotating_machine ORDER BY vibration_max_1h DESC LIMIT 5'
  ],
  [
    'What was quarantined, and why',
    'SELECT reason, count(*) AS rows, min(detail) AS example FROM quarantine GROUP BY reason ORDER BY rows DESC'
  ]
]

export function readLedger(dataDir: string): { total: LedgerTotal; ok: boolean } {
  return JSON.parse(gateway(['ledger', '--data-dir', dataDir, '--json']))
}

export function printReport(dataDir: string, ledger: { total: LedgerTotal; ok: boolean }, verified: VerifyResult): void {
  const { total } = ledger
  const fates = ['archived', 'quarantined', 'shed', 'buffered', 'missing'] as const
  print('\nThe ledger')
  for (const fate of fates) print(`  ${fate.padEnd(12)}${number(total[fate])}`)
  print(`  ${''.padEnd(12)}${'─'.repeat(12)}`)
  print(`  ${'sampled'.padEnd(12)}${number(total.sampled)}   ${ledger.ok ? 'balanced for every device and epoch' : 'DOES NOT BALANCE'}`)
  print(`  duplicates dropped ${total.duplicates}, late ${total.late}, doubled ${total.doubled}`)
  print(`\nThe archive against the simulator's function: ${verified.ok ? 'equal' : 'NOT EQUAL'}`)
  print(
    `  ${verified.archived} of ${verified.expected} readings, ${verified.missing} missing, ${verified.doubled} doubled, ${verified.different} different`
  )
  print(`  ${verified.quarantined} of ${verified.quarantinedExpected} quarantined as they must be`)
  for (const [title, sql] of QUERIES) {
    print(`\n${title}\n  $ tidemark-gateway sql --data-dir ${dataDir} "${sql}"`)
    print(gateway(['sql', '--data-dir', dataDir, sql]).trimEnd())
  }
}

/** Runs a command of the gateway's. Exit code 1 is an answer (a ledger that does not balance); others are thrown. */
function gateway(args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [GATEWAY_CLI, ...args], { encoding: 'utf8', maxBuffer: 1 << 28 })
  if (status !== 0 && status !== 1) throw new Error(`tidemark-gateway ${args[0]} ended with ${status}: ${stderr.trim()}`)
  return stdout
}

function number(value: number): string {
  return String(value).padStart(12)
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
