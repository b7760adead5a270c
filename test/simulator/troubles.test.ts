import { describe, expect, test } from 'vitest'
import { backlogReadings, deviceOf, eventTimeMs, type RunPlan, trueTimeMs } from '../../simulator/src/device.js'
import { NO_FAULTS } from '../../simulator/src/faults.js'
import { DELAY_INTERVALS_MAX, SILENCE_INTERVALS_END, SKEW_MS_MAX } from '../../simulator/src/limits.js'
import { clockSkewMs, heldUntil, isCutBehind, NO_TROUBLES } from '../../simulator/src/troubles.js'

const SEQS = Array.from({ length: 20_000 }, (_, i) => i + 1)
const plan: RunPlan = { seed: 3, firstDevice: 10, devices: 100, startMs: Date.UTC(2026, 0, 1), intervalMs: 5000, rates: NO_FAULTS }

describe('troubles', () => {
  test('do not come at rates of 0', () => {
    expect(SEQS.some(seq => isCutBehind(1, NO_TROUBLES, 5, seq))).toBe(false)
    expect(SEQS.every(seq => heldUntil(1, NO_TROUBLES, 5, seq) === seq)).toBe(true)
    expect(clockSkewMs(1, 0, 5)).toBe(0)
  })

  test('cut connections and delay readings at their rates', () => {
    const cut = SEQS.filter(seq => isCutBehind(1, { ...NO_TROUBLES, disconnects: 0.05 }, 5, seq)).length
    expect(cut / SEQS.length).toBeCloseTo(0.05, 2)
    const delays = SEQS.map(seq => heldUntil(1, { ...NO_TROUBLES, delays: 0.1 }, 5, seq) - seq)
    expect(delays.filter(delay => delay > 0).length / SEQS.length).toBeCloseTo(0.1, 2)
    expect(new Set(delays)).toEqual(new Set(Array.from({ length: DELAY_INTERVALS_MAX + 1 }, (_, i) => i)))
  })

  //  seq     1 2 3 4 5 6 7 8 9      all of a silence is held until the seq behind it
  //  until   1 2 7 7 7 7 7 8 9
  test('silence holds all its readings until the same later one', () => {
    const until = SEQS.map(seq => heldUntil(1, { ...NO_TROUBLES, silence: 0.5 }, 5, seq))
    const ends = new Set(until.filter((end, i) => end > SEQS[i]))
    expect(ends.size).toBeGreaterThan(50)
    for (const [i, end] of until.entries()) {
      expect(end - SEQS[i]).toBeLessThan(2 * SILENCE_INTERVALS_END)
      if (end > SEQS[i] && i + 1 < until.length) expect(until[i + 1]).toBeGreaterThanOrEqual(end)
    }
  })

  test('a skewed clock is always wrong by the same, within its bound, and only of some devices', () => {
    const skews = Array.from({ length: 5000 }, (_, device) => clockSkewMs(1, 0.2, device))
    expect(skews.filter(ms => ms !== 0).length / skews.length).toBeCloseTo(0.2, 1)
    expect(Math.max(...skews.map(Math.abs))).toBeLessThanOrEqual(SKEW_MS_MAX)
    expect(skews.some(ms => ms > 0) && skews.some(ms => ms < 0)).toBe(true)
    const skewed: RunPlan = { ...plan, troubles: { ...NO_TROUBLES, skew: 1 } }
    const device = deviceOf(skewed, 11)
    for (const seq of [1, 2, 900]) {
      expect(eventTimeMs(skewed, device, seq, 'none') - trueTimeMs(skewed, device, seq)).toBe(clockSkewMs(3, 1, 11))
    }
  })
})

test('a backlog gives so many devices, spread evenly, an earlier beginning', () => {
  const behind: RunPlan = { ...plan, backlog: { devices: 25, ms: 3_600_000 } }
  const readings = Array.from({ length: 100 }, (_, i) => backlogReadings(behind, 10 + i))
  expect(readings.filter(count => count === 720).length).toBe(25)
  expect(readings.filter(count => count === 0).length).toBe(75)
  for (let i = 0; i < 100; i += 4) expect(readings.slice(i, i + 4).filter(count => count > 0).length).toBe(1)
  const device = deviceOf(behind, 10 + readings.indexOf(720))
  expect(trueTimeMs(behind, device, 721)).toBe(behind.startMs + device.phaseMs)
  expect(trueTimeMs(behind, device, 1)).toBe(behind.startMs + device.phaseMs - 3_600_000)
})
