#!/usr/bin/env node
/** The command line of the features' proof: arguments, Ctrl-C, exit codes. 0: proved. 1: not so. 2: something to correct first. */
import { accessSync, constants, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { caseText, verifyFeatures } from './features/verify.js'
import { UsageError } from './replay/replay-error.js'
import { UnfinishedReplayError } from './replay/verify.js'

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
  .option('--seed <n>', 'draws which readings are late; default: another each time', seed, Math.floor(Math.random() * SEED_MAX))
  .option('--json <file>', 'write the figures as JSON')
  .option('--keep <dir>', 'keep configurations, logs and data folders')
  .addHelpText('after', HELP)
  .showHelpAfterError('(--help shows the options)')
  .exitOverride()

function seed(text: string): number {
  if (/^\d{1,10}$/.test(text) && Number(text) <= SEED_MAX) return Number(text)
  throw new InvalidArgumentError(`give a whole number from 0 to ${SEED_MAX}`)
}

/** Said before the proof, not behind it. */
function expectWritable(folder: string): void {
  try {
    accessSync(folder, constants.W_OK)
  } catch (cause) {
    throw new UsageError(`cannot write in ${folder} (${(cause as NodeJS.ErrnoException).code}): correct --json`, { cause })
  }
}

async function main(): Promise<number> {
  const options = program.parse().opts<Options>()
  if (options.json !== undefined) expectWritable(dirname(resolve(options.json)))
  const stopping = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort())
  const onCase = (name: string, verdict: Parameters<typeof caseText>[0] | null) => {
    if (verdict !== null) process.stdout.write(caseText(verdict))
    else if (process.stderr.isTTY) process.stderr.write(`${name} …\n`)
  }
  try {
    const { verdict, faults, folder } = await verifyFeatures({ ...options, onCase, signal: stopping.signal })
    for (const fault of faults) process.stdout.write(`  - ${fault}\n`)
    const said = verdict.ok ? 'OK: the same features, however late their readings came' : 'NOT OK'
    process.stdout.write(`${verdict.recording} as ${verdict.profile}, seed ${verdict.seed}: ${said}\n`)
    if (folder !== null) process.stdout.write(`data and logs: ${folder}\n`)
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(verdict, null, 2)}\n`)
    return verdict.ok ? 0 : 1
  } catch (error) {
    if (stopping.signal.aborted) return 130
    throw error
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    process.stderr.write(`verify-features: ${error instanceof Error ? error.message : String(error)}\n`)
    if (error instanceof UnfinishedReplayError) process.stderr.write(`data and logs: ${error.folder}\n`)
    process.exitCode = error instanceof UsageError ? 2 : 1
  }
}
