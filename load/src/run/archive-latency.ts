/**
 * How long it takes from a reading's event time until a reader of the archive can find it. A row can be read when its file stands in
 * the archive: the gateway renames it there, and the rename is the last change of the file's inode, so its ctime is that moment. Files
 * are seen while the run goes on; in the end DuckDB reads the event times of those that are still there. What compaction has made
 * is left out: its rows could be read before. So are files of the final drain, whose rows would have waited longer; unless there are no others.
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { isCompacted } from '@tidemark/gateway/dist/archive/paths.js'
import { queryRows, quoteText, withDuckDB } from '../replay/duckdb.js'

export interface ArchiveLatency {
  readonly p50: number
  readonly p99: number
  readonly rows: number
}

export class ArchiveWatch {
  /** Milliseconds, by path. */
  private readonly readableMs = new Map<string, number>()

  /** `folder`: processed/<profile> of the archive. */
  constructor(private readonly folder: string) {}

  /** Notes the files that have come. */
  look(): void {
    if (!existsSync(this.folder)) return
    for (const name of readdirSync(this.folder, { recursive: true, encoding: 'utf8' })) {
      const path = join(this.folder, name)
      if (!name.endsWith('.parquet') || isCompacted(name) || this.readableMs.has(path)) continue
      try {
        this.readableMs.set(path, statSync(path).ctimeMs)
      } catch {
        // It was merged meanwhile.
      }
    }
  }

  /**
   * In ms, of rows with an event time from `fromMs` on that were not late. `drainedMs`: when the drain began, Unix ms. `column`: from
   * which time on, where clocks are wrong on purpose.
   */
  async measure(fromMs: number, drainedMs: number, column: 'event_time' | 'ingest_time'): Promise<ArchiveLatency> {
    const files = [...this.readableMs].filter(([path]) => existsSync(path))
    const regular = files.filter(([, ms]) => ms < drainedMs)
    return await latencyOf(regular.length > 0 ? regular : files, fromMs, column)
  }
}

async function latencyOf(files: readonly (readonly [string, number])[], fromMs: number, column: string): Promise<ArchiveLatency> {
  const counts = new Map<number, number>()
  await withDuckDB(async connection => {
    for (const [path, readableMs] of files) {
      const sql = `SELECT (${readableMs} - epoch_ms(${column}))::BIGINT AS ms, count(*) FROM read_parquet(${quoteText(path)})
        WHERE NOT late AND epoch_ms(event_time) >= ${fromMs} GROUP BY ms`
      for (const [ms, rows] of await queryRows(connection, sql)) counts.set(Number(ms), (counts.get(Number(ms)) ?? 0) + Number(rows))
    }
  })
  const sorted = [...counts].sort(([a], [b]) => a - b)
  const rows = sorted.reduce((sum, [, count]) => sum + count, 0)
  const at = (share: number): number => {
    let below = 0
    for (const [ms, count] of sorted) {
      below += count
      if (below >= share * rows) return ms
    }
    return 0
  }
  return { p50: at(0.5), p99: at(0.99), rows }
}
