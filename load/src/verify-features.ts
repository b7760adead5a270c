#!/usr/bin/env node
/** The command line of the features' proof: arguments, Ctrl-C, exit codes. 0: proved. 1: not so. 2: something to correct first. */
import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { caseText, verifyFeatures } from './features/verify.js'
import { endAs, requireWritableFolder, stopOnSignals, wholeNumber } from './proof-command.js'

const HELP = `
Delivers the recording to a real gateway three times: in order; with one device offline for a day, whose backlog comes when another
device is a day further; and with one reading in twenty late, half of them later than any pane is kept, so that a repair from the
archive must correct the features. Each time the final features must equal a DuckDB query over all readings.

Exit code 0: they do. 1: they do not; data and logs are kept. 2: something is to be corrected.

Examples:
  $ npm run verify:features -- --csv ../shared/data/skab/valve1-0.csv --profile water-loop
  $ npm run verify:features -- --csv ../shared/data/nab/machine_temperature_system_failure.csv \\
      --profile machine-temperature --profile-file load/profiles/nab-machine-temperature.yaml --seed 7`

interface Options {
  readonly csv: string
  readonly profile: string
  readonly profileFile?: string
  readonly seed: number
  readonly json?: string
  readonly keep?: string
}

const SEED_MAX = 2 ** 31 - 1

const program = new Command('verify-features')
  .description('Proves that features are the same however late their readings come.')
  .requiredOption('--csv <file>', 'recording: its first column is the time, the others are metrics')
  .requiredOption('--profile <name>', 'profile of its rows, like water-loop')
  .option('--profile-file <file>', 'YAML of the profile, where it is not built in')
  .option(
    '--seed <n>',
    'draws which readings are late; default: another each time',
    wholeNumber(SEED_MAX),
    Math.floor(Math.random() * SEED_MAX)
  )
  .option('--json <file>', 'write the figures as JSON')
  .option('--keep <dir>', 'keep configurations, logs and data folders')
  .addHelpText('after', HELP)
  .showHelpAfterError('(--help shows the options)')
  .exitOverride()

async function main(): Promise<number> {
  const options = program.parse().opts<Options>()
  if (options.json !== undefined) requireWritableFolder(options.json)
  const stopping = stopOnSignals()
  const onCase = (name: string, verdict: Parameters<typeof caseText>[0] | null) => {
    if (verdict !== null) process.stdout.write(caseText(verdict))
    else if (process.stderr.isTTY) process.stderr.write(`${name} …\n`)
  }
  try {
    const { verdict, faults, folder } = await verifyFeatures({ ...options, onCase, signal: stopping })
    for (const fault of faults) process.stdout.write(`  - ${fault}\n`)
    const said = verdict.ok ? 'OK: the same features, however late their readings came' : 'NOT OK'
    process.stdout.write(`${verdict.recording} as ${verdict.profile}, seed ${verdict.seed}: ${said}\n`)
    if (folder !== null) process.stdout.write(`data and logs: ${folder}\n`)
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(verdict, null, 2)}\n`)
    return verdict.ok ? 0 : 1
  } catch (error) {
    if (stopping.aborted) return 130
    throw error
  }
}

await endAs('verify-features', main)
