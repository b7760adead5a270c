/** Archives made of timelines, reprocessing on them in this process, and all that an archive says, to be compared. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Profile, profileSchema } from '@tidemark/protocol'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { readCompleteness } from '../../../gateway/src/archive/completeness.js'
import { dataPaths } from '../../../gateway/src/archive/paths.js'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { withViews } from '../../../gateway/src/archive/views.js'
import { readLedger } from '../../../gateway/src/commands/ledger.js'
import { SqliteEventIdStore } from '../../../gateway/src/event-id-store.js'
import type { LogEntry } from '../../../gateway/src/log/schema.js'
import { SqliteLogReader } from '../../../gateway/src/log/sqlite-log.js'
import type { Settings } from '../../../gateway/src/processor/control.js'
import type { EventIdStore } from '../../../gateway/src/processor/event-ids.js'
import { Processor } from '../../../gateway/src/processor/processor.js'
import { type ReprocessOptions, type ReprocessReport, reprocess } from '../../../gateway/src/reprocess/reprocess-run.js'
import { EventIdsInMemory } from '../../kit/event-ids-in-memory.js'
import { at, PUMP, Timeline } from '../../kit/timeline.js'
import { TestArchive, temporaryFolder } from '../repair/kit.js'

export const HOUR_MS = 3_600_000

/** Two hops a row of features is made of, and few corrections, so that repairs have something to do. */
export const NARROW: Profile = profileSchema.parse({ ...PUMP, corrections: '1m' })

/** The same, with another range of temperature. */
export function withRange(min: number, max: number, more: Partial<Profile> = {}): Profile {
  const metrics = NARROW.metrics.map(metric => (metric.name === 'temperature' ? { ...metric, min, max } : metric))
  return profileSchema.parse({ ...NARROW, metrics, ...more })
}

export const SETTINGS: Partial<Settings> = { snapshotEvery: 1, smallHourWaitMs: 0, correctionIntervalMs: 0, idleTimeoutMs: 36_000_000 }

export interface Reprocessed {
  readonly from: string
  readonly to: string
  readonly profile: Profile | readonly Profile[]
  readonly more?: Partial<ReprocessOptions>
}

/** A data folder of a gateway that is stopped. */
export class StoppedGateway {
  readonly dataDir: string
  private readonly archive: TestArchive

  constructor(
    readonly t: Timeline,
    dataDir = temporaryFolder(),
    { isThere = false } = {}
  ) {
    this.dataDir = dataDir
    this.archive = new TestArchive(dataDir, t, isThere ? t.entries.length : 0)
  }

  /** With the opaque event IDs of the timeline in the data folder, as a gateway has them. */
  static of(play: (eventIds: EventIdStore) => Timeline, dataDir = temporaryFolder()): StoppedGateway {
    mkdirSync(dataDir, { recursive: true })
    const eventIds = new SqliteEventIdStore(join(dataDir, 'event-ids.sqlite'))
    const t = play(eventIds)
    eventIds.close()
    return new StoppedGateway(t, dataDir)
  }

  /** Stops as a gateway does, and commits. */
  async stop(): Promise<this> {
    this.t.leap(1)
    this.t.drain()
    return await this.commit()
  }

  /** Commits what the timeline has flushed. */
  async commit(): Promise<this> {
    await this.archive.commit()
    return this
  }

  async makeRepairs(): Promise<void> {
    await this.archive.makeRepairs()
  }

  async reprocess({ from, to, profile, more = {} }: Reprocessed): Promise<ReprocessReport> {
    return await reprocess({
      dataDir: this.dataDir,
      fromMs: at(from),
      toMs: at(to),
      judge: () => (Array.isArray(profile) ? profile : [profile as Profile]),
      memoryMiB: 256,
      nowMs: () => this.t.nowMs + HOUR_MS,
      signal: new AbortController().signal,
      warn: message => {
        throw new Error(message)
      },
      onProgress: () => {},
      ...more
    })
  }

  /** Makes the repairs that the timeline itself has marked. */
  async repair(): Promise<void> {
    await this.archive.repair()
  }

  /** The log goes on behind what is committed, from the newest snapshot, as after a start. */
  goOn(profiles: readonly Profile[], eventIds = new EventIdsInMemory()): { t: Timeline; commit(): Promise<void> } {
    const recovered = recoverArchive(this.dataDir, 0, () => {})
    const snapshot = recovered.loadNewestSnapshot()
    if (snapshot === null) throw new Error('there is no snapshot')
    const log = new SqliteLogReader(dataPaths(this.dataDir).log)
    const first = log.firstEntry ?? 0
    log.close()
    const missing: LogEntry[] = Array.from({ length: snapshot.entry }, (_, i) => this.t.entries[i])
    if (first > snapshot.entry + 1) throw new Error(`the log begins with ${first}`)
    const t = new Timeline(eventIds, missing, new Processor(eventIds, snapshot.parts()))
    t.nowMs = this.t.nowMs + 2 * HOUR_MS
    t.start(SETTINGS, profiles)
    const archive = new TestArchive(this.dataDir, t, snapshot.entry)
    return {
      t,
      commit: async () => {
        t.drain()
        await archive.commit()
      }
    }
  }

  async rows(sql: string): Promise<Record<string, unknown>[]> {
    return await withViews(this.dataDir, { ownFiles: false }, async connection => {
      const reader = await connection.runAndReadAll(sql)
      return reader.getRowObjects().map(row => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)])))
    })
  }

  async readings() {
    return await this.rows('SELECT * FROM readings ORDER BY profile, device_id, event_time, epoch, seq, event_id, ingest_time')
  }

  async quarantine() {
    return await this.rows('SELECT * FROM quarantine ORDER BY entry, frame_index, seq, event_id, reason')
  }

  async revisions() {
    return await this.rows('SELECT * FROM feature_revisions ORDER BY profile, device_id, as_of, revision')
  }

  /** Feature rows at their latest revision, without when they were made. */
  async features() {
    return await this.rows('SELECT * EXCLUDE (revision, known_at, computed_at) FROM features ORDER BY profile, device_id, as_of')
  }

  ledger() {
    return readLedger(this.dataDir)
  }

  completeness() {
    return readCompleteness(this.dataDir, { hourMs: null, deviceId: null }).filter(hour => hour.received + hour.duplicates + hour.shed > 0)
  }

  catalog<T>(read: (catalog: Catalog) => T): T {
    const catalog = Catalog.openReadonly(join(this.dataDir, 'catalog.sqlite'))
    try {
      return read(catalog)
    } finally {
      catalog.close()
    }
  }

  /** All that the archive says of readings, and of what became of them. */
  async said() {
    const { epochs, hours, devices } = this.catalog(catalog => ({
      epochs: catalog.epochs(),
      hours: catalog.hours(),
      devices: catalog.fleet.devices()
    }))
    const [readings, quarantine, ledger] = [await this.readings(), await this.quarantine(), await this.ledger()]
    return { readings, quarantine, ledger, epochs, hours, devices, completeness: this.completeness() }
  }

  /** The same with all revisions of features, and the files. */
  async everything() {
    const files = this.catalog(catalog => [catalog.files(), catalog.snapshots(), catalog.repairs(), catalog.fleet.markers()])
    return { ...(await this.said()), revisions: await this.revisions(), files }
  }
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (typeof value === 'object' && value !== null && 'micros' in value) return Number(value.micros) / 1000
  return typeof value === 'object' && value !== null ? String(value) : value
}
