import { describe, expect, test } from 'vitest'
import { failuresAround, METRIC, machineOf, measure, NUMERIC_METRICS } from '../../simulator/src/machine.js'

const HOUR_MS = 3_600_000
const NOW_MS = Date.UTC(2026, 10, 24)

function mean(machineIndex: number, metric: number, fromMs: number, toMs: number): number {
  const values = new Float64Array(NUMERIC_METRICS)
  const machine = machineOf(1, machineIndex)
  let sum = 0
  for (let k = 0; k < 200; k++) {
    measure(machine, fromMs + ((toMs - fromMs) * k) / 200, k + 1, values)
    sum += values[metric]
  }
  return sum / 200
}

describe('a machine', () => {
  test('fails again and again, and each failure is the next one of the time before it', () => {
    for (let device = 0; device < 50; device++) {
      const machine = machineOf(1, device)
      let { lastMs, nextMs } = failuresAround(machine, NOW_MS)
      for (let life = 0; life < 20; life++) {
        expect(nextMs).toBeGreaterThan(lastMs + machine.repairMs)
        expect(failuresAround(machine, nextMs - 1)).toEqual({ lastMs, nextMs })
        const after = failuresAround(machine, nextMs)
        expect(after.lastMs).toBe(nextMs)
        ;({ lastMs, nextMs } = after)
      }
    }
  })

  test('shakes harder and runs hotter in the hours before its failure', () => {
    for (let device = 0; device < 20; device++) {
      const { lastMs, nextMs } = failuresAround(machineOf(1, device), NOW_MS)
      const healthyMs = lastMs + (nextMs - lastMs) * 0.4
      const worn = mean(device, METRIC.vibration, nextMs - 6 * HOUR_MS, nextMs)
      expect(worn).toBeGreaterThan(2 * mean(device, METRIC.vibration, healthyMs, healthyMs + 6 * HOUR_MS))
    }
  })

  test('stands still for its repair after a failure, and cools down meanwhile', () => {
    const values = new Float64Array(NUMERIC_METRICS)
    for (let device = 0; device < 20; device++) {
      const machine = machineOf(1, device)
      const { nextMs } = failuresAround(machine, NOW_MS)
      measure(machine, nextMs - 1, 1, values)
      expect(values[METRIC.maintenanceFlag]).toBe(0)
      const runningTemperature = values[METRIC.temperature]
      measure(machine, nextMs + machine.repairMs - 1, 2, values)
      expect(values[METRIC.maintenanceFlag]).toBe(1)
      expect(values[METRIC.rpm]).toBe(0)
      expect(values[METRIC.powerConsumption]).toBe(0)
      expect(values[METRIC.temperature]).toBeLessThan(runningTemperature - 15)
      measure(machine, nextMs + machine.repairMs, 3, values)
      expect(values[METRIC.maintenanceFlag]).toBe(0)
    }
  })

  test('does not jump in temperature when it fails or starts again', () => {
    const values = new Float64Array(NUMERIC_METRICS)
    const temperatureAt = (device: number, timeMs: number) => {
      measure(machineOf(1, device), timeMs, 1, values) // one seq, one noise
      return values[METRIC.temperature]
    }
    for (let device = 0; device < 20; device++) {
      const machine = machineOf(1, device)
      const { nextMs } = failuresAround(machine, NOW_MS)
      for (const changeMs of [nextMs, nextMs + machine.repairMs]) {
        expect(Math.abs(temperatureAt(device, changeMs + 1000) - temperatureAt(device, changeMs - 1000))).toBeLessThan(0.5)
      }
    }
  })

  test('draws a current that goes with its power', () => {
    const ratio = (device: number) =>
      mean(device, METRIC.motorCurrent, NOW_MS, NOW_MS + HOUR_MS) / mean(device, METRIC.powerConsumption, NOW_MS, NOW_MS + HOUR_MS)
    const running = [0, 1, 2, 3, 4, 5].filter(device => mean(device, METRIC.maintenanceFlag, NOW_MS, NOW_MS + HOUR_MS) === 0)
    for (const device of running) expect(ratio(device)).toBeCloseTo(1000 / (Math.sqrt(3) * 400 * 0.86), 2)
    expect(running.length).toBeGreaterThan(0)
  })
})
