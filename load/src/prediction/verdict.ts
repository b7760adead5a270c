/** What a prediction proof found: as JSON, and as a table for people. */
import { FALSE_ALARMS, type Judgement } from './evaluate.js'

/** The features must beat the best shuffled control by so much AUC. */
export const SIGNAL_MIN = 0.2

export interface Found {
  readonly setup: { readonly devices: number; readonly days: number; readonly seed: number; readonly readings: number }
  readonly labels: number
  readonly positives: number
  /** Labels for which a join that ignores known_at gives newer features than were known. */
  readonly leaked: number
  readonly features: readonly string[]
  readonly known: Judgement
  readonly inTheEnd: Judgement
  readonly lookingAhead: Judgement
  /** The model that has learnt from what it could not know, on what is known when it is used. */
  readonly leakAtWork: Judgement
  readonly shuffled: readonly Judgement[]
}

export interface Verdict {
  /** AUC above the best of the shuffled controls. */
  readonly signal: number
  /** By how much the leak looks better than the truth. */
  readonly leakAuc: number
  readonly leakAveragePrecision: number
  readonly faults: readonly string[]
}

export function verdictOf({ known, inTheEnd, shuffled, leaked }: Found): Verdict {
  const signal = known.auc - Math.max(...shuffled.map(({ auc }) => auc))
  const leakAuc = inTheEnd.auc - known.auc
  const leakAveragePrecision = inTheEnd.averagePrecision - known.averagePrecision
  const faults: string[] = []
  if (!(signal >= SIGNAL_MIN))
    faults.push(`the features carry too little signal: ${four(signal)} above the shuffled control, not ${SIGNAL_MIN}`)
  if (leaked === 0) faults.push('there was nothing to leak: all features were known at once')
  if (!(leakAuc > 0)) faults.push(`the leaking join does not look better by AUC (${four(leakAuc)})`)
  if (!(leakAveragePrecision > 0)) faults.push(`the leaking join does not look better by average precision (${four(leakAveragePrecision)})`)
  return { signal, leakAuc, leakAveragePrecision, faults }
}

export function verdictToJson(found: Found, verdict: Verdict) {
  const json = ({ auc, averagePrecision, lead }: Judgement) => ({
    auc,
    average_precision: averagePrecision,
    failures: lead.failures,
    warned: lead.warned,
    lead_hours_median: lead.medianHours
  })
  return {
    ...found.setup,
    labels: found.labels,
    positives: found.positives,
    leaked: found.leaked,
    features: found.features,
    false_alarms: FALSE_ALARMS,
    known: json(found.known),
    in_the_end: json(found.inTheEnd),
    looking_ahead: json(found.lookingAhead),
    leak_at_work: json(found.leakAtWork),
    shuffled: found.shuffled.map(json),
    signal: verdict.signal,
    leak_auc: verdict.leakAuc,
    leak_average_precision: verdict.leakAveragePrecision,
    faults: verdict.faults,
    ok: verdict.faults.length === 0
  }
}

export function verdictText(found: Found, verdict: Verdict): string {
  const line = (name: string, { auc, averagePrecision, lead }: Judgement) =>
    [
      name.padEnd(44),
      four(auc),
      four(averagePrecision).padStart(9),
      `${Math.round(lead.warned)} of ${lead.failures}`.padStart(10),
      `${lead.medianHours.toFixed(1)} h`.padStart(9)
    ].join('  ')
  const { shuffled, setup } = found
  const lines = [
    `${setup.readings} readings of ${setup.devices} devices over ${setup.days} days; ${found.labels} labels, ${found.positives} of them before a failure`,
    `tested on machines and days that the model has not seen; an alarm in ${FALSE_ALARMS * 100} % of a healthy machine's hours is put up with`,
    '',
    `${'features'.padEnd(44)}   AUC  avg prec.      warned  lead time`,
    line('as they were known (the training set)', found.known),
    line(`the same, labels shuffled (mean of ${shuffled.length})`, meanOf(shuffled)),
    line('leak: as they are known in the end', found.inTheEnd),
    line('leak: in the end, and an hour ahead', found.lookingAhead),
    line('  the first leak, put to work', found.leakAtWork),
    '',
    `signal: AUC ${four(verdict.signal)} above the best shuffled control`,
    `lesson: a join that ignores known_at sees newer features for ${found.leaked} of ${found.labels} labels, and looks better than the truth by`,
    `        ${four(verdict.leakAuc)} AUC and ${four(verdict.leakAveragePrecision)} average precision; put to work it has ${four(found.leakAtWork.auc)} and ${four(found.leakAtWork.averagePrecision)}`,
    ...verdict.faults.map(fault => `  - ${fault}`),
    verdict.faults.length === 0 ? 'ok' : 'NOT OK'
  ]
  return `${lines.join('\n')}\n`
}

function meanOf(all: readonly Judgement[]): Judgement {
  const mean = (of: (one: Judgement) => number) => all.reduce((sum, one) => sum + of(one), 0) / all.length
  const lead = { failures: all[0].lead.failures, warned: mean(one => one.lead.warned), medianHours: mean(one => one.lead.medianHours) }
  return { auc: mean(one => one.auc), averagePrecision: mean(one => one.averagePrecision), lead }
}

function four(value: number): string {
  return value.toFixed(4)
}
