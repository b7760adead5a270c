/**
 * The registry where no gateway runs: read from the catalog and the control frames behind it; changed by a control frame in the
 * log, under the data folder's lock, which the next gateway processes.
 */
import { join } from 'node:path'
import { Catalog } from '../archive/catalog.js'
import { dataPaths } from '../archive/paths.js'
import { lockDataDir } from '../data-lock.js'
import { packFrame, readFrames } from '../log/frames.js'
import { SqliteLog, SqliteLogReader } from '../log/sqlite-log.js'
import { decodeControl, encodeControl } from '../processor/control.js'
import { change, type DeviceRow, type DeviceSettings, newRegistration } from '../processor/registry.js'

const ENTRIES_AT_ONCE = 64

/** By device ID. What devices sent behind the last boundary shows when a gateway runs again. */
export function readRegistry(dataDir: string): DeviceRow[] {
  const { devices, entry } = readCatalog(dataDir)
  const rows = new Map(devices.map(row => [row.deviceId, row]))
  const log = new SqliteLogReader(join(dataDir, 'log.sqlite'))
  try {
    for (const { deviceId, settings, ingestMs } of changesBehind(log, entry)) {
      const row = rows.get(deviceId) ?? {
        deviceId,
        ...newRegistration(ingestMs),
        seenMs: null,
        watermarkMs: null,
        idle: false,
        ended: false
      }
      change(row, settings)
      rows.set(deviceId, row)
    }
  } finally {
    log.close()
  }
  return [...rows.values()].sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1))
}

/** Durable when it returns. Throws a `ConfigError` where a gateway holds the folder. */
export function appendChange(dataDir: string, deviceId: string, settings: DeviceSettings): void {
  const lock = lockDataDir(dataDir)
  try {
    const payload = encodeControl({ control: 'device', deviceId, settings })
    const log = new SqliteLog(join(dataDir, 'log.sqlite'))
    try {
      log.append(packFrame('control', '', payload), Date.now())
    } finally {
      log.close()
    }
  } finally {
    lock.close()
  }
}

function readCatalog(dataDir: string): { devices: DeviceRow[]; entry: number } {
  const catalog = Catalog.open(dataPaths(dataDir).catalog)
  try {
    return catalog.atOnce(() => ({ devices: catalog.fleet.devices(), entry: catalog.committedEntry(0) }))
  } finally {
    catalog.close()
  }
}

interface Change {
  readonly deviceId: string
  readonly settings: DeviceSettings
  readonly ingestMs: number
}

function* changesBehind(log: SqliteLogReader, entry: number): Generator<Change> {
  for (let after = entry; ; ) {
    const entries = log.read(after, ENTRIES_AT_ONCE)
    if (entries.length === 0) return
    for (const { entry, ingestMs, frames } of entries) {
      after = entry
      for (const { kind, payload } of readFrames(frames)) {
        const control = kind === 'control' ? decodeControl(payload) : null
        if (control?.control === 'device') yield { ...control, ingestMs }
      }
    }
  }
}
