/** `tidemark-gateway reprocess`: judges what was taken in in some hours anew, on the data folder of a stopped gateway. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { BUILT_IN_PROFILES, type Profile, rfc3339Ms } from '@tidemark/protocol'
import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import { ArchiveWriteError } from '../archive/archive-error.js'
import { HOUR_MS } from '../archive/paths.js'
import { ConfigError, loadConfig, readProfile } from '../config.js'
import { ingestClock } from '../log/ingest-clock.js'
import { RepairStopped } from '../repair/repair-job.js'
import { type ReprocessProgress, type ReprocessReport, reprocess } from '../reprocess/reprocess-run.js'

interface Options {
  readonly from: string
  readonly to: string
  readonly profile?: string
  readonly config?: string
  readonly dataDir: string
  readonly json?: boolean
}

const HELP = `
Everything that was taken in from --from until before --to (whole hours of ingest time, UTC) is judged as if the given profile had been
known then: readings that it makes valid come back from the quarantine, readings that it refuses go there, and features follow, as later
revisions that are known from now on. What did not change is not touched. --profile names a YAML file, or a profile of the last start or a
built-in one; without it, the profiles of --config or of the last start judge.

The gateway must be stopped. It is safe to kill this at any time and to run it again; Ctrl-C ends it with nothing changed. The raw frames
must be whole from the last daily snapshot before --from until now: hours where they are not are named. Exit code 0: done, also where there
was nothing to change; 1: it failed or was ended; 2: correct something first.

Examples:
  $ tidemark-gateway reprocess --from 2026-11-23T00 --to 2026-11-25T00 --profile press.yaml --data-dir ./data
  $ tidemark-gateway reprocess --from 2026-11-24T13:00:00Z --to 2026-11-24T15:00:00Z --config gateway.yaml --json
`

export function addReprocessCommand(program: Command): void {
  program
    .command('reprocess')
    .description('judge what was taken in in some hours anew, by other profiles')
    .requiredOption('--from <hour>', 'the first hour of ingest time, like 2026-11-24T13 (UTC), RFC 3339 or Unix ms')
    .requiredOption('--to <hour>', 'the hour behind the last one')
    .option('--profile <file or name>', 'the profile that judges, beside all others that were in force')
    .option('-c, --config <file>', "the gateway's configuration, whose profiles judge where --profile names none")
    .option('--data-dir <folder>', "the gateway's data folder", './data')
    .option('--json', 'print the figures as JSON')
    .addHelpText('after', HELP)
    .action(run)
}

async function run(options: Options): Promise<void> {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const bar = progressBar(process.stderr)
  try {
    const startedMs = performance.now()
    const [fromMs, toMs] = [hourOf('--from', options.from), hourOf('--to', options.to)]
    if (fromMs >= toMs) throw new ConfigError('--from must lie before --to')
    const dataDir = resolve(options.dataDir)
    const nowMs = ingestClock(process.env.TIDEMARK_CLOCK_FILE)
    const judge = judgeOf(options)
    const report = await reprocess({ dataDir, fromMs, toMs, judge, nowMs, signal: stop.signal, warn: say, onProgress: bar.show })
    bar.end()
    const seconds = Math.round(performance.now() - startedMs) / 1000
    process.stdout.write(options.json ? `${JSON.stringify({ ...report, seconds })}\n` : reportText(report, seconds))
  } catch (error) {
    bar.end()
    say(messageOf(error))
    process.exit(error instanceof ConfigError || error instanceof ArchiveWriteError ? 2 : 1) // workers may be left
  }
}

function messageOf(error: unknown): string {
  if (error instanceof RepairStopped)
    return 'stopped: readings and quarantine are as asked for; the features are repaired when the gateway starts, or when this is run again'
  return error instanceof Error ? error.message : String(error)
}

function judgeOf({ profile, config }: Options): (lastStarted: readonly Profile[]) => readonly Profile[] {
  const configured = config === undefined ? null : loadConfig(config, {}).profiles
  if (profile === undefined) return lastStarted => configured ?? lastStarted
  if (existsSync(profile)) {
    const read = readProfile(resolve(profile))
    return () => [read]
  }
  return lastStarted => {
    const known = configured ?? [...BUILT_IN_PROFILES, ...lastStarted]
    const named = known.filter(({ name }) => name === profile)
    if (named.length > 0) return named
    const names = [...new Set(known.map(({ name }) => name))].join(', ')
    throw new ConfigError(`--profile: "${profile}" is neither a file nor a known profile; known are ${names}`)
  }
}

/** `2026-11-24T13`, RFC 3339 or Unix ms, at a whole hour. */
function hourOf(option: string, text: string): number {
  const timeMs = /^\d{4}-\d{2}-\d{2}T\d{2}$/.test(text)
    ? Date.parse(`${text}:00:00Z`)
    : /^\d{1,15}$/.test(text)
      ? Number(text)
      : rfc3339Ms(text)
  if (timeMs === null || Number.isNaN(timeMs))
    throw new ConfigError(`${option}: "${text}" is no hour, like 2026-11-24T13 (UTC) or 2026-11-24T13:00:00Z`)
  if (timeMs % HOUR_MS !== 0) throw new ConfigError(`${option}: "${text}" is not at a whole hour (UTC)`)
  return timeMs
}

function say(message: string): void {
  process.stderr.write(`${message}\n`)
}

function reportText(report: ReprocessReport, seconds: number): string {
  const { frames, hours, hours_changed, readings, quarantined, feature_rows, files_before, files_after } = report
  const replayed = `replayed ${frames} frames (entries ${report.first_entry} to ${report.last_entry}) and compared ${hours} hours in ${seconds} s`
  if (!report.changed)
    return `${replayed}\nnothing differs: nothing was changed${feature_rows > 0 ? `, save ${feature_rows} feature rows of an earlier run` : ''}\n`
  return `${replayed}
readings: ${readings.added} rows came, ${readings.removed} went; quarantine: ${quarantined.added} came, ${quarantined.removed} went
${hours_changed} hours were written anew (${files_before} files before, ${files_after} now); ${feature_rows} feature rows have a new revision
`
}

const STEPS = { replay: 'frames replayed', compare: 'hours compared', repair: 'hours of features repaired' } as const

/** A bar of the step under way with its rate and the time left; nothing where there is no terminal. */
function progressBar(stream: NodeJS.WriteStream): { show(progress: ReprocessProgress): void; end(): void } {
  if (!stream.isTTY) return { show: () => {}, end: () => {} }
  const looks = { barsize: 16, barCompleteChar: '█', barIncompleteChar: '░', hideCursor: true, linewrap: false, gracefulExit: false }
  const format = '{bar} {percentage}% {value}/{total} {what}, {rate}/s, {eta_formatted} left {hour}'
  const bar = new SingleBar({ ...looks, stream, format, clearOnComplete: true, etaBuffer: 100, etaAsynchronousUpdate: false })
  let step: ReprocessProgress['step'] | null = null
  let sinceMs = 0
  return {
    show({ step: now, done, total, ingestMs }) {
      if (now !== step) {
        if (step !== null) bar.stop()
        bar.start(Math.max(1, total), 0, { what: STEPS[now], rate: 0, hour: '' })
        step = now
        sinceMs = performance.now()
      }
      const rate = Math.round((done * 1000) / Math.max(1, performance.now() - sinceMs))
      bar.update(done, { what: STEPS[now], rate, hour: now === 'replay' ? new Date(ingestMs).toISOString().slice(0, 13) : '' })
    },
    end: () => {
      if (step !== null) bar.stop()
      step = null
    }
  }
}
