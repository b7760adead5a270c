#!/usr/bin/env node
/** The command line of the load runner: arguments, Ctrl-C, files, exit codes. 0: the scenario holds. 1: not. 2: something to correct. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { duration, endAs, requireWritableFolder, stopOnSignals } from './proof-command.js'
import { consoleFor } from './run/console.js'
import { htmlReport } from './run/html-report.js'
import { thisMachine } from './run/machine.js'
import { resultOf } from './run/outcome.js'
import { play } from './run/play.js'
import { readScenario, scenarioNames } from './run/scenario.js'
import { tableText } from './run/table.js'

interface Options {
  readonly for?: number
  readonly devices?: number
  readonly seed?: number
  readonly json?: string
  readonly report?: string
  readonly keep?: string
}

const program = new Command('npm run load --')
  .description('Plays a scenario: a real gateway, a simulated fleet, and the proof that what was sent is in the archive exactly once.')
  .argument('<scenario>', `a YAML file, or one of ${scenarioNames().join(', ')}`)
  .option('--for <duration>', 'how long readings are sent, in place of what the scenario says', duration)
  .option('--devices <n>', 'how many devices, in place of what the scenario says', whole)
  .option('--seed <n>', 'another seed', whole)
  .option('--json <file>', 'write the figures as JSON')
  .option('--report <file>', 'write a report with charts, one HTML file that works offline')
  .option('--keep <dir>', "keep configuration, logs and the gateway's data in this folder")
  .addHelpText(
    'after',
    `
Examples:
  $ npm run load -- steady-10k --report steady.html
  $ npm run load -- load/scenarios/ramp.yaml --json ramp.json
  $ npm run load -- steady-100k --for 5m --devices 50000

Ctrl-C ends the sending early; what was sent is verified all the same. A second Ctrl-C ends at once.
Exit code: 0 nothing is missing, doubled or different, and the scenario's limits hold; 1 that is not so; 2 something is to be corrected.`
  )
  .showHelpAfterError('(--help shows the options)')
  .exitOverride()

function whole(text: string): number {
  if (/^\d{1,9}$/.test(text) && Number(text) > 0) return Number(text)
  throw new InvalidArgumentError('Give a whole number above 0.')
}

async function main(): Promise<number> {
  program.parse()
  const options = program.opts<Options>()
  const { for: forMs, devices, seed } = options
  const scenario = readScenario(program.args[0], {
    ...(forMs === undefined ? {} : { forMs }),
    ...(devices === undefined ? {} : { devices }),
    ...(seed === undefined ? {} : { seed })
  })
  if (options.json !== undefined) requireWritableFolder(options.json, '--json')
  if (options.report !== undefined) requireWritableFolder(options.report, '--report')
  const dir = options.keep === undefined ? mkdtempSync(join(tmpdir(), 'tidemark-load-')) : resolve(options.keep)
  mkdirSync(dir, { recursive: true })
  const stopping = stopOnSignals()
  const view = consoleFor(process.stderr)
  process.stdout.write(`${scenario.name}: ${scenario.about}\n`)
  try {
    const played = await play(scenario, dir, view, stopping).finally(() => view.end())
    const result = resultOf(played, thisMachine())
    process.stdout.write(tableText(result))
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`)
    if (options.report !== undefined) writeFileSync(options.report, htmlReport(result, played.points, scenario.about))
    return result.ok ? 0 : 1
  } finally {
    if (options.keep === undefined) rmSync(dir, { recursive: true, force: true })
  }
}

await endAs('load', main)
process.exit() // where the gateway has died, a fleet would go on trying for a while
