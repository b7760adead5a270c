#!/usr/bin/env node
/** `npm run bench:agent`: what the agent costs on a device, beside collectd and Node-RED. Linux only. 1: something went wrong. 2: to be corrected. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, InvalidArgumentError } from 'commander'
import type { BufferFigures, BufferJob } from './agent-bench/buffer-bench.js'
import { FLOOD_AGENTS, FLOOD_READINGS, floodPubackMs } from './agent-bench/flood.js'
import { measureFootprints } from './agent-bench/footprint.js'
import { CONTENDERS, type ContenderName } from './agent-bench/peers.js'
import { runAgentOnce, startGateway, writeAgentConfig } from './agent-bench/processes.js'
import { installAgent } from './agent-package/install.js'
import { endAs, someOf, wholeNumber } from './proof-command.js'

interface Row {
  readonly what: string
  readonly value: number
  readonly unit: string
  readonly reach: string
}

interface Options {
  readonly seconds: number
  readonly drain: number
  readonly only: readonly string[]
  readonly of: readonly ContenderName[]
  readonly json?: true
}

const PARTS = ['buffer', 'drain', 'flood', 'footprint']

const program = new Command('npm run bench:agent --')
  .description('Measures what the agent costs: disk, memory, processor, start, drain, and live devices while many drain.')
  .option('--seconds <n>', 'how long memory and processor are measured', wholeNumber(86_400), 60)
  .option('--drain <n>', 'readings that are drained, a multiple of 500', wholeNumber(1_000_000_000), 1_000_000)
  .option('--only <parts>', `some of ${PARTS.join(',')}`, someOf(PARTS), PARTS)
  .option('--of <names>', `whose memory and processor, of ${CONTENDERS.join(',')}`, namesOf, [...CONTENDERS])
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    `
Memory and processor are measured of all at the same time, at the same job: ten values a second, published to mosquitto with QoS 1.
apt-get install mosquitto collectd-core libmosquitto1. Node-RED is installed into a cache folder when it is first used.

Examples:
  $ npm run bench:agent -- --seconds 600
  $ npm run bench:agent -- --only drain,footprint --of agent`
  )
  .showHelpAfterError('(--help shows the options)')
  .exitOverride()

function namesOf(text: string): readonly ContenderName[] {
  return text.split(',').map(name => {
    const known = CONTENDERS.find(contender => contender === name.trim())
    if (known === undefined) throw new InvalidArgumentError(`There is no ${name}; there are ${CONTENDERS.join(', ')}.`)
    return known
  })
}

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

async function benchDrain(cli: string, { drain }: Options): Promise<void> {
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

async function benchFootprint(cli: string, { of, seconds }: Options): Promise<void> {
  const footprints = await measureFootprints(of, folder('footprint'), cli, seconds)
  for (const { name, rssMb, cpuPercent } of footprints) {
    row(`${name}, ten values a second for ${seconds} s: RSS`, rssMb, 'MB', name === 'agent' ? '<= 75' : '')
    row(`${name}: processor, later half of that, of one core`, cpuPercent, '%', name === 'agent' ? '<= 0.5' : '')
  }
  const [agent, nodeRed] = (['agent', 'node-red'] as const).map(name => footprints.find(footprint => footprint.name === name))
  if (agent !== undefined && nodeRed !== undefined)
    row("agent's RSS beside that of node-red", agent.rssMb / nodeRed.rssMb, 'times', '<= 0.5')
}

async function main(): Promise<number> {
  try {
    const options = program.parse().opts<Options>()
    const { only } = options
    if (only.includes('buffer')) benchBuffer()
    if (only.some(part => part !== 'buffer')) {
      const { cli } = await installAgent(folder('package')) // what a device runs
      if (only.includes('drain')) await benchDrain(cli, options)
      if (only.includes('flood')) await benchFlood(cli)
      if (only.includes('footprint')) await benchFootprint(cli, options)
    }
    process.stdout.write(options.json ? `${JSON.stringify(rows)}\n` : tableText())
    return 0
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

function tableText(): string {
  return rows.map(({ what, value, unit, reach }) => `${what.padEnd(84)}${format(value).padStart(10)} ${unit.padEnd(11)}${reach}\n`).join('')
}

function format(value: number): string {
  return value >= 100 ? String(Math.round(value)) : value.toFixed(2)
}

await endAs('bench:agent', main)
