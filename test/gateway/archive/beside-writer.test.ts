import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { type ArchiveClient, openArchive } from '../../../gateway/dist/archive/archive-client.js'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { readLedger } from '../../../gateway/src/commands/ledger.js'
import { runSql } from '../../../gateway/src/commands/sql.js'
import type { Flush } from '../../../gateway/src/processor/flush.js'
import { epochLedger, filesBelow, flushOf, HOUR_MS, NOON_MS, query, range, readings, temporaryFolder, writeLog } from './kit.js'

const FLUSHES = 25
const ROWS_PER_FLUSH = 40

function openWithLog(): { dataDir: string; archive: ArchiveClient } {
  const dataDir = temporaryFolder()
  writeLog(dataDir, FLUSHES * ROWS_PER_FLUSH)
  const { archive } = openArchive(dataDir, { memoryMiB: 128 })
  onTestFinished(() => archive.close())
  return { dataDir, archive }
}

/** Forty seqs in four hours. */
function flushNumber(k: number): Flush {
  const strings: string[] = []
  const first = k * ROWS_PER_FLUSH + 1
  const files = [0, 1, 2, 3].map(hour => readings(NOON_MS + hour * HOUR_MS, range(first + hour * 10, first + hour * 10 + 9), strings))
  const last = first + ROWS_PER_FLUSH - 1
  return flushOf([first, last], files, strings, { epochs: [epochLedger('pump-7', 77, { highestSampledSeq: last, archived: last })] })
}

/** Writes all flushes while `look` runs again and again. */
async function lookWhileWriting(archive: ArchiveClient, look: () => Promise<void>): Promise<number> {
  let done = false
  let looks = 0
  const writing = (async () => {
    for (let k = 0; k < FLUSHES; k++) await archive.write(flushNumber(k))
  })().finally(() => {
    done = true
  })
  while (!done) {
    await look()
    looks++
  }
  await writing
  await look()
  return looks
}

test('a globbing reader never sees a row that is not committed, nor half a file', async () => {
  const { dataDir, archive } = openWithLog()
  const catalog = Catalog.openReadonly(join(dataDir, 'catalog.sqlite'))
  onTestFinished(() => catalog.close())
  const looks = await lookWhileWriting(archive, async () => {
    const seen = filesBelow(join(dataDir, 'archive')).filter(path => path.startsWith('processed'))
    const rows =
      seen.length === 0
        ? []
        : await query(`SELECT count(*), max(seq) FROM read_parquet([${seen.map(path => `'${dataDir}/archive/${path}'`).join()}])`)
    const committed = catalog.files('processed')
    expect(new Set(committed.map(file => file.path))).toEqual(new Set([...seen, ...committed.map(file => file.path)]))
    if (rows.length > 0) expect(Number(rows[0][1])).toBeLessThanOrEqual(catalog.committedEntry(0))
  })
  expect(looks).toBeGreaterThan(3)
})

test('sql beside a writer sees whole flushes only, and never fewer than before', async () => {
  const { dataDir, archive } = openWithLog()
  let last = 0
  const seen = new Set<number>()
  await lookWhileWriting(archive, async () => {
    let json = ''
    await runSql(dataDir, 'SELECT count(*) AS rows, count(DISTINCT seq) AS seqs, coalesce(max(seq), 0) AS highest FROM readings', {
      json: true,
      write: text => (json += text)
    })
    const [{ rows, seqs, highest }] = JSON.parse(json)
    expect([rows % ROWS_PER_FLUSH, seqs, highest]).toEqual([0, rows, rows])
    expect(rows).toBeGreaterThanOrEqual(last)
    last = rows
    seen.add(rows)
  })
  expect(last).toBe(FLUSHES * ROWS_PER_FLUSH)
  expect(seen.size).toBeGreaterThan(2)
})

test('the ledger beside a writer balances at every moment', async () => {
  const { dataDir, archive } = openWithLog()
  await lookWhileWriting(archive, async () => {
    const ledger = await readLedger(dataDir)
    expect(ledger.ok).toBe(true)
    expect(ledger.total.sampled).toBe(ledger.total.archived)
  })
  expect((await readLedger(dataDir)).total.archived).toBe(FLUSHES * ROWS_PER_FLUSH)
})

test('one flush may wait while one is in work, a third is a mistake', async () => {
  const { archive } = openWithLog()
  const first = archive.write(flushNumber(0))
  const second = archive.write(flushNumber(1))
  expect(() => archive.write(flushNumber(2))).toThrow('await them first')
  expect((await Promise.all([first, second])).map(written => written.lastEntry)).toEqual([40, 80])
})

test('a refused flush rejects, and the worker goes on with the right one', async () => {
  const { archive } = openWithLog()
  await expect(archive.write(flushNumber(1))).rejects.toThrow('came where 0 is committed')
  expect((await archive.write(flushNumber(0))).lastEntry).toBe(40)
})
