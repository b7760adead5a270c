/**
 * Measures the fronts with the log behind them and nothing else: what a connection and a message cost by light sessions and by
 * aedes, in one process and in several. The devices are the simulator's, each with a connection of its own, on the same machine.
 */
import { fork, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Command, InvalidArgumentError } from 'commander'
import type { FromHost, HostOptions } from './front-bench/host.js'
import { usageOf } from './run/usage.js'

interface Options {
  readonly ways?: readonly Way[]
  readonly devices: number
  readonly interval: string
  readonly for: number
  readonly json?: boolean
}

interface Way {
  readonly name: string
  readonly lightSessions: boolean
  readonly processes: number
}

interface Cost {
  readonly way: string
  readonly connections: number
  readonly connect_s: number
  readonly rate: number
  readonly puback_ms: { readonly p50: number; readonly p99: number; readonly p999: number }
  readonly cpu_s_per_million: number
  readonly kb_per_connection: number
  readonly rss_mb: number
  readonly readings_per_commit: number
}

const ALL_WAYS = 'light-1,aedes-1,light-2,aedes-2'

const SETTLE_MS = 3000

/** The end of a run, in which devices leave, is not measured, ms. */
const TAIL_MS = 2000

const CONNECT_PER_S = 2000

export async function main(args: readonly string[] = process.argv.slice(2)): Promise<void> {
  const program = new Command('bench-front')
    .description(
      'Prints what a connection and a message cost the front and the log, by light sessions and by aedes, in 1 and in 2 processes.'
    )
    .option('--ways <ways>', `some of light-N,aedes-N: N processes (default: "${ALL_WAYS}")`, waysOf)
    .option('--devices <n>', 'devices, each with a connection', whole, 10_000)
    .option('--interval <duration>', 'a device publishes one reading so often', '1s')
    .option('--for <seconds>', 'how long to measure', whole, 20)
    .option('--json', 'print one JSON object instead of a table')
    .addHelpText('after', '\nExample:\n  npm run bench:front -- --ways light-1,aedes-1 --devices 5000')
  await program.parseAsync(args, { from: 'user' })
  const options = program.opts<Options>()
  const costs: Cost[] = []
  for (const way of options.ways ?? waysOf(ALL_WAYS)) {
    const cost = await measure(way, options)
    costs.push(cost)
    if (!options.json) console.log(lineOf(cost))
  }
  if (options.json) console.log(JSON.stringify({ node: process.version, costs }))
}

async function measure(way: Way, options: Options): Promise<Cost> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
  const host = await Host.start({ logPath: join(folder, 'log.sqlite'), processes: way.processes, lightSessions: way.lightSessions })
  try {
    await pause(SETTLE_MS)
    const idleMb = usageOf(host.pids).residentMb
    const startedMs = performance.now()
    const fleet = runFleet(host.port, options, join(folder, 'report.json'))
    while ((await host.stats()).stats.connections < options.devices) await Promise.race([pause(100), fleet])
    const connectS = (performance.now() - startedMs) / 1000
    await pause(SETTLE_MS)
    const [before, beforeUsage, fromMs] = [await host.stats(), usageOf(host.pids), performance.now()]
    await pause(options.for * 1000)
    const [after, afterUsage, seconds] = [await host.stats(), usageOf(host.pids), (performance.now() - fromMs) / 1000]
    const report = await fleet
    const acked = after.stats.acked - before.stats.acked
    return {
      way: way.name,
      connections: after.stats.connections,
      connect_s: round(connectS, 1),
      rate: Math.round(acked / seconds),
      puback_ms: report.puback_ms,
      cpu_s_per_million: round(((afterUsage.cpuS - beforeUsage.cpuS) / acked) * 1e6, 1),
      kb_per_connection: round(((afterUsage.residentMb - idleMb) * 1024) / options.devices, 1),
      rss_mb: Math.round(afterUsage.residentMb),
      readings_per_commit: Math.round(acked / (after.waves - before.waves))
    }
  } finally {
    await host.stop()
    rmSync(folder, { recursive: true })
  }
}

/** The process with the log, and its fronts. */
class Host {
  private constructor(
    private readonly child: ReturnType<typeof fork>,
    readonly port: number,
    readonly pids: readonly number[]
  ) {}

  static start(options: HostOptions): Promise<Host> {
    const child = fork(fileURLToPath(new URL('./front-bench/host.js', import.meta.url)), [JSON.stringify(options)])
    return new Promise((resolve, reject) => {
      child.once('exit', code => reject(new Error(`the fronts ended with ${code}`)))
      child.once('message', (message: FromHost) => {
        if (message.type === 'ready') resolve(new Host(child, message.port, [child.pid!, ...message.frontPids]))
      })
    })
  }

  stats(): Promise<Extract<FromHost, { type: 'stats' }>> {
    return new Promise(resolve => {
      this.child.once('message', (message: FromHost) => {
        if (message.type === 'stats') resolve(message)
      })
      this.child.send('stats')
    })
  }

  stop(): Promise<void> {
    return new Promise(resolve => {
      this.child.once('exit', () => resolve())
      this.child.disconnect()
    })
  }
}

/** Resolves with the fleet's report. Rejects where it does not end well. */
function runFleet(port: number, options: Options, report: string): Promise<{ puback_ms: Cost['puback_ms'] }> {
  const cli = fileURLToPath(new URL('../../simulator/dist/cli.js', import.meta.url))
  const length = `${Math.ceil(options.for + (2 * SETTLE_MS + TAIL_MS) / 1000)}s`
  const args = ['run', '--url', `mqtt://127.0.0.1:${port}`, '--devices', String(options.devices), '--interval', options.interval]
  const fleet = spawn(process.execPath, [cli, ...args, '--for', length, '--connect-rate', String(CONNECT_PER_S), '--json', report], {
    stdio: 'ignore'
  })
  return new Promise((resolve, reject) => {
    fleet.once('error', reject)
    fleet.once('exit', code => {
      if (code === 0) resolve(JSON.parse(readFileSync(report, 'utf8')))
      else reject(new Error(`the fleet ended with ${code}`))
    })
  })
}

function lineOf(cost: Cost): string {
  const { p50, p99, p999 } = cost.puback_ms
  return (
    `${cost.way.padEnd(9)} ${cost.connections} connections in ${cost.connect_s} s, ${cost.rate}/s: PUBACK p50 ${p50}, p99 ${p99}, p99.9 ${p999} ms; ` +
    `${cost.cpu_s_per_million} CPU s per million, ${cost.kb_per_connection} KB a connection, RSS ${cost.rss_mb} MB, ${cost.readings_per_commit} a commit`
  )
}

function waysOf(text: string): Way[] {
  return text.split(',').map(name => {
    const match = /^(light|aedes)-(\d+)$/.exec(name)
    if (match === null) throw new InvalidArgumentError(`"${name}" is none of light-N, aedes-N.`)
    return { name, lightSessions: match[1] === 'light', processes: Number(match[2]) }
  })
}

function whole(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('Write a whole number from 1.')
  return Number(text)
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
