/** `tidemark-sim verify`: what a run left behind, against an archive. */
import type { Command } from 'commander'
import { readRun } from './options.js'
import { shareBar } from './progress.js'
import type { VerifyResult } from './verify.js'

interface VerifyOptions {
  readonly archive: string
  readonly run: string
  readonly json?: true
}

export function addVerifyCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('verify')
    .description('recompute what the archive must hold after a run, and compare')
    .requiredOption('--archive <dir>', 'the archive: the folder with processed/ and quarantine/')
    .requiredOption('--run <file>', 'what `run --out` wrote')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Example:
  $ tidemark-sim verify --archive data/archive --run run.json

The gateway must have written out what it took in: stop it first, or wait for its flush.
Exit code: 0 the archive is right; 1 it is not; 2 wrong options.`
    )
    .action(async (options: VerifyOptions) => {
      // Loaded only here: DuckDB takes 40 MB that a fleet has better use for.
      const { resultToJson, verifyArchive } = await import('./verify.js')
      const run = readRun(options.run)
      const bar = shareBar(process.stderr)
      const result = await verifyArchive({ archiveDir: options.archive, run, onProgress: bar.show }).finally(bar.end)
      process.stdout.write(options.json ? `${JSON.stringify(resultToJson(result))}\n` : summaryOf(result))
      exit(result.ok ? 0 : 1)
    })
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
