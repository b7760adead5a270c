/** A processor that is far behind the log, as its threads run it: decoded ahead, then read as ever, into one archive. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { SqliteLog } from '../../../gateway/dist/log/sqlite-log.js'
import { comeToBoundary } from '../../../gateway/dist/pipeline/offline-pipeline.js'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { at, timeline } from '../../kit/timeline.js'
import { query, temporaryFolder } from '../archive/kit.js'

/** Behind more than 16 MiB the log is decoded ahead. */
const JUNK_FRAMES = 150
const JUNK_BYTES = 120 * 1024

test('archives what it would have otherwise, behind a snapshot', async () => {
  const dataDir = temporaryFolder()
  recoverArchive(dataDir, 0, () => {})
  const t = timeline()
  const come = async (entries: typeof t.entries) => {
    const log = new SqliteLog(join(dataDir, 'log.sqlite'))
    for (const { frames, ingestMs } of entries) log.append(frames, ingestMs)
    log.close()
    await comeToBoundary(dataDir, { control: 'drain' }, { warn: message => expect.fail(message) })
  }
  for (let seq = 1; seq <= 20; seq++) t.reading({ seq, eventTimeMs: at('10:00') + seq * 10_000 })
  t.drain()
  await come(t.entries)

  const before = t.entries.length
  t.nowMs = Date.now() + 3_600_000 // the boundary's ingest time was the clock's
  for (let i = 1; i <= JUNK_FRAMES; i++) {
    t.message('json', new Uint8Array(JUNK_BYTES).fill(i))
    t.reading({ seq: 20 + i, eventTimeMs: at('10:10') + i * 10_000, values: { place: `hall ${i}` } })
  }
  t.drain()
  await come(t.entries.slice(before))

  const archive = join(dataDir, 'archive')
  const readings = await query(`SELECT seq::INT, epoch_ms(event_time)::DOUBLE, place FROM '${archive}/processed/**/*.parquet' ORDER BY seq`)
  expect(readings).toEqual(t.readings().map(({ seq, event_time, place }) => [seq, event_time, place]))
  const junk = await query(`SELECT hex(payload[:1]), octet_length(payload)::INT FROM '${archive}/quarantine/**/*.parquet' ORDER BY ALL`)
  const junkBytes = Array.from({ length: JUNK_FRAMES }, (_, i) => [(i + 1).toString(16).toUpperCase().padStart(2, '0'), JUNK_BYTES])
  expect(junk).toEqual(junkBytes)
  const features = await query(`SELECT epoch_ms(as_of)::DOUBLE, revision::INT FROM '${archive}/curated/**/*.parquet' ORDER BY ALL`)
  expect(features).toEqual(t.features().map(({ as_of, revision }) => [as_of, revision]))
})
