/**
 * The catalog's tables of the fleet, as of the last boundary: the registry, what became of readings by hour, what is unseen, and which
 * hours have a completeness marker.
 */

import type { ConfigWanted } from '../processor/config-wanted.js'
import type { DeviceProgress, EpochUnseen, WaitingHour } from '../processor/fleet.js'
import type { Flush } from '../processor/flush.js'
import { COUNTS, type CountName, type HourCountColumns } from '../processor/hour-counts.js'
import { type DeviceRow, type DeviceStatus, restoredStatus } from '../processor/registry.js'
import type { Database } from '../sqlite.js'
import type { DeviceOrder } from './device-order.js'
import type { Unseen } from './hour-state.js'
import { HOUR_MS } from './paths.js'

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
    idle INTEGER NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0,
    config TEXT                       -- what is wanted of its own configuration, JSON
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS hour_counts (
    hour_ms INTEGER NOT NULL,         -- start of an hour of event time, Unix ms
    profile TEXT NOT NULL,            -- '': a reading that named none
    device_id TEXT NOT NULL,
    received INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    late INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    shed INTEGER NOT NULL,
    PRIMARY KEY (hour_ms, profile, device_id)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS unseen (
    device_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    seqs INTEGER NOT NULL,            -- of them not shed
    held INTEGER NOT NULL,            -- 1: the device holds them still; 0: missing
    from_ms INTEGER NOT NULL,         -- measured between these event times, Unix ms
    to_ms INTEGER NOT NULL,
    PRIMARY KEY (device_id, epoch, first_seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS waiting_hours (
    profile TEXT NOT NULL,
    hour_ms INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    PRIMARY KEY (profile, hour_ms)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS markers (
    profile TEXT NOT NULL,
    hour_ms INTEGER NOT NULL,
    content TEXT NOT NULL,            -- of the file _complete.json
    PRIMARY KEY (profile, hour_ms)
  ) STRICT, WITHOUT ROWID;
`

const DEVICE_COLUMNS =
  'device_id AS deviceId, registered_ms AS registeredMs, profile, site, retired, status, seen_ms AS seenMs, watermark_ms AS watermarkMs, idle, ended, config'

type DeviceRecord = Omit<DeviceRow, 'retired' | 'idle' | 'ended' | 'status' | 'config'> & {
  retired: number
  idle: number
  ended: number
  status: string | null
  config: string | null
}

export interface ProfileHour {
  readonly profile: string
  readonly hourMs: number
}

export interface Marker extends ProfileHour {
  readonly content: string
}

/** What became of the readings of a profile and an hour, over all devices or of one. */
export interface HourCountRow extends ProfileHour, Readonly<Record<CountName, number>> {
  /** Devices that are counted. */
  readonly devices: number
}

const SUMS = COUNTS.map(name => `sum(${name}) AS ${name}`).join(', ')

export class FleetCatalog {
  constructor(private readonly database: Database) {}

  static makeTables(database: Database): void {
    database.exec(SCHEMA)
    const columns = database.prepare('SELECT name FROM pragma_table_info(?)').pluck().all('devices')
    // Of a version that did not know it: nobody has ended until it says something again.
    if (!columns.includes('ended')) database.exec('ALTER TABLE devices ADD COLUMN ended INTEGER NOT NULL DEFAULT 0')
    if (!columns.includes('config')) database.exec('ALTER TABLE devices ADD COLUMN config TEXT')
  }

  /** Part of the transaction that commits a flush. */
  record({ fleet, deviceIds }: Pick<Flush, 'fleet' | 'deviceIds'>, order: DeviceOrder): void {
    const { devices, progress, hours, unseen, waiting } = fleet
    this.recordDevices(devices)
    this.recordProgress(progress, deviceIds, order)
    this.addCounts(hours, deviceIds, order)
    this.recordUnseen(unseen)
    this.database.prepare('DELETE FROM waiting_hours').run()
    const wait = this.database.prepare('INSERT INTO waiting_hours VALUES (@profile, @hourMs, @rows)')
    for (const hour of waiting) wait.run(hour)
  }

  /** By device ID. */
  devices(): DeviceRow[] {
    const records = this.database.prepare(`SELECT ${DEVICE_COLUMNS} FROM devices ORDER BY device_id`).all() as DeviceRecord[]
    return records.map(record => ({
      ...record,
      retired: record.retired === 1,
      idle: record.idle === 1,
      ended: record.ended === 1,
      status: record.status === null ? null : restoredStatus(JSON.parse(record.status) as DeviceStatus),
      config: record.config === null ? null : (JSON.parse(record.config) as ConfigWanted)
    }))
  }

  /** What is unseen, of devices that are retired too. */
  unseen(): Unseen[] {
    const sql = `SELECT device_id AS deviceId, epoch, first_seq AS firstSeq, last_seq AS lastSeq, seqs, held, from_ms AS fromMs, to_ms AS toMs
      FROM unseen ORDER BY from_ms, device_id, epoch, first_seq`
    const records = this.database.prepare(sql).all() as (Omit<Unseen, 'held'> & { held: number })[]
    return records.map(record => ({ ...record, held: record.held === 1 }))
  }

  waiting(): WaitingHour[] {
    return this.database.prepare('SELECT profile, hour_ms AS hourMs, rows FROM waiting_hours').all() as WaitingHour[]
  }

  /** By hour and profile, oldest first; null: of all hours, of all devices. */
  hourCounts(hourMs: number | null, deviceId: string | null): HourCountRow[] {
    const sql = `SELECT profile, hour_ms AS hourMs, count(*) AS devices, ${SUMS} FROM hour_counts
      WHERE (@hourMs IS NULL OR hour_ms = @hourMs) AND (@deviceId IS NULL OR device_id = @deviceId) GROUP BY hour_ms, profile ORDER BY hour_ms, profile`
    return this.database.prepare(sql).all({ hourMs, deviceId }) as HourCountRow[]
  }

  /**
   * The end of the last hour that every device is past which is neither retired nor has ended, Unix ms (hour-state.ts). Infinity where
   * there is no such device, -Infinity where none is known at all.
   */
  allPastMs(): number {
    const sql =
      'SELECT count(*) AS devices, min(CASE WHEN retired = 0 AND ended = 0 THEN coalesce(watermark_ms, registered_ms) END) AS throughMs FROM devices'
    const { devices, throughMs } = this.database.prepare<[], { devices: number; throughMs: number | null }>(sql).get()!
    if (throughMs !== null) return Math.floor(throughMs / HOUR_MS) * HOUR_MS
    return devices > 0 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY
  }

  /** Spans of what is unseen of devices that are not retired, by their beginning. */
  unseenSpans(): { fromMs: number; toMs: number }[] {
    const sql = `SELECT from_ms AS fromMs, max(to_ms) AS toMs FROM unseen JOIN devices USING (device_id) WHERE retired = 0
      GROUP BY from_ms ORDER BY from_ms`
    return this.database.prepare(sql).all() as { fromMs: number; toMs: number }[]
  }

  /** Hours with committed readings that ended by `endMs`, and their rows. */
  hoursEndedBy(endMs: number): (ProfileHour & { readonly rows: number })[] {
    const sql = `SELECT profile, hour_ms AS hourMs, sum(rows) AS rows FROM files WHERE layer = 'processed' AND hour_ms <= ? GROUP BY profile, hour_ms`
    return this.database.prepare(sql).all(endMs - HOUR_MS) as (ProfileHour & { rows: number })[]
  }

  markers(): Marker[] {
    return this.database.prepare('SELECT profile, hour_ms AS hourMs, content FROM markers').all() as Marker[]
  }

  putMarker(marker: Marker): void {
    this.database.prepare('INSERT OR REPLACE INTO markers VALUES (@profile, @hourMs, @content)').run(marker)
  }

  removeMarker({ profile, hourMs }: ProfileHour): void {
    this.database.prepare('DELETE FROM markers WHERE profile = ? AND hour_ms = ?').run(profile, hourMs)
  }

  /** Forgets what is counted of hours that ended by `endMs` and have no readings in the archive any more. Returns the number of counts. */
  forgetCounts(endMs: number): number {
    const sql = `DELETE FROM hour_counts WHERE hour_ms <= ? AND NOT EXISTS
      (SELECT 1 FROM files WHERE layer = 'processed' AND files.profile = hour_counts.profile AND files.hour_ms = hour_counts.hour_ms)`
    return this.database.prepare(sql).run(endMs - HOUR_MS).changes
  }

  private recordDevices(devices: readonly DeviceRow[]): void {
    const upsert = this.database.prepare(`INSERT OR REPLACE INTO devices VALUES
      (@deviceId, @registeredMs, @profile, @site, @retired, @status, @seenMs, @watermarkMs, @idle, @ended, @config)`)
    for (const device of devices) {
      const status = device.status === null ? null : JSON.stringify(device.status)
      const flags = { retired: device.retired ? 1 : 0, idle: device.idle ? 1 : 0, ended: device.ended ? 1 : 0 }
      const config = device.config === null ? null : JSON.stringify(device.config)
      upsert.run({ ...device, status, config, ...flags })
    }
  }

  private recordProgress(
    { device, watermarksMs, seenMs, idle, ended }: DeviceProgress,
    deviceIds: readonly string[],
    order: DeviceOrder
  ): void {
    const move = this.database.prepare('UPDATE devices SET watermark_ms = ?, seen_ms = ?, idle = ?, ended = ? WHERE device_id = ?')
    for (const row of order.rowsOf(device))
      move.run(orNull(watermarksMs[row]), orNull(seenMs[row]), idle[row], ended[row], deviceIds[device[row]])
  }

  private addCounts(
    { profiles, device, profile, hoursMs, counts }: HourCountColumns,
    deviceIds: readonly string[],
    order: DeviceOrder
  ): void {
    const add =
      this.database.prepare(`INSERT INTO hour_counts (hour_ms, profile, device_id, ${COUNTS.join(', ')}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET ${COUNTS.map(name => `${name} = ${name} + excluded.${name}`).join(', ')}`)
    const { received, quarantined, late, duplicates, shed } = counts
    for (const row of order.rowsOf(device))
      add.run(
        hoursMs[row],
        profiles[profile[row]],
        deviceIds[device[row]],
        received[row],
        quarantined[row],
        late[row],
        duplicates[row],
        shed[row]
      )
  }

  private recordUnseen(reports: readonly EpochUnseen[]): void {
    const forget = this.database.prepare('DELETE FROM unseen WHERE device_id = ? AND epoch = ? AND first_seq > ?')
    const insert = this.database.prepare('INSERT OR REPLACE INTO unseen VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
    for (const { deviceId, epoch, keepThrough, ranges } of reports) {
      forget.run(deviceId, epoch, keepThrough)
      for (const { first, last, seqs, held, fromMs, toMs } of ranges)
        insert.run(deviceId, epoch, first, last, seqs, held ? 1 : 0, fromMs, toMs)
    }
  }
}

function orNull(value: number): number | null {
  return Number.isNaN(value) ? null : value
}
