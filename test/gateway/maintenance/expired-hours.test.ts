/** What the catalog and the folders say of an hour goes with its rows. */
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { expect, test } from 'vitest'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { dataPaths } from '../../../gateway/src/archive/paths.js'
import { runPass } from '../../../gateway/src/maintenance/pass.js'
import { at } from '../../kit/timeline.js'
import { ArchivedTimeline } from '../archive/completeness-kit.js'
import { POLICY } from './kit.js'

const HOUR_MS = 3_600_000

test('an hour that retention deletes loses its counts and its marker, folder and all; the others keep theirs', async () => {
  const archive = new ArchivedTimeline()
  archive.send('pump-7', 1, ['11:10', '12:10', '13:10', '14:00'])
  await archive.commit()
  expect(archive.hours().map(({ hourMs }) => hourMs)).toEqual([at('11:00'), at('12:00'), at('13:00'), at('14:00')])
  expect(archive.marker(11)).toMatchObject({ rows: 1 })

  const paths = dataPaths(archive.dataDir)
  const catalog = Catalog.open(paths.catalog)
  const policy = { ...POLICY, retentionMs: { ...POLICY.retentionMs, processed: HOUR_MS } }
  const nowMs = () => at('14:00')
  const result = await runPass({ paths, catalog, policy, nowMs, signal: new AbortController().signal })
  catalog.close()
  expect(result).toMatchObject({ expiredFiles: 2, failures: [] })
  expect(archive.hours().map(({ hourMs }) => hourMs)).toEqual([at('13:00'), at('14:00')])
  expect(archive.marker(11)).toBeNull()
  expect(existsSync(dirname(archive.markerPath(11)))).toBe(false)
  expect(archive.marker(13)).toMatchObject({ rows: 1 })

  await archive.commit()
  expect(archive.marker(11)).toBeNull()
})
