/** `tidemark-sim verify`: what a run left behind, against an archive. */
import type { Command } from 'commander'
import { UsageError } from './broker.js'
import { addFaultOptions, type FaultOptions, faultsOf } from './fault-options.js'
import { planOf } from './fleet-plan.js'
import { durationOf, numberOf, readRun, timeOf } from './options.js'
import { shareBar } from './progress.js'
import { type Run, runOf } from './run-file.js'
import type { VerifyResult } from './verify.js'

interface VerifyOptions extends FaultOptions {
  readonly archive: string
  readonly run?: string
  readonly seed: number
  readonly firstDevice: number
  readonly interval: number
  readonly start?: number
  readonly for: number
  readonly json?: true
}

export function addVerifyCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('verify')
    .description('recompute what the archive must hold after a run, and compare')
    .requiredOption('--archive <dir>', 'the archive: the folder with processed/ and quarantine/')
    .option('--run <file>', 'what `run --out` wrote; without it, the options of the run follow:')
    .option('--seed <n>', 'its seed', numberOf, 1)
    .option('--devices <n>', 'its devices', numberOf, 100)
    .option('--first-device <index>', 'its first device', numberOf, 0)
    .option('--interval <duration>', 'how often each device took a reading', durationOf, 5000)
    .option('--start <time>', 'event time of its first reading, RFC 3339', timeOf)
    .option('--for <duration>', 'how long it sampled', durationOf, 60_000)
  addFaultOptions(command)
  command
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ tidemark-sim verify --archive data/archive --run run.json
  $ tidemark-sim verify --archive data/archive --seed 7 --devices 1000 --start 2026-11-24T13:00:00Z --for 60s

The gateway must have written out what it took in: stop it first, or wait for its flush.
Exit code: 0 the archive is right; 1 it is not; 2 wrong options.`
    )
    .action(async (options: VerifyOptions) => {
      // Loaded only here: DuckDB takes 40 MB that a fleet has better use for.
      const { resultToJson, verifyArchive } = await import('./verify.js')
      const run = options.run === undefined ? wholeRun(options) : readRun(options.run)
      const bar = shareBar(process.stderr)
      const result = await verifyArchive({ archiveDir: options.archive, run, onProgress: bar.show }).finally(bar.end)
      process.stdout.write(options.json ? `${JSON.stringify(resultToJson(result))}\n` : summaryOf(result))
      exit(result.ok ? 0 : 1)
    })
}

/** The run that these options make, if it was not stopped early. */
function wholeRun(options: VerifyOptions): Run {
  if (options.start === undefined) throw new UsageError('give --run with what `run --out` wrote, or --start with the options of the run')
  const { devices, seed, firstDevice, interval, start } = options
  const fleet = { url: '', devices, seed, firstDevice, intervalMs: interval, startMs: start, forMs: options.for, ...faultsOf(options) }
  return runOf(planOf(fleet, start), options.for)
}

function summaryOf(result: VerifyResult): string {
  const lines = [
    `archive:    ${result.archived} of ${result.expected} readings, ${result.late} of them late`,
    `            ${result.missing} missing, ${result.doubled} doubled, ${result.different} different, ${result.unexpected} unexpected`,
    `quarantine: ${result.quarantined} of ${result.quarantinedExpected} readings, ${result.quarantineMissing} missing, ${result.quarantineUnexpected} unexpected`,
    `            ${result.undecodable} of ${result.undecodableExpected} undecodable messages`
  ]
  return `${lines.join('\n')}\n${result.ok ? 'ok: the archive holds exactly what was sent' : 'NOT ok'}\n`
}
