import { isDeviceId, quantize } from '@tidemark/protocol'
import { describe, expect, test } from 'vitest'
import {
  deviceId,
  deviceOf,
  epochOf,
  newReadingColumns,
  PROFILE,
  phaseMs,
  type RunPlan,
  trueTimeMs,
  writeReading
} from '../../simulator/src/device.js'
import { NO_FAULTS } from '../../simulator/src/faults.js'
import { SKEW_INTERVALS_MIN } from '../../simulator/src/limits.js'
import { METRIC, NUMERIC_METRICS } from '../../simulator/src/machine.js'

const plan: RunPlan = { seed: 5, firstDevice: 0, devices: 100, startMs: Date.UTC(2026, 0, 1), intervalMs: 5000, rates: NO_FAULTS }
const faulty: RunPlan = { ...plan, rates: { duplicates: 0.1, late: 0.3, poison: 0.3 } }

function readings(of: RunPlan, index: number, seqs: readonly number[]) {
  const columns = newReadingColumns(seqs.length)
  const device = deviceOf(of, index)
  const faults = seqs.map((seq, row) => writeReading(of, device, seq, columns, row))
  return {
    columns,
    faults,
    rows: seqs.map((_, row) => [columns.seqs[row], columns.eventTimesMs[row], ...columns.metrics.map(values => values[row])])
  }
}

describe('a reading', () => {
  test('is the same whenever and in whatever order it is computed', () => {
    const seqs = Array.from({ length: 300 }, (_, i) => i + 1)
    const forward = readings(faulty, 17, seqs)
    const backward = readings(faulty, 17, [...seqs].reverse())
    expect(backward.rows.reverse()).toEqual(forward.rows)
    expect(readings(faulty, 17, [250]).rows[0]).toEqual(forward.rows[249])
  })

  test('of another seed or device is another one', () => {
    const [row] = readings(plan, 3, [9]).rows
    expect(readings({ ...plan, seed: 6 }, 3, [9]).rows[0]).not.toEqual(row)
    expect(readings(plan, 4, [9]).rows[0]).not.toEqual(row)
  })

  test('holds values as the wire carries them', () => {
    const { columns } = readings(
      faulty,
      2,
      Array.from({ length: 500 }, (_, i) => i + 1)
    )
    for (let m = 0; m < NUMERIC_METRICS; m++)
      for (const value of columns.metrics[m]) expect(quantize(value, PROFILE.metrics[m])).toBe(value)
  })

  test('lies inside its profile over 25 years, and is null only where a machine has no oil', () => {
    const years: RunPlan = { ...plan, devices: 400, startMs: Date.UTC(2001, 0, 1), intervalMs: 13 * 3_600_000 }
    const outside: string[] = []
    let withoutOil = 0
    for (let index = 0; index < 400; index++) {
      const { columns } = readings(
        years,
        index,
        Array.from({ length: 200 }, (_, i) => 1 + i * 84)
      )
      const oil = columns.metrics[METRIC.oilTemperature]
      if (oil.every(Number.isNaN)) withoutOil++
      else if (oil.some(Number.isNaN)) outside.push(`device ${index} has oil now and then`)
      for (const [m, values] of columns.metrics.entries()) {
        const { name, min = 0, max = 1e6 } = PROFILE.metrics[m]
        const wrong = values.find(value => !(value >= min && value <= max) && !(m === METRIC.oilTemperature && Number.isNaN(value)))
        if (wrong !== undefined) outside.push(`${name} of device ${index} is ${wrong}`)
      }
    }
    expect(outside).toEqual([])
    expect(withoutOil).toBeGreaterThan(20)
    expect(withoutOil).toBeLessThan(100)
  })

  test('comes an interval after its predecessor, and device by device a phase later', () => {
    const { columns } = readings(plan, 50, [1, 2, 3])
    expect([...columns.eventTimesMs]).toEqual([2500, 7500, 12_500].map(ms => plan.startMs + ms))
    expect([0, 1, 99].map(index => phaseMs(plan, index))).toEqual([0, 50, 4950])
    expect(phaseMs({ ...plan, firstDevice: 200 }, 299)).toBe(4950)
  })

  test('shows its fault in its event time or in its values, and nowhere else', () => {
    const seqs = Array.from({ length: 2000 }, (_, i) => i + 1)
    const clean = readings(plan, 8, seqs)
    const { faults, columns } = readings(faulty, 8, seqs)
    const device = deviceOf(faulty, 8)
    const kinds = new Set(faults)
    for (const [i, fault] of faults.entries()) {
      const aheadMs = columns.eventTimesMs[i] - trueTimeMs(faulty, device, i + 1)
      const changed = columns.metrics.filter((values, m) => !Object.is(values[i], clean.columns.metrics[m][i])).length
      expect(changed).toBe(fault === 'out-of-range' ? 1 : 0)
      if (fault === 'clock-back') expect(aheadMs).toBeLessThanOrEqual(-SKEW_INTERVALS_MIN * plan.intervalMs)
      else if (fault === 'future') expect(columns.eventTimesMs[i]).toBeGreaterThanOrEqual(Date.UTC(2200, 0, 1))
      else expect(aheadMs).toBe(0)
    }
    expect(kinds.size).toBe(7)
  })
})

describe('a device', () => {
  test('has an ID that the protocol takes', () => {
    expect(deviceId(42)).toBe('sim-000042')
    expect([deviceId(0), deviceId(999_999)].every(isDeviceId)).toBe(true)
  })

  test('has an epoch of its own in every run', () => {
    const epochs = new Set<number>()
    for (let index = 0; index < 1000; index++)
      for (const startMs of [1e12, 1e12 + 1, 1e12 + 2 ** 32]) epochs.add(epochOf(1, index, startMs))
    expect(epochs.size).toBe(3000)
    for (const epoch of epochs) expect(Number.isSafeInteger(epoch) && epoch >= 1).toBe(true)
  })
})
