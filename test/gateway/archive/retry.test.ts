import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openArchive } from '../../../gateway/dist/archive/archive-client.js'
import { flushOf, NOON_MS, query, range, readings, temporaryFolder, writeLog } from './kit.js'

function tenth(k: number) {
  const strings: string[] = []
  const [first, last] = [k * 10 + 1, k * 10 + 10]
  return flushOf([first, last], [readings(NOON_MS, range(first, last), strings)], strings)
}

test('a flush whose arrays were transferred is kept by the worker until the disk takes it; the one that waits comes after it', async () => {
  const dataDir = temporaryFolder()
  writeLog(dataDir, 20)
  const { archive } = openArchive(dataDir, { memoryMiB: 128 })
  onTestFinished(() => archive.close())
  const obstacle = join(dataDir, 'staging/obstacle.parquet')
  mkdirSync(obstacle)

  const flush = tenth(0)
  const buffers = flush.files[0].columns.flatMap(({ values }) => (values instanceof Float64Array ? [values.buffer as ArrayBuffer] : []))
  const first = archive.write(flush, buffers)
  const second = archive.write(tenth(1))
  await expect(first).rejects.toMatchObject({ code: 'ARCHIVE_WRITE', message: expect.stringContaining(dataDir) })
  await expect(archive.retry()).rejects.toMatchObject({ code: 'ARCHIVE_WRITE' })
  rmSync(obstacle, { recursive: true })
  expect((await archive.retry()).lastEntry).toBe(10)
  expect((await second).lastEntry).toBe(20)
  expect((await query(`SELECT seq FROM '${dataDir}/archive/processed/*/*/*/*.parquet' ORDER BY seq`)).flat().map(Number)).toEqual(
    range(1, 20)
  )
})
