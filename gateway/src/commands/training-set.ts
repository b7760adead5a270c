import { existsSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { DuckDBConnection } from '@duckdb/node-api'
import { durationMs } from '@tidemark/protocol'
import type { Command } from 'commander'
import { TrainingSetError, type TrainingSetSummary, writeTrainingSet } from '../archive/training-set.js'
import { NoArchiveError, withViews } from '../archive/views.js'
import { ConfigError } from '../config.js'

/** `tidemark-gateway training-set`: labels in, a Parquet file out with the features that were known at each label's time. */

/** How often the progress is shown. */
const SHOWN_MS = 250

export interface TrainingSetOptions {
  readonly dataDir: string
  readonly out: string
  readonly profile?: string
  readonly features?: readonly string[]
  readonly embargoMs?: number
  /** Shows progress there where it is a terminal. */
  readonly progress?: NodeJS.WriteStream
}

/** Writes `options.out` in one step, whole or not at all. Throws a NoArchiveError or a TrainingSetError. */
export async function makeTrainingSet(labelsPath: string, options: TrainingSetOptions): Promise<TrainingSetSummary> {
  const outPath = resolve(options.out)
  if (!existsSync(labelsPath)) throw new TrainingSetError(`there is no file ${labelsPath}: give a CSV with device_id, label_time, label`)
  if (!existsSync(dirname(outPath))) throw new TrainingSetError(`there is no folder ${dirname(outPath)}: make it, or correct -o`)
  if (existsSync(outPath) && statSync(outPath).isDirectory()) throw new TrainingSetError(`${outPath} is a folder: give a file with -o`)
  const unfinished = `${outPath}.${process.pid}.part`
  const request = {
    labelsPath: resolve(labelsPath),
    outPath: unfinished,
    profile: options.profile ?? null,
    features: options.features ?? null,
    embargoMs: options.embargoMs ?? 0
  }
  try {
    const summary = await withViews(options.dataDir, { ownFiles: true }, connection =>
      showing(connection, options.progress, () => writeTrainingSet(connection, request))
    )
    renameSync(unfinished, outPath)
    return summary
  } catch (cause) {
    rmSync(unfinished, { force: true })
    if (cause instanceof Error && /Cannot open file .*\.part/.test(cause.message))
      throw new TrainingSetError(`cannot write in ${dirname(outPath)}: check its owner and free space, or correct -o`, { cause })
    throw cause
  }
}

/** Ctrl-C was pressed: what was begun is gone again. */
class InterruptedError extends Error {}

/** Ends at Ctrl-C. DuckDB says how far the statement that runs is; a terminal sees it. */
async function showing<T>(connection: DuckDBConnection, stream: NodeJS.WriteStream | undefined, work: () => Promise<T>): Promise<T> {
  let isInterrupted = false
  const interrupt = () => {
    isInterrupted = true
    connection.interrupt()
  }
  process.once('SIGINT', interrupt)
  try {
    return await withProgress(connection, stream, work)
  } catch (cause) {
    throw isInterrupted ? new InterruptedError('interrupted: nothing was written', { cause }) : cause
  } finally {
    process.off('SIGINT', interrupt)
  }
}

async function withProgress<T>(connection: DuckDBConnection, stream: NodeJS.WriteStream | undefined, work: () => Promise<T>): Promise<T> {
  if (!stream?.isTTY) return await work()
  const timer = setInterval(() => {
    const { percentage } = connection.progress
    stream.write(`\rcutting the training set … ${percentage > 0 ? `${Math.round(percentage)} %` : ''}\x1b[K`)
  }, SHOWN_MS)
  try {
    return await work()
  } finally {
    clearInterval(timer)
    stream.write('\r\x1b[K')
  }
}

export function summaryText(summary: TrainingSetSummary, out: string): string {
  const { profile, features, labels, joined, without_features: without, known_too_late: tooLate, age_ms: age } = summary
  const seconds = (ms: number | null) => (ms === null ? 'none' : `${Math.round(ms / 1000)} s`)
  const lines = [
    `${labels} labels, ${joined} of them with features of ${profile} (${features.length} columns), as known at their time`,
    `age of the features at the label's time: median ${seconds(age.p50)}, oldest ${seconds(age.max)}`
  ]
  if (without > 0) lines.push(`${without} labels have null features: nothing was available for their device then`)
  if (tooLate > 0)
    lines.push(`(for ${tooLate} of them there are rows, which became known later only: to train with them would leak what came after)`)
  return `${[...lines, `written to ${out}`].join('\n')}\n`
}

const HELP = `
LABELS is a CSV file with the columns device_id, label_time (RFC 3339 with a zone, or Unix ms) and label; others are passed on.
Each label gives one row, in the same order: its columns, as_of, revision and known_at of the newest feature row that was
available at label_time, age_ms (label_time - as_of), and the features. A row is available from greatest(known_at, as_of) plus
the embargo on. Nothing that became known later is used: that is what keeps a model from learning the future.
It works while the gateway runs, and sees what has been flushed.

Examples:
  $ tidemark-gateway training-set labels.csv -o train.parquet --data-dir ./data --embargo 2m
  $ tidemark-gateway training-set labels.csv -o train.parquet --profile rotating-machine --features temp_mean_1h,vibration_max_1h

Exit code: 0 written; 1 failed; 2 something to correct: the labels, an option, the data folder.
`

interface Options {
  readonly out: string
  readonly profile?: string
  readonly features?: string[]
  readonly embargo: number
  readonly dataDir: string
  readonly json?: boolean
}

export function addTrainingSetCommand(program: Command): void {
  program
    .command('training-set')
    .description('join labels with the features that were known at their time')
    .argument('<labels.csv>', 'CSV with device_id, label_time, label')
    .requiredOption('-o, --out <file>', 'the Parquet file to write')
    .option('--profile <name>', 'whose features; needed only where the archive has several')
    .option('--features <names>', 'only these, separated by commas (default: all features and flags)', namesOf)
    .option('--embargo <duration>', 'time that a row needs to reach whoever predicts, like 2m', durationOf, 0)
    .option('--data-dir <folder>', "the gateway's data folder", './data')
    .option('--json', 'print the summary as JSON')
    .addHelpText('after', HELP)
    .action(async (labels: string, options: Options) => {
      try {
        const { out, profile, features, embargo, dataDir } = options
        const given = { ...(profile === undefined ? {} : { profile }), ...(features === undefined ? {} : { features }) }
        const summary = await makeTrainingSet(labels, { out, dataDir, embargoMs: embargo, progress: process.stderr, ...given })
        process.stdout.write(options.json ? `${JSON.stringify({ ...summary, out })}\n` : summaryText(summary, out))
      } catch (error) {
        process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
        process.exitCode = exitCodeOf(error)
      }
    })
}

function exitCodeOf(error: unknown): number {
  if (error instanceof InterruptedError) return 130
  return error instanceof NoArchiveError || error instanceof TrainingSetError ? 2 : 1
}

function namesOf(text: string): string[] {
  const names = text.split(',').map(name => name.trim())
  if (names.includes('')) throw new ConfigError(`--features: "${text}" is no list of names, like temp_mean_1h,vibration_max_1h`)
  return names
}

function durationOf(text: string): number {
  try {
    return durationMs(text)
  } catch {
    if (text === '0') return 0
    throw new ConfigError(`--embargo: "${text}" is no duration: write a number and ms, s, m, h or d, like 2m`)
  }
}
