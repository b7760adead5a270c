/**
 * What goes wrong with a reading, as a pure function of (seed, device, seq) and the rates. A reading has at most one fault, so what
 * becomes of it can be told without knowing the network.
 *
 *   duplicate      its PUBLISH is sent twice                            archived once
 *   held-back      it is sent after one to four of its successors       archived; it fills a gap, so it is not late
 *   clock-back     its event time is stepped back by many intervals     archived as late
 *   out-of-range   one metric is beyond its profile's range             quarantined: metric-out-of-range
 *   future         its event time lies in the year 2200                 quarantined: event-time-in-future
 *   undecodable    a message that is no batch is sent before it         archived; the message is quarantined: undecodable
 */
import type { RejectReason } from '@tidemark/protocol'
import { HOLD_SEQS_MAX, SKEW_INTERVALS_END, SKEW_INTERVALS_MIN } from './limits.js'
import { mix, STREAM, unit } from './prng.js'

export type Fault = 'none' | 'duplicate' | 'held-back' | 'clock-back' | 'out-of-range' | 'future' | 'undecodable'

/** Shares of the readings, each in [0, 1], together at most 1. `late` is shared by two faults, `poison` by three. */
export interface FaultRates {
  readonly duplicates: number
  readonly late: number
  readonly poison: number
}

export const NO_FAULTS: FaultRates = { duplicates: 0, late: 0, poison: 0 }

export function isFaultless({ duplicates, late, poison }: FaultRates): boolean {
  return duplicates + late + poison === 0
}

const LATE_FAULTS: readonly Fault[] = ['held-back', 'clock-back']
const POISON_FAULTS: readonly Fault[] = ['out-of-range', 'future', 'undecodable']

const lanes = new Uint32Array(4)

export function faultAt(seed: number, rates: FaultRates, device: number, seq: number): Fault {
  if (isFaultless(rates)) return 'none'
  const { duplicates, late, poison } = rates
  mix(lanes, seed, device, seq, STREAM.fault)
  const draw = unit(lanes[0])
  if (draw < duplicates) return 'duplicate'
  if (draw < duplicates + late) {
    const fault = LATE_FAULTS[lanes[1] % LATE_FAULTS.length]
    // Before a watermark has risen there is nothing to be late against.
    return fault === 'clock-back' && seq <= HOLD_SEQS_MAX + 1 ? 'none' : fault
  }
  return draw < duplicates + late + poison ? POISON_FAULTS[lanes[1] % POISON_FAULTS.length] : 'none'
}

/** By how many seqs a held-back reading is sent late: an integer in [1, HOLD_SEQS_MAX]. */
export function holdSeqs(seed: number, device: number, seq: number): number {
  return 1 + Math.floor(faultSize(seed, device, seq) * HOLD_SEQS_MAX)
}

/** By how many intervals a clock steps back: an integer in [SKEW_INTERVALS_MIN, SKEW_INTERVALS_END). */
export function skewIntervals(seed: number, device: number, seq: number): number {
  return SKEW_INTERVALS_MIN + Math.floor(faultSize(seed, device, seq) * (SKEW_INTERVALS_END - SKEW_INTERVALS_MIN))
}

/** How a fault shows, where there are several ways: a number in [0, 1). */
export function faultSize(seed: number, device: number, seq: number): number {
  mix(lanes, seed, device, seq, STREAM.faultSize)
  return unit(lanes[0])
}

/** Why the gateway quarantines a reading with this fault; null: it archives it. */
export function rejectReasonOf(fault: Fault): RejectReason | null {
  if (fault === 'out-of-range') return 'metric-out-of-range'
  return fault === 'future' ? 'event-time-in-future' : null
}
