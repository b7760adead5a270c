import { ROTATING_MACHINE } from '@tidemark/protocol'
import { expect, test } from 'vitest'
import type { FileColumn, FileRows } from '../../../gateway/src/processor/flush.js'
import { readingsLayout, SORT_BY } from '../../../gateway/src/processor/layouts.js'
import { deviceOf, NO_FAULTS, newReadingColumns, type RunPlan, writeReading } from '../../../simulator/src/index.js'
import { HOUR_MS, NOON_MS, range } from '../archive/kit.js'
import { archiveWithLog, flushNumber } from './kit.js'

/** Bytes a reading of ten metrics may take in processed/, once its hour is compacted. */
const BYTES_MAX = 25
const DEVICES = 200
const MINUTES = 60
const INTERVAL_MS = 5000
const PER_MINUTE = 60_000 / INTERVAL_MS

const plan: RunPlan = { seed: 7, firstDevice: 0, devices: DEVICES, startMs: NOON_MS, intervalMs: INTERVAL_MS, rates: NO_FAULTS }
const devices = range(0, DEVICES - 1).map(index => deviceOf(plan, index))

/** What a fleet of simulated machines sends in a minute. */
function minuteOf(minute: number, strings: string[]): FileRows {
  strings.push(...devices.map(device => device.id), 'synced')
  const rows = DEVICES * PER_MINUTE
  const layout = readingsLayout(ROTATING_MACHINE)
  const columns = layout.columns.map(({ name, type }): FileColumn => {
    if (type === 'string') return { name, type, values: new Int32Array(rows).fill(-1) }
    if (type === 'bytes') throw new Error('readings hold no bytes')
    return { name, type, values: new Float64Array(rows).fill(Number.NaN) }
  })
  const valuesOf = (name: string) => columns.find(column => column.name === name)!.values as Float64Array | Int32Array
  const [device, eventTime, ingestTime, epoch, seq, late, clock, version] = [
    'device_id',
    'event_time',
    'ingest_time',
    'epoch',
    'seq',
    'late',
    'clock',
    'profile_version'
  ].map(valuesOf)
  const metrics = ROTATING_MACHINE.metrics.map(metric => valuesOf(metric.name))
  const reading = newReadingColumns(1)
  for (let row = 0; row < rows; row++) {
    const { index, epoch: life } = devices[row % DEVICES]
    const n = minute * PER_MINUTE + Math.floor(row / DEVICES) + 1
    writeReading(plan, devices[index], n, reading, 0)
    device[row] = index
    eventTime[row] = reading.eventTimesMs[0]
    // Group commits of 5 ms, a network of 20.
    ingestTime[row] = Math.ceil(reading.eventTimesMs[0] / 5) * 5 + 20
    epoch[row] = life
    seq[row] = n
    late[row] = 0
    clock[row] = DEVICES
    version[row] = ROTATING_MACHINE.version
    reading.metrics.forEach((values, m) => {
      metrics[m][row] = values[0]
    })
  }
  return {
    layer: 'processed',
    profile: ROTATING_MACHINE.name,
    profileVersion: ROTATING_MACHINE.version,
    hourMs: NOON_MS,
    rows,
    columns,
    sortBy: SORT_BY.processed
  }
}

test(`an hour of simulated machines takes at most ${BYTES_MAX} bytes a reading of ten metrics once it is compacted`, async () => {
  const archive = archiveWithLog(MINUTES * 5)
  for (const minute of range(0, MINUTES - 1)) await archive.write(flushNumber(minute, strings => [minuteOf(minute, strings)]))
  const bytesPerReading = () => {
    const files = archive.files('processed')
    return files.reduce((sum, file) => sum + file.bytes, 0) / files.reduce((sum, file) => sum + file.rows, 0)
  }
  const before = bytesPerReading()
  await archive.pass({ nowMs: () => NOON_MS + 2 * HOUR_MS })
  expect(archive.files('processed')).toMatchObject([{ rows: DEVICES * PER_MINUTE * MINUTES }])
  console.log(`processed/: ${before.toFixed(1)} bytes a reading in ${MINUTES} files, ${bytesPerReading().toFixed(1)} in one`)
  expect(bytesPerReading()).toBeLessThan(BYTES_MAX)
  expect(bytesPerReading()).toBeLessThan(before)
}, 120_000)
