/** Shows how an ordeal gets on, and what became of it: a bar on a terminal, plain lines elsewhere, then a table. */
import cliProgress from 'cli-progress'
import type { OrdealOptions } from './ordeal.js'
import type { Proof } from './verify.js'

export interface OrdealShown {
  readonly events: Pick<OrdealOptions, 'say' | 'progress'>
  /** Leaves the terminal in order. */
  stop(): void
}

/** @param isQuiet nothing but the result is asked for */
export function showOrdeal(readings: number, isQuiet: boolean, output: NodeJS.WriteStream = process.stderr): OrdealShown {
  const bars =
    output.isTTY && !isQuiet
      ? new cliProgress.MultiBar({ format: '{bar} {value}/{total} readings', stream: output, hideCursor: true, clearOnComplete: true })
      : null
  const bar = bars?.create(readings, 0)
  return {
    events: {
      say(line) {
        if (bars !== null) bars.log(`${line}\n`)
        else if (!isQuiet) output.write(`${line}\n`)
      },
      progress: sampled => bar?.update(Math.min(sampled, readings))
    },
    stop: () => bars?.stop()
  }
}

export function proofText(proof: Proof): string {
  const { ledger } = proof
  const rows: readonly (readonly [string, string])[] = [
    ['seed, durability, disk', `${proof.seed}, ${proof.durability}, ${proof.disk} of 48 MiB`],
    ['SIGKILLs', String(proof.kills)],
    ['disk full; starts declined on it', `${proof.fullDisks}; ${proof.refusedStarts}`],
    ['pages of the buffer overwritten', String(proof.spoiltPages)],
    ['salvaged', proof.salvage ?? 'nothing'],
    ['readings of the machine: archived, equal', `${proof.archivedReadings} of ${proof.readings}`],
    ['measured again after a crash', String(proof.measuredAgain)],
    ['rows that are no reading of it', String(proof.strangers)],
    ['epochs', String(proof.epochs)],
    [
      'ledger',
      `${ledger.sampled} sampled = ${ledger.archived} archived + ${ledger.quarantined} quarantined + ${ledger.shed} shed + ${ledger.buffered} buffered + ${ledger.missing} missing`
    ],
    ['sent twice, dropped by event ID', String(ledger.duplicates)],
    ['took', `${proof.seconds} s`]
  ]
  const table = rows.map(([what, value]) => `${what.padEnd(42)}${value}\n`).join('')
  const verdict =
    proof.violations.length === 0
      ? 'proved: nothing is lost but what is declared\n'
      : proof.violations.map(violation => `VIOLATED: ${violation}\n`).join('')
  return `${table}${verdict}`
}
