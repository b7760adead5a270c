#!/usr/bin/env node
/** The command line of the replay proof: arguments, Ctrl-C, exit codes. 0: proved. 1: not so. 2: something to correct first. */
import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { endAs, requireWritableFolder, stopOnSignals, wholeNumber } from './proof-command.js'
import { showReplay } from './replay/console.js'
import { verdictText } from './replay/verdict.js'
import { verifyReplay } from './replay/verify.js'

const HELP = `
Exit code 0: every row of the recording is in the archive exactly once, equal to the bit, and every feature is what its formula
says, although both processes were killed on the way. 1: that is not so; data and logs are kept. 2: something is to be corrected.

Examples:
  $ npm run verify:replay -- --csv ../shared/data/skab/valve1-0.csv --profile water-loop
  $ npm run verify:replay -- --csv ../shared/data/nab/machine_temperature_system_failure.csv \\
      --profile machine-temperature --profile-file load/profiles/nab-machine-temperature.yaml --kills 5 --seed 7`

interface Options {
  readonly csv: string
  readonly profile: string
  readonly profileFile?: string
  readonly kills: number
  readonly seed: number
  readonly json?: string
  readonly keep?: string
}

const program = new Command('verify-replay')
  .description('Replays a recording through a real agent and a real gateway, kills both, and proves that the archive holds it.')
  .requiredOption('--csv <file>', 'recording: its first column is the time, the others are metrics')
  .requiredOption('--profile <name>', 'profile of its rows, like water-loop')
  .option('--profile-file <file>', 'YAML of the profile, where it is not built in')
  .option('--kills <n>', 'how often each of the two processes is killed', wholeNumber(1000), 5)
  .option(
    '--seed <n>',
    'draws when they are killed; default: another each time',
    wholeNumber(2 ** 31 - 1),
    Math.floor(Math.random() * 2 ** 31)
  )
  .option('--json <file>', 'write the figures as JSON')
  .option('--keep <dir>', "keep configurations, buffer, logs and, in DIR/gateway, the gateway's data")
  .addHelpText('after', HELP)
  .showHelpAfterError('(--help shows the options)')
  .exitOverride()

async function main(): Promise<number> {
  const options = program.parse().opts<Options>()
  if (options.json !== undefined) requireWritableFolder(options.json)
  const stopping = stopOnSignals()
  let shown: ReturnType<typeof showReplay> | null = null
  const show = (rows: number) => {
    shown = showReplay(rows)
    return shown
  }
  try {
    const { verdict, faults, folder } = await verifyReplay({ ...options, show, signal: stopping }).finally(() => shown?.stop())
    process.stdout.write(`\n${verdict.recording} as ${verdict.profile}\n${verdictText(verdict)}`)
    for (const fault of faults) process.stdout.write(`  - ${fault}\n`)
    if (folder !== null) process.stdout.write(`data and logs: ${folder}\n`)
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(verdict, null, 2)}\n`)
    return verdict.ok ? 0 : 1
  } catch (error) {
    if (stopping.aborted) return 130
    throw error
  }
}

await endAs('verify-replay', main)
