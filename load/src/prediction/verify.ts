/** The prediction proof: history through a real gateway, labels, a training set cut by the gateway's command, a baseline, a verdict. */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ROTATING_MACHINE } from '@tidemark/protocol'
import { withDuckDB } from '../replay/duckdb.js'
import { makeFolder } from '../replay/verify.js'
import { runCommand, startTimedGateway } from './commands.js'
import { judge, judgeShuffled, splitExamples } from './evaluate.js'
import { type Examples, readExamples } from './examples.js'
import type { Found } from './verdict.js'

const HOUR_MS = 3_600_000

/** Event time at which every history begins: fixed, so that a seed gives the same readings and labels on any day. */
const START_MS = Date.UTC(2026, 0, 5)

const HORIZON_MS = 24 * HOUR_MS

/** How far the second leak looks beyond the label. */
const AHEAD_MS = HOUR_MS

/** Shuffled controls. */
const SHUFFLES = 5

const PROFILE = ROTATING_MACHINE

export interface PredictionOptions {
  readonly devices: number
  readonly days: number
  readonly seed: number
  /** As the simulator's `generate` takes them. */
  readonly interval: string
  readonly publishEvery: string
  readonly outages: number
  /** An empty or new folder that is kept; default: a temporary one that is not. */
  readonly keep?: string
  readonly signal: AbortSignal
  readonly say: (line: string) => void
}

export async function verifyPrediction(options: PredictionOptions): Promise<Found> {
  const folder = makeFolder(options.keep, 'prediction')
  try {
    const archive = await makeArchive(folder, options)
    options.signal.throwIfAborted()
    const trainingSet = await cutTrainingSet(folder, options)
    const request = { trainingSet, archive, profile: PROFILE.name, features: featureNames(), aheadMs: AHEAD_MS }
    const examples = await withDuckDB(connection => readExamples(connection, request))
    options.say('training and testing …')
    return { ...judgeAll(examples, options.seed), setup: { ...setupOf(options), readings: readingsOf(folder) } }
  } finally {
    if (options.keep === undefined) rmSync(folder, { recursive: true, force: true })
  }
}

/** Sends the history through a gateway and stops it. Returns its archive. */
async function makeArchive(folder: string, options: PredictionOptions): Promise<string> {
  const { devices, days, seed, interval, publishEvery, outages, signal, say } = options
  const gateway = await startTimedGateway(folder, START_MS)
  try {
    say(`sending ${days} days of ${devices} devices, some of them out of reach for hours now and then …`)
    const size = ['--devices', `${devices}`, '--days', `${days}`, '--seed', `${seed}`, '--interval', interval]
    const way = ['--publish-every', publishEvery, '--outages', `${outages}`, '--clock', gateway.clock, '--speed', 'max']
    say(
      (
        await runCommand('simulator', ['generate', '--url', gateway.mqttUrl, ...size, ...way, '--out', join(folder, 'run.json')], signal)
      ).trim()
    )
    say('stopping the gateway, which writes out the rest …')
    await gateway.stop()
  } catch (error) {
    gateway.kill()
    throw error
  }
  return join(gateway.dataDir, 'archive')
}

async function cutTrainingSet(folder: string, { signal, say }: PredictionOptions): Promise<string> {
  const [run, labels, trainingSet] = [join(folder, 'run.json'), join(folder, 'labels.csv'), join(folder, 'training-set.parquet')]
  say((await runCommand('simulator', ['labels', '--run', run, '-o', labels, '--every', '1h', '--within', '24h'], signal)).trim())
  const cut = ['training-set', labels, '-o', trainingSet, '--data-dir', join(folder, 'gateway'), '--embargo', '2m']
  say((await runCommand('gateway', cut, signal)).trim())
  return trainingSet
}

function judgeAll(examples: Examples, seed: number): Omit<Found, 'setup'> {
  const halves = splitExamples(examples, HORIZON_MS)
  const { known, inTheEnd, lookingAhead, features, labels } = examples
  return {
    labels: labels.length,
    positives: labels.reduce((sum, label) => sum + label, 0),
    leaked: examples.newerInTheEnd,
    features,
    known: judge(examples, halves, known, known, seed),
    inTheEnd: judge(examples, halves, inTheEnd, inTheEnd, seed),
    lookingAhead: judge(examples, halves, lookingAhead, lookingAhead, seed),
    leakAtWork: judge(examples, halves, inTheEnd, known, seed),
    shuffled: Array.from({ length: SHUFFLES }, (_, k) => judgeShuffled(examples, halves, known, seed + k))
  }
}

function featureNames(): string[] {
  return [...PROFILE.features, ...PROFILE.flags].map(({ name }) => name)
}

function setupOf({ devices, days, seed }: PredictionOptions): Omit<Found['setup'], 'readings'> {
  return { devices, days, seed }
}

function readingsOf(folder: string): number {
  const { report } = JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8')) as { report: { readings: number } }
  return report.readings
}
