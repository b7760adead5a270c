import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBBlobValue, DuckDBDataChunk, VARCHAR } from '@duckdb/node-api'
import { describe, expect, test } from 'vitest'
import { CHUNK_BYTES, CHUNK_ROWS } from '../../../gateway/src/archive/chunk-source.js'
import { Dictionary } from '../../../gateway/src/archive/dictionary.js'
import { ParquetWriter } from '../../../gateway/src/archive/parquet.js'
import { RowSource } from '../../../gateway/src/archive/row-source.js'
import type { FileRows } from '../../../gateway/src/processor/flush.js'
import { HOUR_MS, NOON_MS, query, range, readings, rowsOf, temporaryFolder } from './kit.js'

const PLACE = { layer: 'processed', hourMs: NOON_MS } as const

/** Writes each as a file and returns the paths. */
async function write(files: readonly FileRows[], strings: readonly string[] = [], memoryMiB = 256): Promise<string[]> {
  const folder = temporaryFolder()
  const paths = files.map((_, i) => join(folder, `${i}.parquet`))
  const writer = await ParquetWriter.open({ spillFolder: join(folder, 'spill'), memoryMiB })
  await writer.writeFiles(
    files.map((rows, i) => ({ rows, path: paths[i] })),
    strings
  )
  writer.close()
  return paths
}

async function rowsIn(path: string, columns = '*'): Promise<unknown[][]> {
  return await query(`SELECT ${columns} FROM read_parquet('${path}', hive_partitioning = false)`)
}

test('each type of column becomes the type that readers expect, NaN becomes null', async () => {
  const strings: string[] = []
  const rows = rowsOf(
    PLACE,
    {
      'a:double': [1.5, null],
      'b:bigint': [2 ** 53 - 1, null],
      'c:integer': [-7, null],
      'd:boolean': [true, null],
      'e:timestamp': [NOON_MS + 1, null],
      'f:string': ['pump', null],
      'g:bytes': [new Uint8Array([0, 255]), null]
    },
    strings
  )
  const [path] = await write([rows], strings)
  expect(await rowsIn(path, 'a, b, c, d, epoch_ms(e), f, g')).toEqual([
    [1.5, 9007199254740991n, -7, true, BigInt(NOON_MS + 1), 'pump', new DuckDBBlobValue(Buffer.from([0, 255]))],
    [null, null, null, null, null, null, null]
  ])
  const types = await query(`SELECT column_type FROM (DESCRIBE SELECT * FROM '${path}')`)
  expect(types.flat()).toEqual(['DOUBLE', 'BIGINT', 'INTEGER', 'BOOLEAN', 'TIMESTAMP WITH TIME ZONE', 'VARCHAR', 'BLOB'])
})

test('times are stored as microseconds, adjusted to UTC', async () => {
  const [path] = await write([rowsOf(PLACE, { 'event_time:timestamp': [NOON_MS] })])
  const [[type, logical]] = await query(`SELECT type, logical_type FROM parquet_schema('${path}') WHERE name = 'event_time'`)
  expect(type).toBe('INT64')
  expect(logical).toMatch(/isAdjustedToUTC=1.*MICROS=MicroSeconds/)
})

test('the sign of zero survives, whatever DuckDB does with dictionaries', async () => {
  const values = range(1, 5000).map(i => (i % 2 === 0 ? -0 : 0))
  const small = rowsOf(PLACE, { 'seq:bigint': range(1, 5000), 'x:double': values })
  const many = range(1, 60_000).map(i => (i % 3 === 0 ? -0 : 0))
  const large = rowsOf({ ...PLACE, sortBy: ['seq'] }, { 'seq:bigint': range(1, 60_000), 'x:double': many })
  const paths = await write([small, small, large])
  for (const [path, expected] of [
    [paths[0], values],
    [paths[1], values],
    [paths[2], many]
  ] as const) {
    const found = (await rowsIn(path, 'x')).flat()
    expect(found.every((value, i) => Object.is(value, expected[i]))).toBe(true)
    expect(found).toHaveLength(expected.length)
  }
})

test('any string comes back as it was', async () => {
  const texts = ['', "it's", '"', '\\', 'ü', '水', '😀', 'a\0b', 'x'.repeat(5000), '\n']
  for (const text of texts) {
    const strings: string[] = []
    const alone = rowsOf(PLACE, { 's:string': [text, text] }, strings)
    const mixed = rowsOf(PLACE, { 's:string': [text, 'other', null] }, strings)
    const paths = await write([alone, mixed], strings)
    expect(await rowsIn(paths[0])).toEqual([[text], [text]])
    expect(await rowsIn(paths[1])).toEqual([[text], ['other'], [null]])
  }
})

test('texts and bytes of any length keep their rows, nulls among them, over many chunks', async () => {
  const strings: string[] = []
  const lengthOf = (i: number) => (i % 7 === 0 ? null : i % 40)
  const textOf = (i: number) => {
    const length = lengthOf(i)
    return length === null ? null : `${i}`.padStart(length, 'ü').slice(0, length)
  }
  const bytesOf = (i: number) => {
    const text = textOf(i + 3)
    return text === null ? null : Buffer.from(text)
  }
  const numbers = range(0, 9999)
  const columns = { 'i:bigint': [...numbers].reverse(), 's:string': [...numbers].reverse().map(textOf) }
  const narrow = rowsOf({ ...PLACE, sortBy: ['i'] }, columns, strings)
  const wide = rowsOf({ ...PLACE, sortBy: ['i'] }, { ...columns, 'b:bytes': [...numbers].reverse().map(bytesOf) }, strings)
  const paths = await write([narrow, wide], strings)
  expect(await rowsIn(paths[0], 's')).toEqual(numbers.map(i => [textOf(i)]))
  const found = await rowsIn(paths[1], "s, coalesce(hex(b), 'none')")
  expect(found).toEqual(numbers.map(i => [textOf(i), bytesOf(i)?.toString('hex').toUpperCase() ?? 'none']))
})

test('to DuckDB equal texts are equal, whatever lay in their places before', async () => {
  const strings = [...range(0, CHUNK_ROWS - 1).map(i => `${i}`.padStart(12, '0')), 'a', 'b', '']
  const values = Int32Array.from({ length: 2 * CHUNK_ROWS }, (_, i) => (i < CHUNK_ROWS ? i : CHUNK_ROWS + (i % 3)))
  const source = new RowSource([{ name: 's', type: 'string', values }], new Dictionary(strings), Int32Array.from(values.keys()))
  const folder = temporaryFolder()
  const path = join(folder, 'groups.parquet')
  const writer = await ParquetWriter.open({ spillFolder: join(folder, 'spill'), memoryMiB: 256 })
  await writer.copyWide(source, 'SELECT __0 AS s, count(*) AS rows FROM source() GROUP BY ALL', path)
  writer.close()
  expect(await rowsIn(path, 'count(*), sum(rows)::INTEGER')).toEqual([[BigInt(CHUNK_ROWS + 3), 2 * CHUNK_ROWS]])
})

test('long texts are handed to DuckDB a few megabytes at a time', () => {
  const strings = range(0, 199).map(i => `${i}`.repeat(50_000))
  const values = Int32Array.from(strings.keys())
  const source = new RowSource([{ name: 's', type: 'string', values }], new Dictionary(strings), values)
  const chunk = DuckDBDataChunk.create([VARCHAR])
  const bytes: number[] = []
  for (let next = 0; ; ) {
    source.fill(chunk)
    if (chunk.rowCount === 0) break
    bytes.push(strings.slice(next, next + chunk.rowCount).reduce((sum, text) => sum + text.length, 0))
    next += chunk.rowCount
    chunk.reset()
  }
  expect(bytes.reduce((sum, each) => sum + each)).toBe(strings.join('').length)
  expect(Math.max(...bytes)).toBeLessThan(CHUNK_BYTES + 150_000)
})

test('a column of one value is that value in every row, whatever its type', async () => {
  const strings: string[] = []
  const cells = { a: 2 ** 53 - 1, b: -7, c: 0.1, d: -0, e: true, f: NOON_MS + 1, g: "it's" }
  const types = { a: 'bigint', b: 'integer', c: 'double', d: 'double', e: 'boolean', f: 'timestamp', g: 'string' }
  const columns = Object.entries(cells).map(([name, cell]) => [`${name}:${types[name as keyof typeof types]}`, [cell, cell, cell]])
  const [path] = await write([rowsOf(PLACE, Object.fromEntries(columns), strings)], strings)
  const row = [2n ** 53n - 1n, -7, 0.1, -0, true, BigInt(NOON_MS + 1), "it's"]
  expect(await rowsIn(path, 'a, b, c, d, e, epoch_ms(f), g')).toEqual([row, row, row])
})

describe('rows are sorted', () => {
  test('by text as by bytes, nulls last, and ties keep their order', async () => {
    const strings: string[] = []
    const rows = rowsOf(
      { ...PLACE, sortBy: ['s', 'n'] },
      { 's:string': ['b', null, 'a', 'B', 'b', 'b'], 'n:bigint': [1, 0, 3, 4, 1, 0], 'row:integer': [0, 1, 2, 3, 4, 5] },
      strings
    )
    const [path] = await write([rows], strings)
    expect((await rowsIn(path, 'row')).flat()).toEqual([3, 2, 5, 0, 4, 1])
  })

  test('by text beyond the BMP as by its bytes, which UTF-16 does not sort as', async () => {
    const strings: string[] = []
    const [path] = await write([rowsOf({ ...PLACE, sortBy: ['s'] }, { 's:string': ['😀', '\uffff', 'ü', 'z'] }, strings)], strings)
    expect((await rowsIn(path)).flat()).toEqual(['z', 'ü', '\uffff', '😀'])
  })

  test('by number, nulls last', async () => {
    const rows = rowsOf({ ...PLACE, sortBy: ['n', 'm'] }, { 'n:bigint': [2, null, 1, null, 2], 'm:double': [null, 2, 0, 1, -1] })
    const [path] = await write([rows])
    expect(await rowsIn(path)).toEqual([
      [1n, 0],
      [2n, -1],
      [2n, null],
      [null, 1],
      [null, 2]
    ])
  })

  test('also when they are many and most are ties', async () => {
    const strings: string[] = []
    const count = 70_000
    const rows = rowsOf(
      { ...PLACE, sortBy: ['s'] },
      { 's:string': range(1, count).map(i => `device-${i % 3}`), 'row:integer': range(1, count) },
      strings
    )
    const [path] = await write([rows], strings)
    const expected = [0, 1, 2].flatMap(rest => range(1, count).filter(i => i % 3 === rest))
    expect((await rowsIn(path, 'row')).flat()).toEqual(expected)
  })

  test('when equal strings come twice in the dictionary', async () => {
    const columns = { 'n:bigint': [2, 1, 0] }
    const rows = rowsOf({ ...PLACE, sortBy: ['s', 'n'] }, columns)
    const twice: FileRows = { ...rows, columns: [{ name: 's', type: 'string', values: Int32Array.from([0, 1, 2]) }, ...rows.columns] }
    const [path] = await write([twice], ['b', 'b', 'a'])
    expect(await rowsIn(path)).toEqual([
      ['a', 0n],
      ['b', 1n],
      ['b', 2n]
    ])
  })
})

test('the same rows give the same bytes, alone or among other files', async () => {
  const strings: string[] = []
  const hours = range(0, 9).map(hour => readings(NOON_MS + hour * HOUR_MS, range(1, 300), strings))
  const [alone] = await write([hours[3]], strings)
  const among = await write(hours, strings)
  const again = await write(hours, strings)
  expect(readFileSync(among[3]).equals(readFileSync(alone))).toBe(true)
  expect(among.map(path => readFileSync(path))).toEqual(again.map(path => readFileSync(path)))
})

test('large files are the same bytes twice too, also when memory is short', async () => {
  const strings: string[] = []
  const rows = rowsOf(
    { ...PLACE, sortBy: ['device_id', 'event_time'] },
    {
      'device_id:string': range(1, 300_000).map(i => `pump-${(i * 7919) % 1000}`),
      'event_time:timestamp': range(1, 300_000).map(i => NOON_MS + ((i * 104_729) % HOUR_MS)),
      'a:double': range(1, 300_000).map(i => Math.sin(i)),
      'b:double': range(1, 300_000).map(i => Math.cos(i))
    },
    strings
  )
  const [roomy] = await write([rows], strings, 512)
  const [tight] = await write([rows], strings, 64)
  expect(readFileSync(roomy).equals(readFileSync(tight))).toBe(true)
  const disorder =
    await query(`SELECT count(*) FROM (SELECT device_id, event_time, lag(device_id) OVER () AS d, lag(event_time) OVER () AS t
    FROM '${roomy}') WHERE d IS NOT NULL AND (device_id, event_time) < (d, t)`)
  expect(disorder).toEqual([[0n]])
})

test('files of one flush keep to their own rows', async () => {
  const strings: string[] = []
  const files = [
    readings(NOON_MS, range(1, 3), strings),
    readings(NOON_MS + HOUR_MS, range(4, 3000), strings),
    rowsOf(
      { layer: 'quarantine', hourMs: NOON_MS, profile: null },
      { 'reason:string': ['shed'], 'payload:bytes': [Buffer.from('x')] },
      strings
    ),
    readings(NOON_MS, range(3001, 33_000), strings, 'pump-8'),
    readings(NOON_MS, range(33_001, 33_002), strings, 'pump-9')
  ]
  const paths = await write(files, strings)
  const seqs = await Promise.all([0, 1, 3, 4].map(async k => (await rowsIn(paths[k], 'seq')).flat().map(Number)))
  expect(seqs.map(found => found.length)).toEqual([3, 2997, 30_000, 2])
  expect([seqs[0], seqs[3]]).toEqual([
    [1, 2, 3],
    [33_001, 33_002]
  ])
  expect(new Set(seqs[1])).toEqual(new Set(range(4, 3000)))
  expect(new Set(seqs[2])).toEqual(new Set(range(3001, 33_000)))
  expect(await rowsIn(paths[2], 'reason')).toEqual([['shed']])
})

test('128 MiB of payloads, twice what a flush may hold, fit the memory: row groups are bounded by bytes', async () => {
  const payload = (i: number) => {
    const bytes = Buffer.alloc(100_000)
    for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(Math.imul(at + i, 2_654_435_761) >>> 0, at)
    return bytes
  }
  const rows = rowsOf(
    { layer: 'quarantine', hourMs: NOON_MS, profile: null, sortBy: ['n'] },
    { 'n:bigint': range(1, 1350).reverse(), 'payload:bytes': range(1, 1350).map(payload) }
  )
  const [path] = await write([rows], [], 512)
  expect(await query(`SELECT count(*), sum(octet_length(payload)), count(DISTINCT payload) FROM '${path}'`)).toEqual([
    [1350n, 135_000_000n, 1350n]
  ])
  const groups = (await query(`SELECT DISTINCT row_group_id FROM parquet_metadata('${path}')`)).length
  expect(groups).toBeGreaterThan(2)
})
