#!/usr/bin/env node
/** The command line: arguments, signals, exit codes. 0: done. 1: could not go on. 2: something to correct first. */
import './small-heap.js'
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { BufferOpenError } from './buffer-error.js'
import { readConfig } from './config.js'
import { ConfigError } from './config-error.js'
import type { RunningAgent } from './running-agent.js'

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

interface StartOptions {
  readonly config: string
  readonly once?: true
}

interface StatusOptions {
  readonly config: string
  readonly json?: true
}

interface DoctorOptions extends StatusOptions {
  readonly repair?: true
}

const program = new Command('tidemark-agent')
  .description('Samples sensors, buffers readings on disk and publishes them to a Tidemark gateway, exactly once.')
  .version(version)
  .exitOverride()
  .configureHelp({ showGlobalOptions: true })

program
  .command('start')
  .description('run the agent until Ctrl-C')
  .requiredOption('--config <file>', 'configuration (YAML)')
  .option('--once', 'end when the source has ended and everything is acked; a live source gives one reading')
  .addHelpText(
    'after',
    '\nExample:\n  $ tidemark-agent start --config pump-7.yaml\n\nA second Ctrl-C ends at once; nothing that is buffered is lost either way.'
  )
  .action(start)

program
  .command('status')
  .description('show what is buffered and acked, beside a running agent or without one')
  .requiredOption('--config <file>', 'configuration (YAML)')
  .option('--json', 'as JSON, for scripts')
  .addHelpText('after', '\nExample:\n  $ tidemark-agent status --config pump-7.yaml')
  .action(status)

program
  .command('doctor')
  .description('check the buffer, and salvage it where it is damaged')
  .requiredOption('--config <file>', 'configuration (YAML)')
  .option('--repair', 'salvage a damaged buffer; the agent must not be running')
  .option('--json', 'as JSON, for scripts')
  .addHelpText(
    'after',
    '\nExit code 0: it is sound, or was salvaged. 1: it is damaged. The agent salvages by itself when it starts.\n\nExample:\n  $ tidemark-agent doctor --config pump-7.yaml --repair'
  )
  .action(doctor)

program
  .command('tail')
  .description('show the readings of a running agent as they are stored, until Ctrl-C')
  .requiredOption('--config <file>', 'configuration (YAML)')
  .option('--json', 'a JSON object a line, for scripts')
  .addHelpText('after', '\nExample:\n  $ tidemark-agent tail --config pump-7.yaml --json | jq .metrics.temperature')
  .action(tail)

async function start({ config: path, once }: StartOptions): Promise<void> {
  const config = await readConfig(path)
  // Loaded here so that --help and mistakes in the configuration answer at once.
  const [{ runAgent }, { openLog }] = await Promise.all([import('./agent.js'), import('./agent-log.js')])
  const log = openLog(config.deviceId, config.logLevel)
  const stopping = new AbortController()
  const service = process.env.NOTIFY_SOCKET
    ? (await import('./service-notifier.js')).ServiceNotifier.take(process.env, process.pid, log)
    : null
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopping.signal.aborted) process.exit(130)
    log.info({ signal }, 'stopping')
    service?.stopping()
    stopping.abort()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  let agent: RunningAgent | null = null
  process.on('SIGHUP', () => {
    log.info('reading the configuration again')
    service?.reloading()
    void (agent?.reload(() => readConfig(path)) ?? Promise.resolve()).then(() => service?.reloaded())
  })
  const sampling = (running: RunningAgent) => service?.ready(() => running.health())
  await runAgent(config, { once: once === true, agentVersion: version, log, signal: stopping.signal, sampling }, started => {
    agent = started
  })
  await service?.done()
}

async function tail({ config: path, json }: StatusOptions): Promise<void> {
  const config = await readConfig(path)
  const { tailReadings } = await import('./tail.js')
  const stopping = new AbortController()
  process.on('SIGINT', () => stopping.abort())
  process.on('SIGTERM', () => stopping.abort())
  process.stdout.on('error', () => process.exit(0)) // whoever read it has gone
  await tailReadings(config.bufferPath, json === true, line => process.stdout.write(`${line}\n`), stopping.signal)
}

async function status({ config: path, json }: StatusOptions): Promise<void> {
  const config = await readConfig(path)
  const { formatStatus, readLiveStatus } = await import('./status.js')
  const current = await readLiveStatus(config.bufferPath, Date.now())
  process.stdout.write(`${json ? JSON.stringify(current) : formatStatus(current)}\n`)
}

async function doctor({ config: path, repair: isToRepair, json }: DoctorOptions): Promise<void> {
  const config = await readConfig(path)
  const { diagnose, formatDiagnosis, repair } = await import('./doctor.js')
  const diagnosis = isToRepair ? await repair(config) : diagnose(config)
  process.stdout.write(`${json ? JSON.stringify(diagnosis) : formatDiagnosis(diagnosis)}\n`)
  process.exitCode = diagnosis.healthy ? 0 : 1
}

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2)
  process.stderr.write(`tidemark-agent: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = error instanceof ConfigError || error instanceof BufferOpenError ? 2 : 1
}
process.exit()
