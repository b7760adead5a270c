#!/usr/bin/env node
/** `npm run bench:agent`: what the agent costs on a device, beside collectd and Node-RED where they are installed. Linux only. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import type { BufferFigures, BufferJob } from './agent-bench/buffer-bench.js'
import { FLOOD_AGENTS, FLOOD_READINGS, floodPubackMs } from './agent-bench/flood.js'
import { collectdCommand, nodeRedCommand } from './agent-bench/peers.js'
import { agentCommand, type Footprint, measure, runAgentOnce, startGateway, writeAgentConfig } from './agent-bench/processes.js'
import { installAgent } from './agent-package/install.js'
import { someOf, wholeNumber } from './proof-command.js'
import { freePort } from './run/gateway-process.js'

interface Row {
  readonly what: string
  readonly value: number
  readonly unit: string
  readonly reach: string
}

const PARTS = ['buffer', 'drain', 'flood', 'footprint']

const { seconds, drain, only, nodeRed, json } = new Command('bench:agent')
  .description('Measures what the agent costs: disk, memory, processor, start, drain, and live devices while many drain.')
  .option('--seconds <n>', 'how long memory and processor are measured, each', wholeNumber(86_400), 60)
  .option('--drain <n>', 'readings that are drained, a multiple of 500', wholeNumber(1_000_000_000), 1_000_000)
  .option('--only <parts>', `some of ${PARTS.join(',')}`, someOf(PARTS), PARTS)
  .option('--node-red <folder>', 'where `npm i --prefix FOLDER node-red` was done')
  .option('--json', 'print JSON')
  .addHelpText('after', '\nExample:\n  $ npm run bench:agent -- --seconds 600 --node-red /opt/node-red')
  .parse()
  .opts<{ seconds: number; drain: number; only: string[]; nodeRed?: string; json?: true }>()

const root = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
const rows: Row[] = []
const row = (what: string, value: number, unit: string, reach: string) => rows.push({ what, value, unit, reach })

function folder(name: string): string {
  const path = join(root, name)
  mkdirSync(path)
  return path
}

function buffer(job: BufferJob, readings: number, path = join(folder(job), 'buffer.sqlite'), device = 'bench'): BufferFigures {
  const child = fileURLToPath(new URL('./agent-bench/child.js', import.meta.url))
  return JSON.parse(execFileSync(process.execPath, [child, job, path, String(readings), device], { encoding: 'utf8' }))
}

function benchBuffer(): void {
  const online = buffer('online-spill', 36_000)
  row('bytes written per reading, online with spill', online.writtenBytes / online.readings, 'bytes', '<= 20')
  const offline = buffer('offline-30', 36_000)
  row('bytes written per reading, offline, 30 a commit', offline.writtenBytes / offline.readings, 'bytes', '<= 300')
  row('buffered readings per MB, 30 a commit', offline.readings / (offline.fileBytes / 1e6), 'readings', '>= 15000')
  const strict = buffer('strict-1', 3000)
  row('bytes written per reading, strict, each its own commit', strict.writtenBytes / strict.readings, 'bytes', '')
  row('buffered readings per MB, strict, each its own commit', strict.readings / (strict.fileBytes / 1e6), 'readings', '>= 15000')
  const capacity = buffer('capacity', 500_000)
  row('sampling into the buffer, strict, 500 a commit', capacity.readings / capacity.seconds, 'readings/s', '>= 50000')
}

async function benchDrain(cli: string): Promise<void> {
  const at = folder('drain')
  const gateway = await startGateway(at)
  try {
    buffer('fill', drain, join(at, 'buffer.sqlite'))
    const config = writeAgentConfig(at, gateway.url, { source: { type: 'simulated', readings: 1 } })
    const gatewayBeforeS = gateway.cpuS()
    const { seconds, cpuS } = await runAgentOnce(cli, config)
    row(`drain of ${drain} buffered readings, start and goodbye included`, drain / seconds, 'readings/s', '>= 100000')
    row("the same: the agent's processor time a million", (cpuS / drain) * 1e6, 's', '')
    row("the same: the gateway's", ((gateway.cpuS() - gatewayBeforeS) / drain) * 1e6, 's', '')
    const start = await runAgentOnce(cli, writeAgentConfig(folder('start'), gateway.url, {}))
    row('cold start, one reading, PUBACK, end mark, goodbye', start.seconds, 's', '< 1')
  } finally {
    await gateway.stop()
  }
}

async function benchFlood(cli: string): Promise<void> {
  for (const maxRate of ['none', '50000/s', '15000/s']) {
    const at = folder(`flood-${maxRate.replace('/', '-')}`)
    const p99Ms = await floodPubackMs(cli, at, maxRate, (device, readings, path) => buffer('fill', readings, path, device))
    row(`PUBACK p99 of live devices, ${FLOOD_AGENTS} agents drain ${FLOOD_READINGS} each, max_rate ${maxRate}`, p99Ms, 'ms', '')
  }
}

async function benchFootprint(cli: string): Promise<void> {
  const at = folder('footprint')
  const port = await freePort()
  const broker = existsSync('/usr/sbin/mosquitto') ? spawn('/usr/sbin/mosquitto', ['-p', String(port)], { stdio: 'ignore' }) : null
  if (broker === null) throw new Error('mosquitto is missing: apt-get install mosquitto')
  try {
    const config = writeAgentConfig(at, `mqtt://127.0.0.1:${port}`, { buffer: { path: 'buffer.sqlite', durability: 'spill' } })
    const peers: [string, string[] | null][] = [
      ['agent', agentCommand(cli, config)],
      ['collectd', collectdCommand(at, port)],
      ['Node-RED', nodeRed === undefined ? null : nodeRedCommand(at, nodeRed, port)]
    ]
    for (const [name, command] of peers) {
      if (command === null) {
        process.stderr.write(`${name} is not installed: left out\n`)
        continue
      }
      const { rssMb, cpuPercent }: Footprint = await measure(command, seconds)
      row(`${name}, one reading of 10 values a second for ${seconds} s: RSS`, rssMb, 'MB', name === 'agent' ? '<= 75' : '')
      row(`${name}: processor, of one core`, cpuPercent, '%', name === 'agent' ? '<= 0.5' : '')
    }
  } finally {
    broker.kill('SIGTERM')
  }
}

try {
  if (only.includes('buffer')) benchBuffer()
  if (only.some(part => part !== 'buffer')) {
    const { cli } = await installAgent(folder('package')) // what a device runs
    if (only.includes('drain')) await benchDrain(cli)
    if (only.includes('flood')) await benchFlood(cli)
    if (only.includes('footprint')) await benchFootprint(cli)
  }
  if (json) process.stdout.write(`${JSON.stringify(rows)}\n`)
  else
    for (const { what, value, unit, reach } of rows)
      process.stdout.write(`${what.padEnd(84)}${format(value).padStart(10)} ${unit.padEnd(11)}${reach}\n`)
} finally {
  rmSync(root, { recursive: true, force: true })
}

function format(value: number): string {
  return value >= 100 ? String(Math.round(value)) : value.toFixed(2)
}
