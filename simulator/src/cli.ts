#!/usr/bin/env node
/** The command line of the simulator: commands, and how errors become a line and an exit code. */
import { Command, CommanderError } from 'commander'
import { addGenerateCommand } from './generate-command.js'
import { addLabelsCommand } from './labels-command.js'
import { addRunCommand } from './run-command.js'
import { addVerifyCommand } from './verify-command.js'

const FAILED = 1
const USAGE = 2
/** Codes of errors that the person who typed the command can put right. */
const USAGE_CODES: readonly unknown[] = ['USAGE', 'BROKER_UNREACHABLE', 'BROKER_REFUSED', 'RESOURCE']

const program = new Command('tidemark-sim')
  .description('plays a fleet of virtual machines that is its own oracle: every reading is a function of seed, device and seq')
  .exitOverride()
  .showHelpAfterError('(see --help)')
  .addHelpText(
    'after',
    `
Example:
  $ tidemark-sim run --url mqtt://127.0.0.1:1883 --devices 1000 --for 60s --out run.json
  $ tidemark-sim verify --archive data/archive --run run.json`
  )

const exit = (code: number) => {
  process.exitCode = code
}
addRunCommand(program, exit)
addVerifyCommand(program, exit)
addGenerateCommand(program, exit)
addLabelsCommand(program)

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : USAGE
  else {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    process.stderr.write(`tidemark-sim: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = USAGE_CODES.includes(code) ? USAGE : FAILED
  }
}
