#!/usr/bin/env node
/** The command line of the agent's proof: arguments, Ctrl-C, exit codes. 0: proved. 1: not so. 2: something to correct first. */
import { Command } from 'commander'
import type { Durability } from './agent-proof/ordeal.js'
import { KILLS_MIN } from './agent-proof/plan.js'
import { proofText, showOrdeal } from './agent-proof/report.js'
import { verifyAgent } from './agent-proof/verify.js'
import { endAs, stopOnSignals, wholeNumber } from './proof-command.js'
import { UsageError } from './replay/replay-error.js'

const HELP = `
72 h at a reading a second are 259,200 readings. They are taken every millisecond, so time is compressed: by the number of readings
nothing is left out, and kills, full disks and damage come among them as they would in 72 h. The gateway is away all that while.
Needs root, to mount a small disk. Exit code 0: nothing is lost but what a tombstone declares. 1: that is not so; data and logs are kept.

Examples:
  $ sudo npm run verify:agent
  $ sudo npm run verify:agent -- --durability spill --seed 7 --readings 20000 --kills 20`

interface Options {
  readonly readings: number
  readonly kills: number
  readonly durability: Durability
  readonly seed: number
  readonly keep?: string
  readonly json?: true
}

const READINGS_MIN = 1000
const COMMIT_INTERVAL_MS = 100

const program = new Command('verify-agent')
  .description(
    'Puts a real agent through 72 h without a gateway, kills, full disks and a damaged buffer, and proves that its ledger balances.'
  )
  .option('--readings <n>', 'readings that are taken, one each ms', wholeNumber(10_000_000), 259_200)
  .option('--kills <n>', `SIGKILLs, at least ${KILLS_MIN + 1}`, wholeNumber(1000), 100)
  .option('--durability <strict|spill>', "as in the agent's configuration; spill commits every 100 ms", 'strict')
  .option('--seed <n>', 'draws all that happens; default: another each time', wholeNumber(2 ** 31 - 2), Math.floor(Math.random() * 2 ** 31))
  .option('--keep <dir>', 'keep configurations, logs and data of the gateway')
  .option('--json', 'print JSON')
  .addHelpText('after', HELP)
  .showHelpAfterError('(--help shows the options)')
  .exitOverride()

function check({ readings, kills, durability }: Options): void {
  if (readings < READINGS_MIN) throw new UsageError(`--readings must be at least ${READINGS_MIN}`)
  if (kills <= KILLS_MIN) throw new UsageError(`--kills must be at least ${KILLS_MIN + 1}`)
  if (durability !== 'strict' && durability !== 'spill') throw new UsageError('--durability must be strict or spill')
}

await endAs('verify-agent', async () => {
  const options = program.parse().opts<Options>()
  check(options)
  const signal = stopOnSignals()
  const shown = showOrdeal(options.readings, options.json === true)
  try {
    const { proof, folder } = await verifyAgent({
      ...options,
      intervalMs: 1,
      commitIntervalMs: COMMIT_INTERVAL_MS,
      signal,
      ...shown.events
    })
    shown.stop()
    process.stdout.write(options.json ? `${JSON.stringify(proof)}\n` : proofText(proof))
    if (folder !== null) process.stderr.write(`data and logs: ${folder}\n`)
    return proof.violations.length === 0 ? 0 : 1
  } catch (error) {
    if (signal.aborted) return 130
    throw error
  } finally {
    shown.stop()
  }
})
