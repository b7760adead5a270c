/**
 * The demo: a gateway, real agents and a simulated fleet on this machine; then the proof that what went in came out.
 * Exit code 0 only if the ledger balances and the archive equals what the simulator's function says.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { durationMs } from '@tidemark/protocol'
import { type FleetReport, runFleet, verifyArchive } from '@tidemark/simulator'
import { Command } from 'commander'
import { startAgents, startGateway } from './demo/machines.js'
import { DemoProgress } from './demo/progress.js'
import { printReport, readLedger } from './demo/report.js'
import { type GatewayMetrics, readMetrics } from './gateway-metrics.js'
import { stopOnSignals } from './proof-command.js'

interface DemoOptions {
  readonly for: string
  readonly devices: string
  readonly json?: string
  readonly keep?: string
}

/** Something to see in the quarantine, among the duplicates and among the late. */
const RATES = { duplicates: 0.01, late: 0.005, poison: 0.002 }

const INTERVAL_MS = 5000
const METRICS_MS = 500

const program = new Command('npm run demo --')
  .description('Plays a fleet against a gateway on this machine, then proves that every reading is in the archive exactly once.')
  .option('--for <time>', 'how long readings are sent', '60s')
  .option('--devices <n>', 'simulated devices', '1000')
  .option('--json <file>', 'write {sampled, archived, quarantined, shed, buffered, missing, duplicates, ok} there')
  .option('--keep <dir>', 'keep archive, log and configurations in this (empty) folder')
  .addHelpText('after', '\nExample:\n  $ npm run demo -- --for 20s --keep ./demo-data')
  .parse()

try {
  process.exitCode = (await demo(program.opts<DemoOptions>())) ? 0 : 1
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : error}\n`)
  process.exitCode = 2
}

async function demo(options: DemoOptions): Promise<boolean> {
  const forMs = durationMs(options.for)
  const dir = options.keep === undefined ? mkdtempSync(join(tmpdir(), 'tidemark-demo-')) : resolve(options.keep)
  mkdirSync(dir, { recursive: true })
  const stopping = stopOnSignals()
  const running: { kill(): Promise<void> }[] = []
  try {
    const gateway = await startGateway(dir)
    running.push(gateway)
    const agents = startAgents(dir, gateway.mqttUrl)
    running.push(agents)
    print(`gateway ${gateway.mqttUrl}, metrics ${gateway.httpUrl}/metrics`)
    print(
      `${agents.count} agents (one measures this machine) and ${options.devices} simulated devices send for ${options.for}; Ctrl-C ends early and cleanly`
    )
    const fleet = await playFleet(gateway.mqttUrl, gateway.httpUrl, {
      devices: Number(options.devices),
      forMs,
      agents: agents.count,
      signal: stopping
    })
    await agents.stop()
    await gateway.stop()
    print('comparing the archive with what the simulator must have sent …')
    const verified = await verifyArchive({ archiveDir: join(gateway.dataDir, 'archive'), run: fleet.run })
    const ledger = readLedger(gateway.dataDir)
    printReport(gateway.dataDir, ledger, verified)
    const ok = ledger.ok && verified.ok && fleet.unacked === 0
    if (options.json !== undefined) {
      const { sampled, archived, quarantined, shed, buffered, missing, duplicates } = ledger.total
      writeFileSync(
        options.json,
        `${JSON.stringify({ sampled, archived, quarantined, shed, buffered, missing, duplicates, ok }, null, 2)}\n`
      )
    }
    print(
      `\nThe archive ${options.keep === undefined ? 'was' : 'is'} in ${join(gateway.dataDir, 'archive')}${options.keep === undefined ? '; --keep DIR keeps it' : ''}`
    )
    print(ok ? 'ok: every reading is accounted for, exactly once' : 'NOT OK: see above')
    return ok
  } finally {
    await Promise.all(running.map(each => each.kill()))
    if (options.keep === undefined) rmSync(dir, { recursive: true, force: true })
  }
}

async function playFleet(
  url: string,
  httpUrl: string,
  { devices, forMs, agents, signal }: { devices: number; forMs: number; agents: number; signal: AbortSignal }
): Promise<FleetReport> {
  const view = new DemoProgress(process.stderr)
  let metrics: GatewayMetrics = new Map()
  const polling = setInterval(() => {
    readMetrics(httpUrl).then(
      read => (metrics = read),
      () => {} // the next one will tell
    )
  }, METRICS_MS)
  try {
    return await runFleet({ url, devices, intervalMs: INTERVAL_MS, forMs, rates: RATES, signal }, progress =>
      view.show(progress, agents, metrics)
    )
  } finally {
    clearInterval(polling)
    view.end()
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
