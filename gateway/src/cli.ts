#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { addCompactCommand } from './commands/compact.js'
import { addCompletenessCommand } from './commands/completeness.js'
import { addDeviceCommand } from './commands/device.js'
import { addLedgerCommand } from './commands/ledger.js'
import { addQuarantineCommand } from './commands/quarantine.js'
import { addRepairCommand } from './commands/repair.js'
import { addReprocessCommand } from './commands/reprocess.js'
import { addSqlCommand } from './commands/sql.js'
import { addStartCommand } from './commands/start.js'
import { addTrainingSetCommand } from './commands/training-set.js'
import { ConfigError } from './config.js'

const FAILED = 1
const USAGE = 2

const program = new Command('tidemark-gateway')
  .description("Tidemark's gateway: takes readings in over MQTT, and writes a Parquet archive and maintenance features.")
  .version('0.1.0')
  .showHelpAfterError('(see --help)')
  .exitOverride()
addStartCommand(program)
addSqlCommand(program)
addLedgerCommand(program)
addCompletenessCommand(program)
addDeviceCommand(program)
addCompactCommand(program)
addTrainingSetCommand(program)
addQuarantineCommand(program)
addRepairCommand(program)
addReprocessCommand(program)

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : USAGE
  else if (!(error instanceof Error)) throw error
  else {
    process.stderr.write(`tidemark-gateway: ${error.message}\n`)
    process.exit(error instanceof ConfigError ? USAGE : FAILED)
  }
}
