#!/usr/bin/env node
/** `npm run pack:agent`: the agent as one tarball that installs alone. Exit code 0: made. 2: something to correct first. */
import { Command } from 'commander'
import { packAgent } from './agent-package/pack.js'
import { endAs } from './proof-command.js'

const program = new Command('pack-agent')
  .description('Makes the tarball that a device installs: the agent with all that it needs, and nothing of the gateway.')
  .option('--out <folder>', 'where to put it', '.')
  .addHelpText(
    'after',
    '\nExample:\n  $ npm run pack:agent\n  $ scp tidemark-agent-*.tgz pi@pump-7:\n  $ ssh pi@pump-7 sudo npm install -g ./tidemark-agent-*.tgz'
  )
  .exitOverride()

await endAs('pack-agent', async () => {
  process.stdout.write(`${await packAgent(program.parse().opts<{ out: string }>().out)}\n`)
  return 0
})
