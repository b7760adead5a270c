/**
 * Trains and judges the baseline, split by machine and by time: what it is tested on are other machines, later. Each half of the machines
 * is tested once, by a model of the other half.
 *
 *              | training period            | horizon |  test period        |
 *   machines A |  train                     |  (none) |                     |      and the other way round
 *   machines B |                            |         |  test               |
 *
 * No training label looks into the test period: those of the last horizon before it are left out. Pure.
 */
import { Draw } from '../replay/draw.js'
import { UsageError } from '../replay/replay-error.js'
import { areaUnderCurve, averagePrecision } from './auc.js'
import type { Examples } from './examples.js'
import { fitModel, type Rows } from './model.js'

const HOUR_MS = 3_600_000

/** Share of the time that is for training. */
const TRAINING_SHARE = 0.55

/** A machine is healthy when it does not fail within this time: wear shows for five days at most. */
const HEALTHY_MS = 7 * 24 * HOUR_MS

/** Share of a healthy machine's hours with an alarm that is put up with. */
export const FALSE_ALARMS = 0.01

export interface LeadTimes {
  /** Failures in the test period. */
  readonly failures: number
  /** Those with an alarm that lasts up to the failure. */
  readonly warned: number
  /** Time from the beginning of that alarm to the failure; a failure without a warning counts as 0. Hours. */
  readonly medianHours: number
}

export interface Judgement {
  /** Area under the ROC curve; mean over the two halves. */
  readonly auc: number
  /** Mean over the two halves. */
  readonly averagePrecision: number
  readonly lead: LeadTimes
}

/** A training or test period lacks failures, or non-failures. */
export class TooSmallError extends UsageError {}

interface Half {
  readonly train: readonly number[]
  readonly test: readonly number[]
}

/** `horizonMs`: how far the labels look ahead. Throws a TooSmallError. */
export function splitExamples({ deviceIds, timesMs, labels }: Examples, horizonMs: number): Half[] {
  const [firstMs, lastMs] = timesMs.reduce(([least, most], time) => [Math.min(least, time), Math.max(most, time)], [Infinity, -Infinity])
  const testFromMs = firstMs + (lastMs - firstMs) * TRAINING_SHARE
  const order = [...new Set(deviceIds)].sort()
  const halfOf = new Map(order.map((id, k) => [id, k % 2]))
  const halves = [0, 1].map(half => {
    const isTest = (i: number) => timesMs[i] >= testFromMs && halfOf.get(deviceIds[i]) === half
    const isTraining = (i: number) => timesMs[i] < testFromMs - horizonMs && halfOf.get(deviceIds[i]) !== half
    const all = deviceIds.map((_, i) => i)
    return { train: all.filter(isTraining), test: all.filter(isTest) }
  })
  for (const { train, test } of halves) {
    for (const [part, name] of [
      [train, 'training'],
      [test, 'test']
    ] as const) {
      const positives = part.filter(i => labels[i] === 1).length
      if (positives === 0 || positives === part.length)
        throw new TooSmallError(`no machine fails in the ${name} period of one half: take more --devices, more --days or another --seed`)
    }
  }
  return halves
}

/** Trains on `trainOn` and tests on `testOn`: the same, unless a model is put to work on other features than it has learnt from. */
export function judge(examples: Examples, halves: readonly Half[], trainOn: Rows, testOn: Rows, seed: number): Judgement {
  const leads: number[] = []
  let aucs = 0
  let precisions = 0
  for (const { train, test } of halves) {
    const model = fitModel(
      train.map(i => trainOn[i]),
      train.map(i => examples.labels[i]),
      seed
    )
    const scores = model.score(test.map(i => testOn[i]))
    const labels = test.map(i => examples.labels[i])
    aucs += areaUnderCurve(scores, labels)
    precisions += averagePrecision(scores, labels)
    leads.push(...leadHours(examples, test, scores))
  }
  leads.sort((a, b) => a - b)
  const medianHours = leads.length === 0 ? 0 : (leads[(leads.length - 1) >> 1] + leads[leads.length >> 1]) / 2
  const lead = { failures: leads.length, warned: leads.filter(hours => hours > 0).length, medianHours }
  return { auc: aucs / halves.length, averagePrecision: precisions / halves.length, lead }
}

/** The control: the same with labels that were shuffled, once a seed. What is left is luck. */
export function judgeShuffled(examples: Examples, halves: readonly Half[], rows: Rows, seed: number): Judgement {
  const labels = Uint8Array.from(new Draw(seed).shuffle([...examples.labels]))
  return judge({ ...examples, labels }, halves, rows, rows, seed)
}

/** For each failure in the test period: how long before it an alarm began that lasted; 0 without. */
function leadHours({ deviceIds, timesMs, failsMs }: Examples, test: readonly number[], scores: Float64Array): number[] {
  const healthy = scores.filter((_, k) => failsMs[test[k]] - timesMs[test[k]] > HEALTHY_MS).sort()
  const threshold = healthy.length === 0 ? Number.POSITIVE_INFINITY : healthy[Math.ceil((1 - FALSE_ALARMS) * healthy.length) - 1]
  const lastMs = test.reduce((most, i) => Math.max(most, timesMs[i]), Number.NEGATIVE_INFINITY)
  const hoursBefore = new Map<string, { timeMs: number; isAlarm: boolean }[]>()
  for (const [k, i] of test.entries()) {
    if (failsMs[i] > lastMs || failsMs[i] - timesMs[i] > HEALTHY_MS) continue
    const failure = `${deviceIds[i]} ${failsMs[i]}`
    const hours = hoursBefore.get(failure) ?? []
    hours.push({ timeMs: timesMs[i], isAlarm: scores[k] > threshold })
    hoursBefore.set(failure, hours)
  }
  return [...hoursBefore].map(([failure, hours]) => {
    hours.sort((a, b) => b.timeMs - a.timeMs)
    const quiet = hours.findIndex(({ isAlarm }) => !isAlarm)
    const alarms = quiet < 0 ? hours.length : quiet
    return alarms === 0 ? 0 : (Number(failure.split(' ')[1]) - hours[alarms - 1].timeMs) / HOUR_MS
  })
}
