/** From event time to readable, by Parquet files as the archive has them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { withDuckDB } from '../../load/src/replay/duckdb.js'
import { ArchiveWatch } from '../../load/src/run/archive-latency.js'

const AGO_MS = 60_000

/** An archive with a file a name, of ten rows each that were measured `AGO_MS` before it is written. */
async function archiveOf(names: readonly string[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-latency-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  await withDuckDB(async connection => {
    for (const name of names) {
      const rows = `SELECT make_timestamp(${Date.now() - AGO_MS} * 1000) AS event_time, false AS late FROM range(10)`
      await connection.run(`COPY (${rows}) TO '${join(folder, name)}' (FORMAT parquet)`)
    }
  })
  return folder
}

test('counts the rows of flushes, and not what compaction has written of rows that could be read before', async () => {
  const watch = new ArchiveWatch(await archiveOf(['0-000000000001-000000000009.parquet', '0-000000000001-000000000009-c1.parquet']))
  watch.look()
  const { rows, p50, p99 } = await watch.measure(0, Date.now() + 1000, 'event_time')
  expect(rows).toBe(10)
  for (const ms of [p50, p99]) {
    expect(ms).toBeGreaterThanOrEqual(AGO_MS)
    expect(ms).toBeLessThan(AGO_MS + 30_000)
  }
})
