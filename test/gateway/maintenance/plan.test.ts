import { expect, test } from 'vitest'
import type { CatalogFile } from '../../../gateway/src/archive/catalog.js'
import { archivePath, compactedPath } from '../../../gateway/src/archive/paths.js'
import { groupByShape, planMerges, tierOf } from '../../../gateway/src/maintenance/plan.js'
import { NOON_MS, range } from '../archive/kit.js'

const MIB = 2 ** 20
const POLICY = { minFiles: 4, targetBytes: 512 * MIB }
const PLACE = { layer: 'processed', profile: 'water-loop', hourMs: NOON_MS } as const

function file(entry: number, bytes: number, compaction: number | null = null, columns = 'a'): CatalogFile {
  const name = { shard: 0, firstEntry: entry, lastEntry: entry }
  const path = compaction === null ? archivePath(PLACE, { ...name, part: 1 }) : compactedPath(PLACE, name, compaction)
  return { ...PLACE, path, rows: 1, bytes, shard: 0, firstEntry: entry, lastEntry: entry, columns }
}

const plan = (files: readonly CatalogFile[]) =>
  planMerges(
    files.map(each => ({ file: each, weightBytes: each.bytes })),
    POLICY
  )
const entriesOf = (merges: readonly CatalogFile[][]) => merges.map(files => files.map(each => each.firstEntry))

test('an hour with too few files is left alone', () => {
  expect(plan([])).toEqual([])
  expect(plan([file(1, MIB), file(2, MIB), file(3, MIB)])).toEqual([])
})

test('an hour that no compaction has touched is merged as a whole, whatever the sizes', () => {
  expect(entriesOf(plan([file(3, 10), file(1, 100 * MIB), file(2, MIB), file(4, 10)]))).toEqual([[1, 2, 3, 4]])
})

//  60 flushes of 30 MiB are 1800 MiB: four files of 450 MiB, none of them a small rest
test('what exceeds the target becomes even shares', () => {
  const merges = plan(range(1, 60).map(entry => file(entry, 30 * MIB)))
  expect(merges.map(files => files.length)).toEqual([15, 15, 15, 15])
  expect(entriesOf(merges).flat()).toEqual(range(1, 60))
})

test('a file of half the target or more is final', () => {
  expect(entriesOf(plan([file(1, 256 * MIB), ...range(2, 5).map(entry => file(entry, MIB))]))).toEqual([[2, 3, 4, 5]])
})

test('late files are merged among themselves, not with the large file of their hour', () => {
  const large = file(1, 200 * MIB, 1)
  expect(plan([large, file(2, 1000), file(3, 1000), file(4, 1000)])).toEqual([])
  expect(entriesOf(plan([large, ...range(2, 5).map(entry => file(entry, 1000))]))).toEqual([[2, 3, 4, 5]])
})

test('tiers are a factor of four apart', () => {
  expect([0, 1, 256 * 1024 - 1, 256 * 1024, MIB, 4 * MIB, 16 * MIB, 255 * MIB].map(tierOf)).toEqual([0, 0, 0, 1, 2, 3, 4, 5])
})

test('two thousand late files rewrite each byte a handful of times, and leave few files', () => {
  let files = [file(1, 200 * MIB, 1)]
  let rewritten = 0
  let written = 0
  for (let entry = 2; entry <= 2001; entry++) {
    const bytes = 20_000 + ((entry * 7919) % 100_000)
    files.push(file(entry, bytes))
    written += bytes
    for (let merges = plan(files); merges.length > 0; merges = plan(files)) {
      for (const merge of merges) {
        const sum = merge.reduce((total, each) => total + each.bytes, 0)
        rewritten += sum
        files = [...files.filter(each => !merge.includes(each)), file(merge[0].firstEntry, sum, entry)]
      }
    }
  }
  expect(rewritten / written).toBeLessThan(6)
  expect(files.length).toBeLessThan(20)
  expect(files.reduce((total, each) => total + each.bytes, 0)).toBe(200 * MIB + written)
})

test('files go together whose columns of one name have one type', () => {
  const shapes = {
    a: [{ name: 'x', type: 'double' }],
    b: [
      { name: 'x', type: 'double' },
      { name: 'y', type: 'string' }
    ],
    c: [{ name: 'x', type: 'bigint' }],
    d: [{ name: 'y', type: 'bigint' }]
  } as const
  const files = (['a', 'b', 'c', 'd', 'a'] as const).map((digest, i) => file(i + 1, MIB, null, digest))
  const groups = groupByShape(files, digest => shapes[digest as keyof typeof shapes])
  expect(entriesOf(groups)).toEqual([
    [1, 2, 5],
    [3, 4]
  ])
})
