#!/usr/bin/env node
/** The command line of the prediction proof: arguments, Ctrl-C, exit codes. 0: proved. 1: not so. 2: something to correct first. */
import { writeFileSync } from 'node:fs'
import { durationMs } from '@tidemark/protocol'
import { Command, InvalidArgumentError } from 'commander'
import { verdictOf, verdictText, verdictToJson } from './prediction/verdict.js'
import { verifyPrediction } from './prediction/verify.js'
import { endAs, requireWritableFolder, stopOnSignals } from './proof-command.js'

const HELP = `
A simulated fleet with wear and failures sends its history to a real gateway, whose time follows it; some devices are out of reach for
hours, so that their readings come late. Labels say who fails within 24 h. A logistic regression is trained on the features as they
were known, on those of a join that leaks, and on shuffled labels; and tested on other machines, later.

Exit code 0: the features carry signal, and the leak looks better than the truth. 1: that is not so. 2: something is to be corrected.

Examples:
  $ npm run verify:prediction
  $ npm run verify:prediction -- --devices 500 --days 30 --seed 7 --json prediction.json --keep ./prediction`

interface Options {
  readonly devices: number
  readonly days: number
  readonly seed: number
  readonly interval: string
  readonly publishEvery: string
  readonly outages: number
  readonly json?: string
  readonly keep?: string
}

const program = new Command('verify-prediction')
  .description('Shows that features as they were known predict failures, and how much better a join that leaks pretends to be.')
  .option('--devices <n>', 'simulated machines', whole(10_000), 200)
  .option('--days <n>', 'how much time the history covers', whole(366), 20)
  .option('--seed <n>', 'machines, failures, outages and draws follow from it', whole(2 ** 31 - 1), 1)
  .option('--interval <duration>', 'how often a machine is measured', duration, '5m')
  .option('--publish-every <duration>', 'how often a machine in reach sends', duration, '1h')
  .option('--outages <rate>', 'share of days on which a machine falls out of reach', rate, 0.25)
  .option('--json <file>', 'write the figures as JSON')
  .option('--keep <dir>', 'keep archive, labels and training set in this (empty) folder')
  .addHelpText('after', HELP)
  .showHelpAfterError('(--help shows the options)')
  .exitOverride()

function whole(max: number): (text: string) => number {
  return text => {
    if (/^\d{1,10}$/.test(text) && Number(text) <= max && Number(text) > 0) return Number(text)
    throw new InvalidArgumentError(`give a whole number from 1 to ${max}`)
  }
}

function duration(text: string): string {
  try {
    if (durationMs(text) > 0) return text
  } catch {
    // said below
  }
  throw new InvalidArgumentError('write a number and ms, s, m, h or d, like 5m')
}

function rate(text: string): number {
  if (text.trim() !== '' && Number(text) >= 0 && Number(text) <= 1) return Number(text)
  throw new InvalidArgumentError('give a share in 0..1')
}

async function main(): Promise<number> {
  const options = program.parse().opts<Options>()
  if (options.json !== undefined) requireWritableFolder(options.json)
  const stopping = stopOnSignals()
  try {
    const say = (line: string) => process.stdout.write(`${line}\n`)
    const found = await verifyPrediction({ ...options, signal: stopping, say })
    const verdict = verdictOf(found)
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(verdictToJson(found, verdict), null, 2)}\n`)
    process.stdout.write(`\n${verdictText(found, verdict)}`)
    return verdict.faults.length === 0 ? 0 : 1
  } catch (error) {
    if (stopping.aborted) return 130
    throw error
  }
}

await endAs('verify-prediction', main)
