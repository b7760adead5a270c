/** Archives made of timelines, and repairs on them, in this process: no gateway runs. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Profile } from '@tidemark/protocol'
import { onTestFinished } from 'vitest'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { Committer } from '../../../gateway/src/archive/commit.js'
import { dataPaths } from '../../../gateway/src/archive/paths.js'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { SnapshotWriter } from '../../../gateway/src/archive/snapshot-file.js'
import { withViews } from '../../../gateway/src/archive/views.js'
import { LOG_SCHEMA } from '../../../gateway/src/log/schema.js'
import { encodeControl } from '../../../gateway/src/processor/control.js'
import { RepairCatalog } from '../../../gateway/src/repair/repair-catalog.js'
import { type Repaired, repair } from '../../../gateway/src/repair/repair-job.js'
import { Sqlite } from '../../../gateway/src/sqlite.js'
import type { Row } from '../../kit/flush-rows.js'
import type { Timeline } from '../../kit/timeline.js'

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-repair-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The archive of a timeline: `commit` takes in what the timeline has written since. */
export class TestArchive {
  private readonly committed

  /** `entries` of the timeline's log are in the data folder already. */
  constructor(
    readonly dataDir: string,
    private readonly timeline: Timeline,
    entries = 0
  ) {
    this.committed = { entries, flushes: 0 }
    recoverArchive(dataDir, 0, () => {})
  }

  async commit(): Promise<void> {
    const { entries, flushes } = this.timeline
    const log = new Sqlite(join(this.dataDir, 'log.sqlite'))
    log.pragma('journal_mode = WAL')
    log.exec(LOG_SCHEMA)
    const insert = log.prepare('INSERT INTO entries VALUES (@entry, @ingestMs, @frames)')
    log.transaction(() => {
      for (const entry of entries.slice(this.committed.entries)) insert.run(entry)
    })()
    log.close()
    const paths = dataPaths(this.dataDir)
    const catalog = Catalog.open(paths.catalog)
    const committer = new Committer(paths, catalog, { shard: 0, memoryMiB: 256 })
    this.timeline.finishSnapshot()
    for (const [i, flush] of flushes.entries()) {
      if (i < this.committed.flushes) continue
      await committer.write(flush)
      const parts = this.timeline.snapshots.get(i + 1)
      if (parts === undefined) continue
      const writer = new SnapshotWriter(paths.snapshots, flush.lastEntry)
      for (const part of parts) writer.append(part)
      writer.close()
      committer.recordSnapshot(flush.lastEntry, flush.fleet.knownAtMs)
    }
    committer.close()
    catalog.close()
    this.committed.entries = entries.length
    this.committed.flushes = flushes.length
  }

  /** Orders a repair as of now and makes it, and any that was left. */
  async repair(options: { batchReadings?: number } = {}): Promise<Repaired[]> {
    this.order()
    await this.commit()
    return await this.makeRepairs(options)
  }

  /** Appends the control frame. */
  order(): void {
    this.timeline.append({ kind: 'control', payload: encodeControl({ control: 'repair' }) })
  }

  async makeRepairs(options: { batchReadings?: number; progress?: () => boolean } = {}): Promise<Repaired[]> {
    const paths = dataPaths(this.dataDir)
    const catalog = new RepairCatalog(paths.catalog)
    const made: Repaired[] = []
    try {
      for (const job of catalog.jobs()) made.push(await repair(job, { paths, catalog, memoryMiB: 256, progress: () => true, ...options }))
    } finally {
      catalog.close()
    }
    return made
  }

  marks(): ReturnType<Catalog['repairs']> {
    return marksIn(this.dataDir)
  }

  rows(view: string): Promise<Row[]> {
    return featureRows(this.dataDir, view)
  }

  async readings(profile: Profile, deviceId: string): Promise<Row[]> {
    return await withViews(this.dataDir, { ownFiles: false }, async connection => {
      const view = `readings_${profile.name.replaceAll('-', '_')}`
      const reader = await connection.runAndReadAll(
        `SELECT * REPLACE (epoch_ms(event_time) AS event_time, epoch_ms(ingest_time) AS ingest_time) FROM ${view} WHERE device_id = '${deviceId}'`
      )
      return plain(reader.getRowObjects())
    })
  }

  /** Names of the Parquet files that repairs have left in staging/. */
  staged(): string[] {
    return readdirSync(dataPaths(this.dataDir).staging).filter(name => name.endsWith('.parquet'))
  }
}

export function marksIn(dataDir: string): ReturnType<Catalog['repairs']> {
  const catalog = Catalog.openReadonly(join(dataDir, 'catalog.sqlite'))
  try {
    return catalog.repairs()
  } finally {
    catalog.close()
  }
}

/** Rows of a view of features; times are Unix ms, integers numbers. */
export async function featureRows(dataDir: string, view: string): Promise<Row[]> {
  return await withViews(dataDir, { ownFiles: false }, async connection => {
    const reader = await connection.runAndReadAll(`SELECT * REPLACE (epoch_ms(as_of) AS as_of, epoch_ms(known_at) AS known_at,
      epoch_ms(computed_at) AS computed_at) FROM "${view}" ORDER BY device_id, as_of, revision`)
    return plain(reader.getRowObjects())
  })
}

function plain(rows: readonly Record<string, unknown>[]): Row[] {
  return rows.map(row => {
    return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, typeof value === 'bigint' ? Number(value) : value])) as Row
  })
}
