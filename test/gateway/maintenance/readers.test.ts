import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { serialize } from 'node:v8'
import type { DuckDBConnection } from '@duckdb/node-api'
import { expect, onTestFinished, test } from 'vitest'
import { readLedger } from '../../../gateway/src/commands/ledger.js'
import { runSql } from '../../../gateway/src/commands/sql.js'
import type { Flush } from '../../../gateway/src/processor/flush.js'
import { epochLedger, flushOf, HOUR_MS, NOON_MS, range, readings, withDuckDb } from '../archive/kit.js'
import { archiveWithLog, POLICY, type TestArchive } from './kit.js'

const dist = (path: string) => JSON.stringify(new URL(`../../../gateway/dist/${path}`, import.meta.url).href)

/**
 * The built gateway's archive worker and its maintenance, in a process of their own: writes the flushes of flushes.bin while pass after
 * pass runs, until neither has anything left to do. No flush may fail.
 */
const CHURN = `
  import { readFileSync } from 'node:fs'
  import { deserialize } from 'node:v8'
  import { ArchiveClient } from ${dist('archive/archive-client.js')}
  import { Catalog } from ${dist('archive/catalog.js')}
  import { dataPaths } from ${dist('archive/paths.js')}
  import { runPass } from ${dist('maintenance/pass.js')}
  const dataDir = process.argv[2]
  const paths = dataPaths(dataDir)
  const catalog = Catalog.open(paths.catalog)
  const policy = { ...${JSON.stringify(POLICY)}, minFiles: 2 }
  let compactions = 0
  const pass = async () => {
    const result = await runPass({ paths, catalog, policy, nowMs: () => ${NOON_MS + 1000 * HOUR_MS}, signal: new AbortController().signal })
    if (result.failures.length > 0) throw new Error(result.failures.join())
    compactions += result.compactions
    return result.compactions
  }
  const archive = new ArchiveClient({ dataDir, shard: 0, memoryMiB: 128 })
  let writing = true
  const written = (async () => {
    for (const flush of deserialize(readFileSync(dataDir + '/flushes.bin'))) await archive.write(flush)
    writing = false
  })()
  while (writing) await pass()
  await written
  while ((await pass()) > 0);
  await archive.close()
  catalog.close()
  console.log(compactions)
`

interface Churn {
  readonly isOver: () => boolean
  /** Resolves with the number of compactions. */
  readonly compactions: Promise<number>
}

function churn(dataDir: string, flushes: readonly Flush[]): Churn {
  writeFileSync(join(dataDir, 'flushes.bin'), serialize(flushes))
  writeFileSync(join(dataDir, 'churn.mjs'), CHURN)
  const child: ChildProcess = spawn(process.execPath, [join(dataDir, 'churn.mjs'), dataDir], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  let said = ''
  let complaints = ''
  child.stdout!.on('data', data => (said += data))
  child.stderr!.on('data', data => (complaints += data))
  let over = false
  const compactions = once(child, 'close').then(([code]) => {
    over = true
    if (code !== 0) throw new Error(complaints)
    return Number(said)
  })
  compactions.catch(() => {}) // who awaits it sees the fault
  return { isOver: () => over, compactions }
}

const HOURS = 60

/** The k-th flush: a row in each of the hours. */
function wideFlush(k: number): Flush {
  const strings: string[] = []
  const files = range(0, HOURS - 1).map(hour => readings(NOON_MS + hour * HOUR_MS, [k * HOURS + hour + 1], strings))
  const last = (k + 1) * HOURS
  return flushOf([k * 5 + 1, k * 5 + 5], files, strings, {
    epochs: [epochLedger('pump-7', 77, { highestSampledSeq: last, archived: last })]
  })
}

async function archiveOf(flushes: number, entries: number): Promise<TestArchive> {
  const archive = archiveWithLog(entries)
  for (let k = 0; k < flushes; k++) await archive.write(wideFlush(k))
  return archive
}

test('a globbing reader beside compactions never sees a row twice; it misses rows only at the moment of the renames', async () => {
  const { dataDir } = await archiveOf(5, 25)
  const rows = 5 * HOURS
  const seen = { whole: 0, fewer: 0, moved: 0 }
  const { isOver, compactions } = churn(dataDir, [])
  const look = async (connection: DuckDBConnection) => {
    const glob = `${dataDir}/archive/processed/*/*/*/*.parquet`
    try {
      const reader = await connection.runAndReadAll(`SELECT count(*), count(DISTINCT seq) FROM '${glob}'`)
      const [[counted, distinct]] = reader.getRows()
      expect(counted, 'no row twice').toBe(distinct)
      expect(Number(counted)).toBeLessThanOrEqual(rows)
      if (Number(counted) === rows) seen.whole++
      else seen.fewer++
    } catch (error) {
      // Listed before the swap and opened after it: an error, never a wrong answer.
      expect((error as Error).message).toMatch(/No such file|Cannot open file|No files found/)
      seen.moved++
    }
  }
  await withDuckDb(async connection => {
    while (!isOver()) await look(connection)
    expect(await compactions).toBe(HOURS + 1)
    const before = seen.whole
    await look(connection)
    expect(seen.whole, 'in the end all rows are there').toBe(before + 1)
  })
  console.log(
    `${HOURS + 1} compactions; a globbing reader counted all rows ${seen.whole} times, fewer ${seen.fewer} times, and found a file moved ${seen.moved} times`
  )
  expect(seen.whole).toBeGreaterThan(seen.fewer)
})

test('sql and ledger beside compactions and flushes see whole flushes, each row once, and never fewer than before', async () => {
  const flushes = 20
  const { dataDir } = await archiveOf(3, flushes * 5)
  const { isOver, compactions } = churn(dataDir, range(3, flushes - 1).map(wideFlush))
  let last = 0
  let looks = 0
  const look = async () => {
    let json = ''
    await runSql(dataDir, 'SELECT count(*) AS rows, count(DISTINCT seq) AS seqs, max(seq) AS highest FROM readings', {
      json: true,
      write: text => (json += text)
    })
    const [{ rows, seqs, highest }] = JSON.parse(json)
    expect([rows % HOURS, seqs, highest]).toEqual([0, rows, rows])
    expect(rows).toBeGreaterThanOrEqual(last)
    const ledger = await readLedger(dataDir)
    expect(ledger).toMatchObject({ ok: true })
    expect(ledger.total.archived).toBeGreaterThanOrEqual(rows)
    last = ledger.total.archived
    looks++
  }
  while (!isOver()) await look()
  expect(await compactions).toBeGreaterThan(HOURS)
  await look()
  expect(last).toBe(flushes * HOURS)
  expect(looks).toBeGreaterThan(3)
}, 120_000)
