#!/usr/bin/env node
/** The command line: arguments, signals, exit codes. 0: done. 1: could not go on. 2: something to correct first. */
import './small-heap.js'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Command, CommanderError } from 'commander'
import { BufferOpenError } from './buffer-error.js'
import { readConfig } from './config.js'
import { ConfigError } from './config-error.js'
import type { InitOptions } from './init/init.js'
import type { RunningAgent } from './running-agent.js'
import type { InstallOptions } from './service/install.js'
import type { LogsOptions } from './service/logs.js'
import type { UninstallOptions } from './service/uninstall.js'

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

const more = (value: string, before: readonly string[] = []) => [...before, value]

program
  .command('init')
  .description('look which sensors this machine has, and write a configuration')
  .option('--device-id <id>', 'name of this device; no other may have it')
  .option('--gateway <url>', 'mqtt://HOST:PORT or mqtts://; once more for each further one', more)
  .option('--output <file>', 'where to write (default: /etc/tidemark/agent.yaml for root, else ./agent.yaml)')
  .option('--sources <list>', 'system, iio, w1, hwmon, thermal, with commas; or simulated (default: system, and what is attached)')
  .option('--interval <duration>', 'between two readings, like 10s (default: that of what is measured)')
  .option('--durability <kind>', 'strict, or spill (default: spill on an SD card)')
  .option('--buffer <file>', 'the buffer (default: beside the configuration; for one below /etc: /var/lib/tidemark/buffer.sqlite)')
  .option('--root <folder>', 'where proc/ and sys/ are', '/')
  .option('--yes', 'ask nothing: take the default of what is not given')
  .option('--force', 'replace a configuration that is there')
  .addHelpText(
    'after',
    '\nAsks for what is not given where there is a terminal. Without one, or with --yes, --device-id and --gateway must be given.\n\nExample:\n  $ sudo tidemark-agent init --device-id pump-7 --gateway mqtt://gateway.local:1883'
  )
  .action(init)

program
  .command('install')
  .description('make the agent a service of systemd and start it, or bring that up to date')
  .option('--config <file>', 'configuration (YAML; default: that of the last time, or /etc/tidemark/agent.yaml)')
  .option('--user <name>', 'whom it runs as; made where there is none (default: that of the last time, or tidemark)')
  .option('--group <name>', 'a further group that it needs, for devices; once more for each', more)
  .option('--root <folder>', 'another system, such as the image of an SD card: enabled there, not started', '/')
  .option('--node <file>', 'Node, where it is elsewhere in that system')
  .option('--agent <file>', 'the agent, where it is elsewhere in that system')
  .option('--dry-run', 'print the unit, and change nothing')
  .addHelpText('after', '\nExample:\n  $ sudo tidemark-agent install\n  $ tidemark-agent install --config pump-7.yaml --dry-run')
  .action(install)

program
  .command('uninstall')
  .description('stop the service and remove its unit; buffer, user and configuration are kept')
  .option('--purge', 'also remove the buffer with what no gateway has acked yet, and the user that install has made')
  .option('--root <folder>', 'another system, as with install', '/')
  .addHelpText('after', '\nExample:\n  $ sudo tidemark-agent uninstall')
  .action(uninstall)

program
  .command('logs')
  .description('show what the service has logged')
  .option('-f, --follow', 'go on until Ctrl-C')
  .option('-n, --lines <number>', 'how many of the last lines, or all', '50')
  .option('--since <time>', 'as journalctl takes it: 2026-11-24, "1 hour ago"')
  .option('--json', 'a JSON object a line, as the agent writes it')
  .addHelpText('after', '\nExample:\n  $ tidemark-agent logs -f --since "10 min ago"')
  .action(logs)

async function init(options: InitOptions): Promise<void> {
  const { init: write } = await import('./init/init.js')
  print(await write(options, process.stdin.isTTY && process.stdout.isTTY, version))
}

async function install(options: InstallOptions): Promise<void> {
  const { install: make } = await import('./service/install.js')
  print(await make(options, { node: process.execPath, entry: fileURLToPath(import.meta.url), version }))
}

async function uninstall(options: UninstallOptions): Promise<void> {
  const { uninstall: remove } = await import('./service/uninstall.js')
  print(await remove(options))
}

async function logs(options: LogsOptions): Promise<void> {
  const { showLogs } = await import('./service/logs.js')
  const stopping = new AbortController()
  process.on('SIGINT', () => stopping.abort())
  process.on('SIGTERM', () => stopping.abort())
  process.stdout.on('error', () => process.exit(0)) // whoever read it has gone
  await showLogs(options, line => print([line]), stopping.signal)
}

function print(lines: readonly string[]): void {
  for (const line of lines) process.stdout.write(`${line}\n`)
}

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
  if (error instanceof Error && 'code' in error && error.code === 'CANCELLED') process.exit(130) // it has said so
  process.stderr.write(`tidemark-agent: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = error instanceof ConfigError || error instanceof BufferOpenError ? 2 : 1
}
process.exit()
