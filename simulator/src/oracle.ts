/**
 * What the archive and the quarantine must hold after a run, recomputed from its plan: no ledger was kept while it ran.
 * Blocks of columns, so that any number of rows passes through a fixed amount of memory.
 */
import type { RejectReason } from '@tidemark/protocol'
import { deviceOf, newReadingColumns, type ReadingColumns, type RunPlan, writeReading } from './device.js'
import { rejectReasonOf } from './faults.js'
import { BLOCK_ROWS } from './limits.js'

/** The fates of a reading by their code in `OracleBlock.fates`: null is archived, others are quarantined with that reason. */
export const FATES: readonly (RejectReason | null)[] = [null, 'metric-out-of-range', 'event-time-in-future']

/** Rows [0, rows) of each array; the arrays are used again for the next block. */
export interface OracleBlock extends ReadingColumns {
  rows: number
  readonly devices: Int32Array
  readonly fates: Uint8Array
  /** Undecodable messages sent along with the readings of this block. */
  undecodable: number
  /** Readings of this block that the archive must hold as late. */
  late: number
}

/**
 * The fate of every reading of the devices [firstDevice, endDevice), in the order of device and seq. `seqs[i]` is the highest seq of
 * the i-th device of the run.
 */
export function* expectedReadings(plan: RunPlan, seqs: ArrayLike<number>, firstDevice: number, endDevice: number): Generator<OracleBlock> {
  const block: OracleBlock = {
    ...newReadingColumns(BLOCK_ROWS),
    rows: 0,
    devices: new Int32Array(BLOCK_ROWS),
    fates: new Uint8Array(BLOCK_ROWS),
    undecodable: 0,
    late: 0
  }
  for (let index = firstDevice; index < endDevice; index++) {
    const device = deviceOf(plan, index)
    const lastSeq = seqs[index - plan.firstDevice]
    for (let seq = 1; seq <= lastSeq; seq++) {
      const fault = writeReading(plan, device, seq, block, block.rows)
      block.devices[block.rows] = index
      block.fates[block.rows] = FATES.indexOf(rejectReasonOf(fault))
      if (fault === 'undecodable') block.undecodable++
      if (fault === 'clock-back') block.late++
      if (++block.rows === BLOCK_ROWS) {
        yield block
        block.rows = block.undecodable = block.late = 0
      }
    }
  }
  if (block.rows > 0) yield block
}
