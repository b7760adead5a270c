#!/usr/bin/env node
/** The command line of the comparison with peers: which, where, exit codes. 0: measured. 1: something went wrong. 2: to be corrected. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { type Ladder, measurePeer, measureTidemark, type PeerResult } from './peers/compare.js'
import { InfluxPeer } from './peers/influxdb.js'
import { MosquittoPeer, ownSubscriber } from './peers/mosquitto.js'
import { nodeRed } from './peers/node-red.js'
import { duration, endAs, requireWritableFolder } from './proof-command.js'
import { thisMachine } from './run/machine.js'

const PEERS = ['tidemark', 'mosquitto', 'node-red', 'influxdb'] as const
type Name = (typeof PEERS)[number]

interface Options {
  readonly only: readonly Name[]
  readonly devices: number
  readonly from: number
  readonly factor: number
  readonly step: number
  readonly steps: number
  readonly json?: string
}

const number = (text: string): number => {
  const value = Number(text)
  if (text.trim() === '' || !(value > 0)) throw new InvalidArgumentError('Give a number above 0.')
  return value
}

const program = new Command('npm run load:peers --')
  .description(
    'Sends the same readings at the same rates to Tidemark and to what people use in its place, on this machine, one after the other.'
  )
  .option('--only <names>', `which, of ${PEERS.join(',')}`, namesOf, [...PEERS])
  .option('--devices <n>', 'devices, a connection each', number, 1000)
  .option('--from <n>', 'readings a second of the first step', number, 4000)
  .option('--factor <n>', 'how much faster each step is', number, 1.4)
  .option('--step <duration>', 'how long a step lasts', duration, 12_000)
  .option('--steps <n>', 'steps at most', number, 10)
  .option('--json <file>', 'write the figures as JSON')
  .addHelpText(
    'after',
    `
mosquitto: the broker, and a subscriber (mqtt.js) that checks ranges, drops duplicates by a Map and appends JSON lines.
node-red: the same broker, and a flow of MQTT in, function, file; installed into a cache folder when it is first used.
influxdb: InfluxDB 1.x, fed line protocol over HTTP every 50 ms; ingest only.

Examples:
  $ npm run load:peers -- --json peers.json
  $ npm run load:peers -- --only tidemark,mosquitto --from 20000 --factor 1.15`
  )
  .showHelpAfterError('(--help shows the options)')
  .exitOverride()

function namesOf(text: string): readonly Name[] {
  return text.split(',').map(name => {
    const known = PEERS.find(peer => peer === name.trim())
    if (known === undefined) throw new InvalidArgumentError(`There is no peer ${name}; there are ${PEERS.join(', ')}.`)
    return known
  })
}

async function measure(name: Name, dir: string, ladder: Ladder, signal: AbortSignal): Promise<PeerResult> {
  const say = (line: string) => process.stderr.write(`${line}\n`)
  mkdirSync(dir, { recursive: true })
  if (name === 'tidemark') return await measureTidemark(dir, ladder, say, signal)
  if (name === 'influxdb') return await measurePeer(folder => InfluxPeer.in(folder), dir, ladder, say)
  const title = name === 'mosquitto' ? 'mosquitto and a Node subscriber' : 'mosquitto and Node-RED'
  const behind = name === 'mosquitto' ? ownSubscriber : nodeRed
  return await measurePeer(folder => MosquittoPeer.in(folder, title, (port, file) => behind(folder, port, file)), dir, ladder, say)
}

function tableText(results: readonly PeerResult[]): string {
  const head = ['', 'knee, readings/s', 'CPU s/million', 'RSS MB', 'bytes/reading', 'SIGKILL: lost, doubled']
  const rows = results.map(result => [
    result.name,
    `${result.knee_per_s.toLocaleString('en-US')} (p99 ${result.puback_ms_at_knee.p99} ms)`,
    String(result.cpu_s_per_million),
    String(result.rss_mb),
    String(result.bytes_per_reading),
    `${result.lost}, ${result.doubled} of ${result.acked_after_kill}`
  ])
  const widths = head.map((title, c) => Math.max(title.length, ...rows.map(row => row[c].length)))
  const lines = [head, ...rows].map(row => `  ${row.map((cell, c) => cell.padEnd(widths[c])).join('  ')}`.trimEnd())
  return `\n${lines.join('\n')}\n\n${results.map(({ name, durability }) => `  ${name}: ${durability}`).join('\n')}\n`
}

async function main(): Promise<number> {
  const options = program.parse().opts<Options>()
  if (options.json !== undefined) requireWritableFolder(options.json)
  const ladder = { devices: options.devices, fromPerS: options.from, factor: options.factor, stepMs: options.step, steps: options.steps }
  const dir = mkdtempSync(join(tmpdir(), 'tidemark-peers-'))
  const interrupt = new AbortController()
  process.once('SIGINT', () => {
    interrupt.abort()
    process.exit(130)
  })
  const results: PeerResult[] = []
  try {
    for (const name of options.only) {
      process.stderr.write(`${name}\n`)
      results.push(await measure(name, join(dir, name), ladder, interrupt.signal))
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
  process.stdout.write(tableText(results))
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ machine: thisMachine(), ladder, results }, null, 2)}\n`)
  return 0
}

await endAs('load:peers', main)
