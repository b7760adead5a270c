/**
 * What of the catalog is about repairs: which feature rows are to be repaired, by which flush they were marked, and the boundary
 * as of which a repair has been ordered and not made yet. A repair clears the marks up to its boundary; later ones stay.
 */
import type { Flush, RepairMark } from '../processor/flush.js'
import type { Database } from '../sqlite.js'

export const REPAIR_SCHEMA = `
  CREATE TABLE IF NOT EXISTS repair_marks (
    profile TEXT NOT NULL,
    device_id TEXT NOT NULL,
    hour_ms INTEGER NOT NULL,
    entry INTEGER NOT NULL,           -- last entry of the flush that brought the mark
    from_ms INTEGER NOT NULL,         -- rows as of (from_ms, through_ms], Unix ms
    through_ms INTEGER NOT NULL,
    PRIMARY KEY (profile, device_id, hour_ms, entry)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS repair_jobs (
    entry INTEGER PRIMARY KEY,        -- the boundary lies behind it
    shard INTEGER NOT NULL,
    ingest_ms INTEGER NOT NULL,       -- of the boundary: since when the repaired rows are known
    profiles TEXT NOT NULL            -- JSON
  ) STRICT;
`

/** Within the transaction that commits the flush. */
export function recordRepairs(database: Database, flush: Flush): void {
  const mark = database.prepare('INSERT INTO repair_marks VALUES (@profile, @deviceId, @hourMs, @entry, @fromMs, @throughMs)')
  for (const repair of flush.repairs) mark.run({ ...repair, entry: flush.lastEntry })
  if (flush.repairOrder === undefined) return
  const { ingestMs, profiles } = flush.repairOrder
  database.prepare('INSERT INTO repair_jobs VALUES (?, ?, ?, ?)').run(flush.lastEntry, flush.shard, ingestMs, JSON.stringify(profiles))
}

/** By profile, hour and device; the marks of several flushes are one. */
export function readMarks(database: Database): RepairMark[] {
  const sql = `SELECT device_id AS deviceId, profile, hour_ms AS hourMs, min(from_ms) AS fromMs, max(through_ms) AS throughMs
    FROM repair_marks GROUP BY profile, hour_ms, device_id ORDER BY profile, hour_ms, device_id`
  return database.prepare(sql).all() as RepairMark[]
}
