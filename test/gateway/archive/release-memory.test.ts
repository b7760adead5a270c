/** What a process has freed goes back to the system, as far as C's allocator is glibc's: it rests on what DuckDB does by the way. */
import { execFileSync } from 'node:child_process'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { Committer } from '../../../gateway/src/archive/commit.js'
import { ParquetWriter } from '../../../gateway/src/archive/parquet.js'
import { dataPaths } from '../../../gateway/src/archive/paths.js'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { flushOf, NOON_MS, range, readings, temporaryFolder, writeLog } from './kit.js'

const WRITER = new URL('../../../gateway/dist/archive/parquet.js', import.meta.url).href

/** Prints its memory in MB: with 60,000 arrays of 4 kB, when all but each 50th are freed, and when that has gone back. */
const PROGRAM = `
import { readFileSync } from 'node:fs'
import { ParquetWriter } from '${WRITER}'
const rss = () => Number(/VmRSS:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024
const writer = await ParquetWriter.open({ spillFolder: process.argv[1], memoryMiB: 128 })
let arrays = Array.from({ length: 60_000 }, () => new Float64Array(512))
const held = rss()
arrays = arrays.filter((_, i) => i % 50 === 0)
gc()
await new Promise(resolve => setTimeout(resolve, 300)) // it sweeps beside
const freed = rss()
await writer.releaseMemory()
console.log(JSON.stringify({ held, freed, released: rss() }))
writer.close()
`

const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }

test.skipIf(header.glibcVersionRuntime === undefined)('memory that was freed goes back to the system', () => {
  const args = ['--expose-gc', '--input-type=module', '--eval', PROGRAM, temporaryFolder()]
  const { held, freed, released } = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }))
  expect(held - freed).toBeLessThan(100) // or there was nothing to show
  expect(freed - released).toBeGreaterThan(150)
})

test('it does so behind each flush', async () => {
  const dataDir = temporaryFolder()
  writeLog(dataDir, 3)
  recoverArchive(dataDir, 0, () => {})
  const paths = dataPaths(dataDir)
  const catalog = Catalog.open(paths.catalog)
  const committer = new Committer(paths, catalog, { shard: 0, memoryMiB: 128 })
  const released = vi.spyOn(ParquetWriter.prototype, 'releaseMemory')
  onTestFinished(() => {
    released.mockRestore()
    committer.close()
    catalog.close()
  })
  for (const entry of range(1, 3)) {
    const strings: string[] = []
    await committer.write(flushOf([entry, entry], [readings(NOON_MS, [entry], strings)], strings))
    expect(released).toHaveBeenCalledTimes(entry)
  }
})
