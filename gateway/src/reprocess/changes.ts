/**
 * What a run changes of the catalog, beside its files: a SQLite file of its own, which the transaction that commits the run reads. So the
 * transaction is short, and memory does not grow with the fleet.
 */
import type { EpochLedger, HourLedger, RepairMark } from '../processor/flush.js'
import { type Database, Sqlite } from '../sqlite.js'

/** As in the catalog, save that counts are what is to be added. */
const SCHEMA = `
  CREATE TABLE epochs (device_id TEXT, epoch INTEGER, highest_sampled_seq INTEGER, archived INTEGER, waiting INTEGER, quarantined INTEGER,
    shed INTEGER, buffered INTEGER, missing INTEGER, duplicates INTEGER, late INTEGER);
  CREATE TABLE hours (profile TEXT, hour_ms INTEGER, archived INTEGER, late INTEGER);
  CREATE TABLE hour_counts (hour_ms INTEGER, profile TEXT, device_id TEXT, received INTEGER, quarantined INTEGER, late INTEGER);
  CREATE TABLE marks (profile TEXT, device_id TEXT, hour_ms INTEGER, from_ms INTEGER, through_ms INTEGER);
`

export interface CountChange {
  readonly hourMs: number
  readonly profile: string
  readonly deviceId: string
  readonly received: number
  readonly quarantined: number
  readonly late: number
}

export class Changes {
  marks = 0
  private readonly database: Database
  private readonly insert

  /** Makes the file, which is new. */
  constructor(readonly path: string) {
    this.database = new Sqlite(path)
    this.database.pragma('journal_mode = OFF') // a crash before the commit starts all over
    this.database.exec(SCHEMA)
    this.database.exec('BEGIN')
    this.insert = {
      epoch: this.database.prepare(`INSERT INTO epochs VALUES
        (@deviceId, @epoch, @highestSampledSeq, @archived, @waiting, @quarantined, @shed, @buffered, @missing, @duplicates, @late)`),
      hour: this.database.prepare('INSERT INTO hours VALUES (@profile, @hourMs, @archived, @late)'),
      count: this.database.prepare('INSERT INTO hour_counts VALUES (@hourMs, @profile, @deviceId, @received, @quarantined, @late)'),
      mark: this.database.prepare('INSERT INTO marks VALUES (@profile, @deviceId, @hourMs, @fromMs, @throughMs)')
    }
  }

  addEpoch(ledger: EpochLedger): void {
    this.insert.epoch.run(ledger)
  }

  addHour(hour: HourLedger): void {
    this.insert.hour.run(hour)
  }

  addCount(count: CountChange): void {
    this.insert.count.run(count)
  }

  addMark(mark: RepairMark): void {
    this.insert.mark.run(mark)
    this.marks++
  }

  /** What was added can be read by others then. */
  end(): void {
    this.database.exec('COMMIT')
    this.database.close()
  }
}
