/**
 * Measures the processor alone, on one core, without an archive: readings a second from a log on disk, the memory of its state,
 * snapshots and their pauses, and recovery at the reference load. What a log holds does not change from run to run; times are
 * this machine's.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { finishSnapshot, SnapshotWriter } from '@tidemark/gateway/dist/archive/snapshot-file.js'
import { Command, InvalidArgumentError } from 'commander'
import { type BoundaryCost, measureBoundary } from './processor-bench/boundary.js'
import { fleet } from './processor-bench/fleet-log.js'
import { measureRecoveries, type Recovery } from './processor-bench/recovery.js'
import { measureSnapshot, type SnapshotCost } from './processor-bench/snapshot.js'
import { measureSpeed, type Speed } from './processor-bench/speed.js'
import { fillState, type StateSize, writeTraffic } from './processor-bench/state.js'
import { someOf } from './proof-command.js'

/** What DESIGN asks for. */
const TARGETS = { singles: 800_000, batches: 2_000_000, stateMegabytes: 1000, recoveryMs: 20_000, pauseMs: 200 }

interface Options {
  readonly only: readonly string[]
  readonly devices: readonly number[]
  readonly rounds: number
  readonly minutes: number
  readonly dir: string
  readonly json?: boolean
}

interface Measured {
  readonly speeds: Speed[]
  readonly states: StateSize[]
  readonly snapshots: SnapshotCost[]
  readonly recoveries: Recovery[]
  readonly boundaries: BoundaryCost[]
  readonly rssMegabytesMax: number
}

const PARTS = ['speed', 'state', 'recovery', 'boundary']

export async function main(args: readonly string[] = process.argv.slice(2)): Promise<void> {
  const program = new Command('bench-processor')
    .description("Prints the processor's rate, the size of its state and snapshots, and how long recovery takes.")
    .option('--only <parts>', `some of ${PARTS.join(',')}`, someOf(PARTS), PARTS)
    .option('--devices <counts>', 'fleets whose state is measured; the last one recovers', counts, [1000, 10_000, 100_000])
    .option('--rounds <n>', 'rounds of which the median is taken', whole, 5)
    .option('--minutes <n>', 'minutes of log that recovery replays, and boundaries that are measured', whole, 5)
    .option('--dir <folder>', 'where logs are written and deleted again', tmpdir())
    .option('--json', 'print one JSON object instead of tables')
    .addHelpText('after', '\nExample:\n  node load/dist/bench-processor.js --only speed --json | jq .speeds')
  await program.parseAsync(args, { from: 'user' })
  const options = program.opts<Options>()
  const folder = mkdtempSync(join(options.dir, 'tidemark-bench-'))
  try {
    const measured = await measureAll(options, folder, options.json ? () => {} : line => console.log(line))
    if (options.json) console.log(JSON.stringify({ node: process.version, targets: TARGETS, ...measured }))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function measureAll({ only, devices, rounds, minutes }: Options, folder: string, print: (line: string) => void): Promise<Measured> {
  const measured = {
    speeds: [] as Speed[],
    states: [] as StateSize[],
    snapshots: [] as SnapshotCost[],
    recoveries: [] as Recovery[],
    boundaries: [] as BoundaryCost[]
  }
  print(`Node ${process.version}, one core; medians of ${rounds} rounds\n`)
  if (only.includes('speed')) {
    for (const [batchReadings, batchesPerDevice, target] of [
      [1, 60, TARGETS.singles],
      [60, 3, TARGETS.batches]
    ]) {
      const speed = measureSpeed({
        path: join(folder, `${batchReadings}.sqlite`),
        devices: 10_000,
        batchReadings,
        batchesPerDevice,
        rounds
      })
      measured.speeds.push(speed)
      print(
        `${batchReadings} a batch`.padEnd(14) +
          `${thousands(speed.readingsPerSecond)} readings/s (target ${thousands(target)}), ${thousands(speed.readingsPerCpuSecond)} a CPU second, ` +
          `${thousands(speed.featureRows)} feature rows, longest boundary ${speed.boundaryMsMax.toFixed(0)} ms`
      )
    }
  }
  if (only.includes('state') || only.includes('recovery')) {
    for (const [i, count] of devices.entries()) {
      const isLast = i === devices.length - 1
      if (!isLast && !only.includes('state')) continue
      const machines = fleet(count)
      const filled = fillState(machines)
      measured.states.push(filled.size)
      print(
        `${thousands(count)} devices`.padEnd(16) +
          `state ${filled.size.megabytes.toFixed(0)} MB, ${filled.size.bytesPerDevice.toFixed(0)} B a device, ${filled.size.heapBytesPerDevice.toFixed(0)} of them heap ` +
          `(target at 100,000: ${TARGETS.stateMegabytes} MB); filled at ${thousands((filled.filling.readings / filled.filling.ms) * 1000)} readings/s`
      )
      const file = new SnapshotWriter(folder, 1)
      const cost = measureSnapshot(filled.processor, part => file.append(part))
      file.close()
      measured.snapshots.push(cost)
      print(
        `${' '.repeat(16)}snapshot ${cost.megabytes.toFixed(0)} MB in ${cost.ms.toFixed(0)} ms, longest pause ${cost.pauseMsMax.toFixed(0)} ms (target ${TARGETS.pauseMs})`
      )
      if (!isLast || !only.includes('recovery')) continue
      const path = join(folder, 'recovery.sqlite')
      writeTraffic(path, machines, filled, minutes * 60_000)
      measured.recoveries.push(...(await measureRecoveries(path, join(folder, finishSnapshot(folder, 1).file))))
      for (const recovery of measured.recoveries) {
        print(
          `${' '.repeat(16)}recovery ${(recovery.totalMs / 1000).toFixed(1)} s (target ${TARGETS.recoveryMs / 1000})` +
            `${recovery.wasCommitted ? ', all boundaries but the last committed before' : ', nothing committed before'}: ` +
            `${(recovery.loadMs / 1000).toFixed(1)} s to load, then ${thousands(recovery.readings)} readings at ` +
            `${thousands(recovery.readingsPerSecond)}/s, longest boundary ${recovery.boundaryMsMax.toFixed(0)} ms; RSS ${recovery.rssMegabytes.toFixed(0)} MB`
        )
      }
    }
  }
  if (only.includes('boundary')) {
    const cost = await measureBoundary(mkdtempSync(join(folder, 'archive-')), fleet(devices[devices.length - 1]), minutes)
    measured.boundaries.push(cost)
    print(
      `${thousands(cost.devices)} devices`.padEnd(16) +
        `boundary of ${thousands(cost.readings)} readings: ${cost.cpuSecondsPerMillion.toFixed(2)} CPU s per million, committed in ${(cost.wallMs / 1000).toFixed(1)} s; ` +
        `CPU ms: processor ${cost.processorMs.toFixed(0)}, handing over ${cost.handOverMs.toFixed(0)}, archive ${cost.archiveMs.toFixed(0)}, ` +
        `DuckDB ${cost.duckDbMs.toFixed(0)}, rest ${cost.restMs.toFixed(0)}; RSS ${cost.rssMegabytesMax.toFixed(0)} MB`
    )
  }
  const rssMegabytesMax = process.resourceUsage().maxRSS / 1000
  print(`\nlargest RSS ${rssMegabytesMax.toFixed(0)} MB`)
  return { ...measured, rssMegabytesMax }
}

function thousands(value: number): string {
  return Math.round(value).toLocaleString('en')
}

function counts(text: string): number[] {
  return text.split(',').map(whole)
}

function whole(text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('give a whole number from 1 to 9999999')
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main()
