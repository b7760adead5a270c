/** How many readings a second the processor takes from a log on disk, on one core. */
import { type Applied, applyLog, median, newProcessor } from './apply.js'
import { fleet, START_MS, startEntry, trafficOf, writeLog } from './fleet-log.js'

export interface Speed {
  readonly batchReadings: number
  readonly devices: number
  readonly readings: number
  readonly featureRows: number
  readonly bytesPerReading: number
  /** The median of the rounds. */
  readonly readingsPerSecond: number
  /** The same by CPU time, garbage collection and SQLite included: what others on the machine do does not count. */
  readonly readingsPerCpuSecond: number
  readonly boundaryMsMax: number
}

export interface SpeedOptions {
  readonly path: string
  readonly devices: number
  readonly batchReadings: number
  readonly batchesPerDevice: number
  readonly rounds: number
}

export function measureSpeed({ path, devices, batchReadings, batchesPerDevice, rounds }: SpeedOptions): Speed {
  const forMs = batchesPerDevice * batchReadings * 5000
  const messagesPerEntry = Math.max(4, Math.floor(200 / batchReadings))
  const traffic = { devices: fleet(devices), firstEntry: 2, firstSeq: 1, firstMs: START_MS, forMs, batchReadings, messagesPerEntry }
  const { bytes } = writeLog(
    path,
    (function* () {
      yield startEntry(1, START_MS)
      yield* trafficOf(traffic)
    })()
  )
  const applied: Applied[] = []
  for (let round = 0; round <= rounds; round++) {
    const one = applyLog(path, newProcessor())
    if (round > 0) applied.push(one) // the first warms up
  }
  const [{ readings, featureRows }] = applied
  if (readings !== devices * batchReadings * batchesPerDevice) throw new Error(`${readings} readings were archived: the log is wrong`)
  return {
    batchReadings,
    devices,
    readings,
    featureRows,
    bytesPerReading: bytes / readings,
    readingsPerSecond: median(applied.map(({ ms }) => (readings / ms) * 1000)),
    readingsPerCpuSecond: median(applied.map(({ cpuMs }) => (readings / cpuMs) * 1000)),
    boundaryMsMax: median(applied.map(({ boundaryMsMax }) => boundaryMsMax))
  }
}
