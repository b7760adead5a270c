/** `tidemark-sim run`: options to a fleet, its report to files and to the person. */
import { writeFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { addFaultOptions, type FaultOptions, faultsOf } from './fault-options.js'
import type { FleetOptions, FleetReport } from './fleet-options.js'
import { reportToJson } from './fleet-options.js'
import { CONNECT_PER_S, DRAIN_MS_MAX } from './limits.js'
import { durationOf, numberOf, requireWritable, timeOf } from './options.js'
import { viewFor } from './progress.js'
import { runToJson } from './run-file.js'
import { runFleet } from './run-fleet.js'

interface RunOptions extends FaultOptions {
  readonly url: string
  readonly devices: number
  readonly interval: number
  readonly for: number
  readonly seed: number
  readonly firstDevice: number
  readonly start?: number
  readonly batch: number
  readonly connectRate: number
  readonly connections?: number
  readonly destinations?: string
  readonly processes?: number
  readonly drain: number
  readonly json?: string
  readonly out?: string
}

export function addRunCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('run')
    .description('play a fleet of devices against a broker')
    .requiredOption('--url <mqtt-url>', 'the broker, like mqtt://127.0.0.1:1883')
    .option('--devices <n>', 'how many devices', numberOf, 100)
    .addOption(new Option('--interval <duration>', 'how often each device takes a reading').argParser(durationOf).default(5000, '5s'))
    .addOption(new Option('--for <duration>', 'how long to sample, once all are connected').argParser(durationOf).default(60_000, '60s'))
    .option('--seed <n>', 'the seed that all readings and faults follow from', numberOf, 1)
    .option('--first-device <index>', 'index of the first device, to share a fleet among machines', numberOf, 0)
    .option('--start <time>', 'event time of the first reading, RFC 3339 (default: now)', timeOf)
    .option('--batch <n>', 'readings in a message', numberOf, 1)
  addFaultOptions(command)
  command
    .option('--connect-rate <n>', 'new connections a second', numberOf, CONNECT_PER_S)
    .option('--connections <n>', 'carry the devices over so many connections, each of a relay (default: one a device)', numberOf)
    .option('--destinations <addresses>', 'spread the connections over these, like 127.0.0.1,127.0.0.2 (default: as many as needed)')
    .option('--processes <n>', 'processes that share the devices (default: as many as their connections need)', numberOf)
    .addOption(
      new Option('--drain <duration>', 'how long to wait until all is acked, in the end').argParser(durationOf).default(DRAIN_MS_MAX, '60s')
    )
    .option('--json <file>', 'write the report there')
    .option('--out <file>', 'write what `verify` needs there')
    .addHelpText(
      'after',
      `
Examples:
  $ tidemark-sim run --url mqtt://127.0.0.1:1883 --devices 1000 --for 60s
  $ tidemark-sim run --url mqtt://127.0.0.1:1883 --devices 1000 --duplicates 0.01 --late 0.005 --poison 0.002 --out run.json
  $ tidemark-sim run --url mqtt://127.0.0.1:1883 --devices 100000 --connect-rate 2500 --for 30m --out run.json

Ctrl-C stops sampling early and ends as if the time were over; a second Ctrl-C ends at once.
Exit code: 0 all acked; 1 not all, or the broker went away; 2 wrong options, or no broker there.`
    )
    .action(async (options: RunOptions) => exit(await run(options)))
}

async function run(options: RunOptions): Promise<number> {
  for (const path of [options.out, options.json]) if (path !== undefined) requireWritable(path)
  const interrupt = new AbortController()
  const onSignal = () => {
    if (interrupt.signal.aborted) process.exit(130)
    interrupt.abort()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const view = viewFor(process.stderr)
  const report = await runFleet(fleetOptions(options, interrupt.signal), progress => view.show(progress)).finally(() => {
    view.end()
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  })
  if (options.out !== undefined) writeJson(options.out, { ...runToJson(report.run), report: reportToJson(report) })
  if (options.json !== undefined) writeJson(options.json, reportToJson(report))
  process.stdout.write(summaryOf(report))
  return report.acked === report.published && report.ended === report.devices && report.unacked === 0 ? 0 : 1
}

function fleetOptions(options: RunOptions, signal: AbortSignal): FleetOptions {
  const { url, devices, seed, firstDevice } = options
  return {
    ...{ url, devices, seed, firstDevice, signal },
    intervalMs: options.interval,
    forMs: options.for,
    ...faultsOf(options),
    readingsPerMessage: options.batch,
    connectPerS: options.connectRate,
    drainMsMax: options.drain,
    ...(options.connections === undefined ? {} : { connections: options.connections }),
    ...(options.destinations === undefined ? {} : { destinations: options.destinations.split(',') }),
    ...(options.processes === undefined ? {} : { processes: options.processes }),
    ...(options.start === undefined ? {} : { startMs: options.start })
  }
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value)}\n`)
}

function summaryOf(report: FleetReport): string {
  const { pubackMs, backlogMs } = report
  const backlog =
    backlogMs.p999 === 0 ? '' : `\nbacklog: PUBACK p50 ${backlogMs.p50} ms, p99 ${backlogMs.p99} ms from the return of its devices`
  return [
    `${report.sampled} readings of ${report.devices} devices sampled (${report.rate}/s), ${report.unacked} of them not acked`,
    `${report.published} PUBLISHes sent, ${report.acked} acked, ${report.redelivered} redelivered over ${report.disconnects} lost connections`,
    `of the readings: ${report.duplicatesSent} sent twice, ${report.heldBackSent} held back, ${report.lateSent} late, ${report.poisonSent} poisoned`,
    `PUBACK p50 ${pubackMs.p50} ms, p99 ${pubackMs.p99} ms, p99.9 ${pubackMs.p999} ms${backlog}\n`
  ].join('\n')
}
