/**
 * What the archive and the quarantine must hold after a run, recomputed from its plan: no ledger was kept while it ran. Readings may be
 * asked for in any order; those of one device one after the other come cheapest.
 */
import type { RejectReason } from '@tidemark/protocol'
import { type Device, deviceOf, faultOf, newReadingColumns, type ReadingColumns, type RunPlan, writeReading } from './device.js'
import type { Fault } from './faults.js'
import { isFaultless, rejectReasonOf } from './faults.js'

/** The fates of a reading by their code: null is archived, others are quarantined with that reason. */
export const FATES: readonly (RejectReason | null)[] = [null, 'metric-out-of-range', 'event-time-in-future']

/** The code of a fault's fate. */
export function fateOf(fault: Fault): number {
  return FATES.indexOf(rejectReasonOf(fault))
}

/** Numbers of readings, but for `undecodable`: messages. */
export interface Expected {
  archived: number
  quarantined: number
  /** Of the archived: those that came late, if the broker took them in as they were sent. */
  late: number
  undecodable: number
}

export class Oracle {
  /** One row: the reading that was asked for last. */
  readonly reading: ReadingColumns = newReadingColumns(1)
  private device: Device

  constructor(private readonly plan: RunPlan) {
    this.device = deviceOf(plan, plan.firstDevice)
  }

  /** Puts a reading of the run's i-th device into `reading` and returns the code of its fate. */
  ask(i: number, seq: number): number {
    return fateOf(writeReading(this.plan, this.deviceAt(i), seq, this.reading, 0))
  }

  /** The code of a reading's fate alone. */
  fate(i: number, seq: number): number {
    return fateOf(faultOf(this.plan, this.deviceAt(i), seq))
  }

  locationOf(i: number): string {
    return this.deviceAt(i).machine.location
  }

  /** Counts the fates of the seqs 1 to `lastSeq` of a device. */
  count(i: number, lastSeq: number, into: Expected): void {
    const device = this.deviceAt(i)
    if (isFaultless(this.plan.rates)) {
      into.archived += lastSeq
      return
    }
    for (let seq = 1; seq <= lastSeq; seq++) {
      const fault = faultOf(this.plan, device, seq)
      if (fateOf(fault) === 0) into.archived++
      else into.quarantined++
      if (fault === 'clock-back') into.late++
      if (fault === 'undecodable') into.undecodable++
    }
  }

  private deviceAt(i: number): Device {
    const index = this.plan.firstDevice + i
    if (this.device.index !== index) this.device = deviceOf(this.plan, index)
    return this.device
  }
}
