/** The catalog's tables of the fleet: the registry, as of the last boundary. */
import type { FleetFlush } from '../processor/fleet.js'
import type { DeviceRow, DeviceStatus } from '../processor/registry.js'
import type { Database } from '../sqlite.js'

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS devices (
    device_id TEXT PRIMARY KEY,
    registered_ms INTEGER NOT NULL,   -- ingest time, Unix ms
    profile TEXT,                     -- of its JSON readings that name none
    site TEXT,
    retired INTEGER NOT NULL,
    status TEXT,                      -- what its status topic said last, JSON
    seen_ms INTEGER,                  -- ingest time of its last message, Unix ms
    watermark_ms INTEGER,             -- Unix ms
    idle INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`

const DEVICE_COLUMNS =
  'device_id AS deviceId, registered_ms AS registeredMs, profile, site, retired, status, seen_ms AS seenMs, watermark_ms AS watermarkMs, idle'

type DeviceRecord = Omit<DeviceRow, 'retired' | 'idle' | 'status'> & { retired: number; idle: number; status: string | null }

export class FleetCatalog {
  constructor(private readonly database: Database) {}

  static makeTables(database: Database): void {
    database.exec(SCHEMA)
  }

  /** Part of the transaction that commits a flush. */
  record({ devices, progress }: FleetFlush): void {
    const upsert = this.database.prepare(`INSERT OR REPLACE INTO devices VALUES
      (@deviceId, @registeredMs, @profile, @site, @retired, @status, @seenMs, @watermarkMs, @idle)`)
    for (const device of devices) {
      const status = device.status === null ? null : JSON.stringify(device.status)
      upsert.run({ ...device, status, retired: device.retired ? 1 : 0, idle: device.idle ? 1 : 0 })
    }
    const move = this.database.prepare('UPDATE devices SET watermark_ms = ?, seen_ms = ?, idle = ? WHERE device_id = ?')
    for (const [i, deviceId] of progress.deviceIds.entries())
      move.run(orNull(progress.watermarksMs[i]), orNull(progress.seenMs[i]), progress.idle[i], deviceId)
  }

  /** By device ID. */
  devices(): DeviceRow[] {
    const records = this.database.prepare(`SELECT ${DEVICE_COLUMNS} FROM devices ORDER BY device_id`).all() as DeviceRecord[]
    return records.map(record => ({
      ...record,
      retired: record.retired === 1,
      idle: record.idle === 1,
      status: record.status === null ? null : (JSON.parse(record.status) as DeviceStatus)
    }))
  }
}

function orNull(value: number): number | null {
  return Number.isNaN(value) ? null : value
}
