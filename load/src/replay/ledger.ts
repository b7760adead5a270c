/** Asks the gateway's own command whether every reading is accounted for. */
import { Child } from '../child.js'
import type { Stage } from './stage.js'

export interface LedgerTotals {
  readonly isBalanced: boolean
  readonly missing: number
  readonly shed: number
  readonly duplicates: number
}

/** Throws where the command fails for another reason than a ledger that does not balance. */
export async function readLedger(stage: Stage): Promise<LedgerTotals> {
  const child = new Child('gateway', ['ledger', '--data-dir', stage.gatewayData, '--json'], stage.logPath('ledger'))
  let text = ''
  child.onLine(line => (text += line))
  const exit = await child.exited
  if ((exit.code !== 0 && exit.code !== 1) || text === '') throw child.unexpected(exit)
  const { total, ok } = JSON.parse(text) as { total: { missing: number; shed: number; duplicates: number }; ok: boolean }
  return { isBalanced: ok, missing: total.missing, shed: total.shed, duplicates: total.duplicates }
}
