/** A timeline whose flushes go into a real archive, so that hours, counts and markers can be read there. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { Committer } from '../../../gateway/src/archive/commit.js'
import { type CompletenessHour, readCompleteness } from '../../../gateway/src/archive/completeness.js'
import { dataPaths, partitionPath } from '../../../gateway/src/archive/paths.js'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { LOG_SCHEMA } from '../../../gateway/src/log/schema.js'
import type { Settings } from '../../../gateway/src/processor/control.js'
import { Sqlite } from '../../../gateway/src/sqlite.js'
import { at, type Timeline, timeline } from '../../kit/timeline.js'
import { temporaryFolder } from './kit.js'

export class ArchivedTimeline {
  readonly dataDir = temporaryFolder()
  readonly t: Timeline
  private readonly committer: Committer
  private readonly log
  private logged = 0
  private written = 0

  constructor(settings: Partial<Settings> = {}) {
    this.t = timeline({ smallHourWaitMs: 0, ...settings })
    recoverArchive(this.dataDir, 0, () => {})
    this.log = new Sqlite(join(this.dataDir, 'log.sqlite'))
    this.log.pragma('journal_mode = WAL')
    this.log.exec(LOG_SCHEMA)
    const catalog = Catalog.open(dataPaths(this.dataDir).catalog)
    this.committer = new Committer(dataPaths(this.dataDir), catalog, { shard: 0, memoryMiB: 128 })
    onTestFinished(() => {
      this.committer.close()
      catalog.close()
      this.log.close()
    })
  }

  /** Readings of a device at these times, seq by seq from `firstSeq`, in one batch. */
  send(device: string, firstSeq: number, times: readonly string[], oldestHeldSeq = firstSeq): void {
    this.t.batch({ device, oldestHeldSeq, readings: times.map((time, i) => ({ seq: firstSeq + i, eventTimeMs: at(time) })) })
  }

  /** Commits what the timeline has flushed so far, and makes a boundary. */
  async commit({ drain = true } = {}): Promise<void> {
    if (drain) this.t.drain()
    this.writeLog()
    for (const flush of this.t.flushes.slice(this.written)) await this.committer.write(flush)
    this.written = this.t.flushes.length
  }

  /** Puts the timeline's entries into the data folder's log. */
  writeLog(): void {
    const insert = this.log.prepare('INSERT INTO entries VALUES (?, ?, ?)')
    for (const { entry, ingestMs, frames } of this.t.entries.slice(this.logged)) insert.run(entry, ingestMs, frames)
    this.logged = this.t.entries.length
  }

  hours(device: string | null = null): CompletenessHour[] {
    return readCompleteness(this.dataDir, { hourMs: null, deviceId: device })
  }

  /** The hour of the profile `pump`, like `13`. */
  hour(hour: number, device: string | null = null): CompletenessHour | undefined {
    return this.hours(device).find(each => each.hourMs === at(`${hour}:00`))
  }

  /** What the hour's marker says; null without one. */
  marker(hour: number): Record<string, unknown> | null {
    const path = this.markerPath(hour)
    return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null
  }

  markerPath(hour: number): string {
    return join(this.dataDir, 'archive', partitionPath({ layer: 'processed', profile: 'pump', hourMs: at(`${hour}:00`) }), '_complete.json')
  }
}
