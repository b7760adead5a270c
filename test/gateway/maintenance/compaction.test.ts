import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { CatalogFile } from '../../../gateway/src/archive/catalog.js'
import { dataPaths } from '../../../gateway/src/archive/paths.js'
import { readLedger } from '../../../gateway/src/commands/ledger.js'
import { runSql } from '../../../gateway/src/commands/sql.js'
import { MergeWriter } from '../../../gateway/src/maintenance/merge-writer.js'
import { SORT_BY } from '../../../gateway/src/processor/layouts.js'
import { epochLedger, filesBelow, HOUR_MS, NOON_MS, query, range, readings, rowsOf } from '../archive/kit.js'
import { archiveWithLog, EVENING_MS, edgyReadings, flushNumber, POLICY, rejected, rowTexts, type TestArchive } from './kit.js'

const LAYERS = ['raw', 'processed', 'curated', 'quarantine'] as const

function featureRows(k: number, strings: string[]) {
  return rowsOf(
    { layer: 'curated', hourMs: NOON_MS, sortBy: SORT_BY.curated },
    {
      'device_id:string': range(1, 50).map(i => `pump-${i % 5}`),
      'as_of:timestamp': range(1, 50).map(i => NOON_MS + i * 60_000),
      'known_at:timestamp': range(1, 50).map(i => NOON_MS + i * 60_000 + k),
      'revision:integer': range(1, 50).map(() => k),
      'temp_mean_1h:double': range(1, 50).map(i => (i % 3 === 0 ? -0 : i % 3 === 1 ? 0 : null)),
      'temp_anomaly:boolean': range(1, 50).map(i => (i % 2 === 0 ? null : true))
    },
    strings
  )
}

/** Eight flushes with files of every layer; the second half has a profile's second version, with a metric more. */
async function variedArchive(): Promise<TestArchive> {
  const archive = archiveWithLog(40)
  for (const k of range(0, 7)) {
    const more = k < 4 ? {} : { 'added:double': range(1, 500).map(i => (i % 2 === 0 ? null : i / 7)) }
    await archive.write(
      flushNumber(k, strings => [
        edgyReadings(NOON_MS, k * 1000 + 1, 500, strings, more),
        featureRows(k, strings),
        rejected(NOON_MS, k * 100 + 1, 60, strings)
      ])
    )
  }
  return archive
}

const textsOf = (dataDir: string) => Promise.all(LAYERS.map(layer => rowTexts(dataDir, layer)))

test('the rows of every layer are the same to the bit: all types, signs of zero, nulls, two versions of a profile', async () => {
  const archive = await variedArchive()
  const before = await textsOf(archive.dataDir)
  expect(before[1].filter(text => text.includes('"-0.0"')).length).toBeGreaterThan(100)
  const result = await archive.pass()
  expect(result).toMatchObject({ compactions: 4, filesBefore: 32, filesAfter: 4, failures: [], waiting: 32, deleted: 0 })
  expect(LAYERS.map(layer => archive.files(layer).length)).toEqual([1, 1, 1, 1])
  expect(await textsOf(archive.dataDir)).toEqual(before)
  for (const file of archive.files()) {
    const counted = await query(`SELECT count(*) FROM '${archive.dataDir}/archive/${file.path}'`)
    expect(counted).toEqual([[BigInt(file.rows)]])
  }
})

test('the merged file is sorted as its layer is, and is the same bytes again from the same files', async () => {
  const [one, other] = [await variedArchive(), await variedArchive()]
  await one.pass()
  await other.pass()
  for (const [i, file] of one.files().entries()) {
    const path = join(one.dataDir, 'archive', file.path)
    expect(readFileSync(path).equals(readFileSync(join(other.dataDir, 'archive', other.files()[i].path)))).toBe(true)
    const keys = SORT_BY[file.layer].join(', ')
    const order = (by: string) => `SELECT list((${keys}) ORDER BY ${by}) FROM (SELECT ${keys}, file_row_number AS r FROM '${path}')`
    expect(await query(order('r'))).toEqual(await query(order(`${keys.replaceAll(',', ' NULLS LAST,')} NULLS LAST, r`)))
  }
})

test('raw frames stay in the order of the log where the entries of one file lie between those of another', async () => {
  const archive = archiveWithLog(20)
  for (const k of range(0, 3)) await archive.write(flushNumber(k, strings => [readings(NOON_MS, [k + 1], strings)]))
  const paths = dataPaths(archive.dataDir)
  const writer = await MergeWriter.open(paths, { memoryMiB: 128, spillBytesMax: 2 ** 30 })
  const merge = async (files: readonly CatalogFile[], path: string): Promise<CatalogFile> => {
    const { rows } = await writer.merge(files, join(paths.archive, path))
    return { ...files[0], path, rows, lastEntry: files[files.length - 1].lastEntry }
  }
  const raw = archive.files('raw')
  expect(raw).toHaveLength(4)
  const nested = [await merge([raw[0], raw[2]], 'a.parquet'), await merge([raw[1], raw[3]], 'b.parquet')]
  await merge(nested, 'c.parquet')
  writer.close()
  const order = `string_agg(entry || '/' || frame_index, ' ' ORDER BY file_row_number)`
  expect(await query(`SELECT ${order} FROM '${join(paths.archive, 'c.parquet')}'`)).toEqual([
    [
      range(1, 20)
        .map(entry => `${entry}/0 ${entry}/1`)
        .join(' ')
    ]
  ])
})

test('files whose columns differ in type are not merged with each other', async () => {
  const archive = archiveWithLog(40)
  for (const k of range(0, 7)) {
    await archive.write(
      flushNumber(k, strings => [
        rowsOf(
          { layer: 'processed', hourMs: NOON_MS },
          { 'device_id:string': ['pump-7'], 'seq:bigint': [k + 1], [k % 2 === 0 ? 'x:double' : 'x:bigint']: [k] },
          strings
        )
      ])
    )
  }
  expect((await archive.pass()).compactions).toBe(3)
  const types = await Promise.all(
    archive.files('processed').map(async ({ path }) => {
      return (await query(`SELECT column_type FROM (DESCRIBE SELECT x FROM '${archive.dataDir}/archive/${path}')`)).flat()
    })
  )
  expect(types.flat().sort()).toEqual(['BIGINT', 'DOUBLE'])
})

test('an hour is left alone until it ended `after` ago, and while it has too few files', async () => {
  const archive = archiveWithLog(40)
  for (const k of range(0, 3)) await archive.write(flushNumber(k, strings => [readings(NOON_MS, [k + 1], strings)]))
  const dueMs = NOON_MS + HOUR_MS + POLICY.afterMs
  expect(await archive.pass({ nowMs: () => dueMs - 1 })).toMatchObject({ compactions: 0, filesBefore: 0 })
  expect(await archive.pass({ nowMs: () => dueMs, policy: { ...POLICY, minFiles: 5 } })).toMatchObject({ compactions: 0 })
  expect(await archive.pass({ nowMs: () => dueMs })).toMatchObject({ compactions: 2, filesBefore: 8 })
})

test('late files are merged among themselves, and the large file stays as it is', async () => {
  const archive = archiveWithLog(100)
  for (const k of range(0, 3)) {
    await archive.write(flushNumber(k, strings => [edgyReadings(NOON_MS, k * 40_000 + 1, 40_000, strings)]))
  }
  await archive.pass()
  const [large] = archive.files('processed')
  expect(large.bytes).toBeGreaterThan(256 * 1024)
  const late = range(4, 7)
  for (const k of late) await archive.write(flushNumber(k, strings => [readings(NOON_MS, [900_000 + k], strings)]))
  await archive.pass()
  expect(archive.files('processed')).toHaveLength(2)
  expect(archive.files('processed')).toContainEqual(large)
})

test('ledger and sql give the same answers before and after', async () => {
  const archive = archiveWithLog(40)
  for (const k of range(0, 7)) {
    const last = (k + 1) * 10
    const epochs = [epochLedger('pump-7', 77, { highestSampledSeq: last, archived: last })]
    await archive.write(
      flushNumber(k, strings => [readings(NOON_MS, range(k * 10 + 1, last), strings), featureRows(k, strings)], { epochs })
    )
  }
  const ask = async () => {
    const answers: string[] = [JSON.stringify(await readLedger(archive.dataDir))]
    for (const view of ['readings', 'readings_water_loop', 'features', 'feature_revisions', 'quarantine', 'raw']) {
      await runSql(archive.dataDir, `SELECT * FROM ${view} ORDER BY ALL`, { json: true, write: text => answers.push(text) })
    }
    return answers
  }
  const before = await ask()
  expect((await archive.pass()).compactions).toBe(3)
  expect(await ask()).toEqual(before)
  expect(JSON.parse(before[0])).toMatchObject({ ok: true, total: { archived: 80 } })
})

test('superseded files wait outside the glob as long as they are kept, then they and their folders are gone', async () => {
  const archive = await variedArchive()
  await archive.pass()
  const superseded = join(archive.dataDir, 'superseded')
  expect(filesBelow(superseded)).toHaveLength(32)
  expect(await archive.pass({ nowMs: () => EVENING_MS + POLICY.keepMs - 1 })).toMatchObject({ deleted: 0, waiting: 32 })
  expect(filesBelow(superseded)).toHaveLength(32)
  expect(await archive.pass({ nowMs: () => EVENING_MS + POLICY.keepMs })).toMatchObject({ deleted: 32, waiting: 0 })
  expect(filesBelow(superseded)).toEqual([])
  expect(existsSync(join(superseded, 'processed'))).toBe(false)
})

test('a file that cannot be read is reported, and the other hours are compacted', async () => {
  const archive = archiveWithLog(40)
  for (const k of range(0, 3)) {
    await archive.write(flushNumber(k, strings => [readings(NOON_MS, [k + 1], strings), readings(NOON_MS + HOUR_MS, [k + 101], strings)]))
  }
  const [broken] = archive.files('processed')
  const path = join(archive.dataDir, 'archive', broken.path)
  writeFileSync(path, readFileSync(path).subarray(0, 100))
  const result = await archive.pass()
  expect(result).toMatchObject({ compactions: 2, filesBefore: 8 })
  expect(result.failures).toEqual([expect.stringContaining('processed/water-loop/date=2026-03-01/hour=12: ')])
  expect(filesBelow(join(archive.dataDir, 'staging'))).toEqual([])
})

test('an hour that does not fit in the memory stays as it is, and the failure says what to raise', async () => {
  const archive = archiveWithLog(20)
  for (const k of range(0, 3))
    await archive.write(flushNumber(k, strings => [readings(NOON_MS, range(k * 5000 + 1, k * 5000 + 5000), strings)]))
  const before = archive.files('processed')
  const little = await archive.pass({ policy: { ...POLICY, memoryMiB: 4 } })
  expect(little.failures).toContainEqual(
    expect.stringMatching(/^processed\/.*Out of Memory.*; raise compaction\.memory, which is 4MiB, or free disk/s)
  )
  expect(archive.files('processed')).toEqual(before)
  expect(filesBelow(join(archive.dataDir, 'staging'))).toEqual([])
  expect((await archive.pass()).failures).toEqual([])
  expect(archive.files('processed')).toMatchObject([{ rows: 20_000 }])
})

test('a pass that is told to stop drops what it has not swapped, and leaves the archive as it was', async () => {
  const archive = await variedArchive()
  const before = archive.files()
  const stop = new AbortController()
  const result = await archive.pass({ signal: stop.signal, onMerge: () => stop.abort() })
  expect(result).toMatchObject({ stopped: true, failures: [] })
  expect(archive.files().length).toBeGreaterThan(before.length - 8)
  expect(filesBelow(join(archive.dataDir, 'staging'))).toEqual([])
  expect(await archive.pass()).toMatchObject({ stopped: false, failures: [] })
})

test('a file that its flush has not renamed yet is left to the archive worker', async () => {
  const archive = archiveWithLog(40)
  for (const k of range(0, 3)) await archive.write(flushNumber(k, strings => [readings(NOON_MS, [k + 1], strings)]))
  const [one] = archive.files('processed')
  rmSync(join(archive.dataDir, 'archive', one.path))
  expect(await archive.pass()).toMatchObject({ compactions: 1, failures: [] })
  expect(archive.files('processed')).toHaveLength(4)
})
