/** `tidemark-sim generate`: options to a history, its report to files and to the person. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { UsageError } from './broker.js'
import { sendHistory } from './history.js'
import { type HistoryReport, historyToJson } from './history-options.js'
import { durationOf, numberOf, requireWritable, timeOf } from './options.js'
import { historyView } from './progress.js'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

interface GenerateOptions {
  readonly url: string
  readonly devices: number
  readonly days: number
  readonly interval: number
  readonly publishEvery: number
  readonly speed: number
  readonly seed: number
  readonly outages: number
  readonly start?: number
  readonly clock?: string
  readonly out?: string
}

export function addGenerateCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('generate')
    .description('send a history of days, with wear and failures, in minutes')
    .requiredOption('--url <mqtt-url>', 'the broker, like mqtt://127.0.0.1:1883')
    .option('--devices <n>', 'how many devices; each is a connection', numberOf, 100)
    .option('--days <n>', 'how much time the history covers', numberOf, 30)
    .addOption(new Option('--interval <duration>', 'how often each device takes a reading').argParser(durationOf).default(5 * 60_000, '5m'))
    .addOption(
      new Option('--publish-every <duration>', 'how often a device in reach sends what it has').argParser(durationOf).default(HOUR_MS, '1h')
    )
    .addOption(
      new Option('--speed <factor>', 'event time over real time; max: as fast as the broker acks')
        .argParser(speedOf)
        .default(Number.POSITIVE_INFINITY, 'max')
    )
    .option('--seed <n>', 'the seed that machines, readings and outages follow from', numberOf, 1)
    .option('--outages <rate>', 'share of days on which a device falls out of reach, for 2 to 36 h', numberOf, 0)
    .option('--start <time>', 'event time at which it begins, RFC 3339 (default: where --clock stands, else --days ago)', timeOf)
    .option('--clock <file>', 'keep the history’s time in this file, for a gateway with TIDEMARK_CLOCK_FILE')
    .option('--out <file>', 'write what `labels` and `verify` need there')
    .addHelpText(
      'after',
      `
Example: a gateway that takes the history in as if it happened, then labels
  $ date -u -d '30 days ago' +%s000 > clock
  $ TIDEMARK_CLOCK_FILE=clock tidemark-gateway start --data-dir data &
  $ tidemark-sim generate --url mqtt://127.0.0.1:1883 --devices 1000 --days 30 --outages 0.1 --clock clock --out run.json
  $ tidemark-sim labels --run run.json -o labels.csv

Without --clock a gateway takes all of it in today. Then no feature was known at any time of the history, and no training set can be
cut from it: that is right, but seldom what you want.
Ctrl-C ends the streams where they are; a second Ctrl-C ends at once.
Exit code: 0 all acked; 1 not; 2 wrong options, or no broker there.`
    )
    .action(async (options: GenerateOptions) => exit(await generate(options)))
}

async function generate(options: GenerateOptions): Promise<number> {
  if (options.out !== undefined) requireWritable(options.out)
  const startMs = options.start ?? defaultStart(options)
  const interrupt = new AbortController()
  const onSignal = () => {
    if (interrupt.signal.aborted) process.exit(130)
    interrupt.abort()
  }
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  const view = historyView(process.stderr)
  const { url, devices, days, interval, publishEvery, speed, seed, outages, clock } = options
  const history = {
    url,
    devices,
    seed,
    outages,
    speed,
    startMs,
    forMs: Math.round(days * DAY_MS),
    intervalMs: interval,
    publishEveryMs: publishEvery
  }
  const setClock = clock === undefined ? {} : { setClock: (timeMs: number) => writeClock(clock, timeMs) }
  const report = await sendHistory({ ...history, ...setClock, signal: interrupt.signal }, progress => view.show(progress)).finally(() => {
    view.end()
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  })
  if (options.out !== undefined) writeFileSync(options.out, `${JSON.stringify(historyToJson(report))}\n`)
  process.stdout.write(summaryOf(report))
  return report.ended === report.devices ? 0 : 1
}

/** A whole hour: from where the clock stands, or so that the history ends now. */
function defaultStart({ clock, days }: GenerateOptions): number {
  if (clock === undefined || !existsSync(clock)) return Math.floor((Date.now() - days * DAY_MS) / HOUR_MS) * HOUR_MS
  const text = readFileSync(clock, 'utf8').trim()
  if (!/^\d{1,15}$/.test(text))
    throw new UsageError(`${clock} holds no Unix ms: write the time there at which the history begins, or say --start`)
  return Math.ceil(Number(text) / HOUR_MS) * HOUR_MS
}

/** In one step: whoever reads the file finds the old time or the new one. */
function writeClock(path: string, timeMs: number): void {
  try {
    writeFileSync(`${path}.next`, String(timeMs))
    renameSync(`${path}.next`, path)
  } catch (cause) {
    throw new UsageError(`cannot write ${path}: check that its folder exists and is yours, or correct --clock`, { cause })
  }
}

function summaryOf({ readings, devices, seconds, batches, backlogBatches, disconnects, ended, endMs }: HistoryReport): string {
  const rate = Math.round(readings / Math.max(seconds, 1e-3))
  return [
    `${readings} readings of ${devices} devices acked in ${seconds.toFixed(1)} s (${rate}/s), up to ${new Date(endMs).toISOString()}`,
    `${batches} batches, ${backlogBatches} of them backlog; ${disconnects} lost connections; ${ended} streams ended\n`
  ].join('\n')
}

function speedOf(text: string): number {
  if (text === 'max') return Number.POSITIVE_INFINITY
  const speed = Number(text)
  if (!(speed > 0)) throw new InvalidArgumentError('Write a factor, like 3600, or max.')
  return speed
}
