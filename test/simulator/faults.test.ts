import { describe, expect, test } from 'vitest'
import { type Fault, faultAt, holdSeqs, NO_FAULTS, rejectReasonOf, skewIntervals } from '../../simulator/src/faults.js'
import { HOLD_SEQS_MAX, SKEW_INTERVALS_END, SKEW_INTERVALS_MIN } from '../../simulator/src/limits.js'

const RATES = { duplicates: 0.01, late: 0.02, poison: 0.03 }

function countFaults(seed: number, devices: number, seqs: number): Map<Fault, number> {
  const counts = new Map<Fault, number>()
  for (let device = 0; device < devices; device++) {
    for (let seq = 100; seq < 100 + seqs; seq++) {
      const fault = faultAt(seed, RATES, device, seq)
      counts.set(fault, (counts.get(fault) ?? 0) + 1)
    }
  }
  return counts
}

describe('faults', () => {
  test('come at their rates, shared evenly among their kinds', () => {
    const n = 400_000
    const counts = countFaults(1, 400, 1000)
    const shares: [Fault, number][] = [
      ['duplicate', 0.01],
      ['held-back', 0.01],
      ['clock-back', 0.01],
      ['out-of-range', 0.01],
      ['future', 0.01],
      ['undecodable', 0.01]
    ]
    for (const [fault, share] of shares) {
      const deviation = Math.sqrt(n * share * (1 - share))
      expect(Math.abs((counts.get(fault) ?? 0) - n * share), fault).toBeLessThan(5 * deviation)
    }
  })

  test('are the same for the same seed and others for another', () => {
    const faultsOf = (seed: number) => Array.from({ length: 5000 }, (_, i) => faultAt(seed, RATES, 3, i + 1))
    expect(faultsOf(1)).toEqual(faultsOf(1))
    expect(faultsOf(2)).not.toEqual(faultsOf(1))
  })

  test('do not come at rates of 0, and always come when the rates add up to 1', () => {
    for (let seq = 10; seq < 2000; seq++) {
      expect(faultAt(1, NO_FAULTS, 0, seq)).toBe('none')
      expect(faultAt(1, { duplicates: 0.2, late: 0.3, poison: 0.5 }, 0, seq)).not.toBe('none')
    }
  })

  test('step no clock back before there is a watermark to be behind of', () => {
    for (let device = 0; device < 500; device++) {
      for (let seq = 1; seq <= HOLD_SEQS_MAX + 1; seq++) expect(faultAt(1, { ...NO_FAULTS, late: 1 }, device, seq)).not.toBe('clock-back')
    }
  })

  test('have sizes within their bounds, all of which occur', () => {
    const holds = new Set<number>()
    const skews = new Set<number>()
    for (let seq = 1; seq < 5000; seq++) {
      holds.add(holdSeqs(1, 0, seq))
      skews.add(skewIntervals(1, 0, seq))
    }
    expect([...holds].sort()).toEqual([1, 2, 3, 4])
    expect([Math.min(...skews), Math.max(...skews), skews.size]).toEqual([
      SKEW_INTERVALS_MIN,
      SKEW_INTERVALS_END - 1,
      SKEW_INTERVALS_END - SKEW_INTERVALS_MIN
    ])
  })

  test('quarantine a reading only for its range or its event time', () => {
    const faults: Fault[] = ['none', 'duplicate', 'held-back', 'clock-back', 'undecodable']
    expect(faults.map(rejectReasonOf)).toEqual([null, null, null, null, null])
    expect(rejectReasonOf('out-of-range')).toBe('metric-out-of-range')
    expect(rejectReasonOf('future')).toBe('event-time-in-future')
  })
})
