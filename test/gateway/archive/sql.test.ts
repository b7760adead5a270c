import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { Committer } from '../../../gateway/src/archive/commit.js'
import { dataPaths, stagingName } from '../../../gateway/src/archive/paths.js'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { NoArchiveError } from '../../../gateway/src/archive/views.js'
import { runSql } from '../../../gateway/src/commands/sql.js'
import type { FileRows } from '../../../gateway/src/processor/flush.js'
import { flushOf, HOUR_MS, NOON_MS, range, readings, rowsOf, temporaryFolder, writeLog } from './kit.js'

const CLI = fileURLToPath(new URL('../../../gateway/dist/cli.js', import.meta.url))

/** An archive of one flush for each list of files. */
async function archiveOf(flushes: readonly (readonly FileRows[])[], strings: readonly string[]): Promise<string> {
  const dataDir = temporaryFolder()
  writeLog(dataDir, Math.max(1, flushes.length))
  recoverArchive(dataDir, 0, () => {})
  const catalog = Catalog.open(dataPaths(dataDir).catalog)
  const committer = new Committer(dataPaths(dataDir), catalog, { shard: 0, memoryMiB: 128 })
  for (const [k, files] of flushes.entries()) await committer.write(flushOf([k + 1, k + 1], files, strings))
  committer.close()
  catalog.close()
  return dataDir
}

async function json(dataDir: string, sql: string): Promise<Record<string, unknown>[]> {
  let text = ''
  await runSql(dataDir, sql, { json: true, write: piece => (text += piece) })
  return JSON.parse(text)
}

async function table(dataDir: string, sql: string): Promise<string> {
  let text = ''
  await runSql(dataDir, sql, { write: piece => (text += piece) })
  return text
}

async function columnsOf(dataDir: string, view: string): Promise<string[]> {
  return (await json(dataDir, `DESCRIBE ${view}`)).map(({ column_name, column_type }) => `${column_name} ${column_type}`)
}

describe('an archive without a file', () => {
  test('has every view, with the columns that it will have', async () => {
    const dataDir = await archiveOf([], [])
    for (const view of ['readings', 'features', 'feature_revisions', 'quarantine', 'raw'])
      expect(await json(dataDir, `SELECT * FROM ${view}`)).toEqual([])
    expect(await columnsOf(dataDir, 'readings')).toEqual(
      expect.arrayContaining(['device_id VARCHAR', 'event_time TIMESTAMP WITH TIME ZONE', 'seq BIGINT', 'profile VARCHAR'])
    )
    expect(await columnsOf(dataDir, 'features')).toEqual(
      expect.arrayContaining(['as_of TIMESTAMP WITH TIME ZONE', 'revision INTEGER', 'profile VARCHAR'])
    )
    expect(await columnsOf(dataDir, 'quarantine')).toEqual(expect.arrayContaining(['reason VARCHAR', 'payload BLOB']))
  })
})

describe('readings', () => {
  test('are those of all profiles, each with its metrics; a view of a profile has only that', async () => {
    const strings: string[] = []
    const pump = readings(NOON_MS, [1, 2], strings)
    const fan = rowsOf(
      { layer: 'processed', hourMs: NOON_MS, profile: 'rotating-machine' },
      { 'device_id:string': ['fan-1'], 'seq:bigint': [1], 'rpm:bigint': [1500] },
      strings
    )
    const dataDir = await archiveOf([[pump], [fan]], strings)
    expect(await json(dataDir, 'SELECT profile, device_id, seq, temperature, rpm FROM readings ORDER BY profile, seq')).toEqual([
      { profile: 'rotating-machine', device_id: 'fan-1', seq: 1, temperature: null, rpm: 1500 },
      { profile: 'water-loop', device_id: 'pump-7', seq: 1, temperature: 0.1, rpm: null },
      { profile: 'water-loop', device_id: 'pump-7', seq: 2, temperature: 0.2, rpm: null }
    ])
    expect(await columnsOf(dataDir, 'readings_rotating_machine')).toEqual(['device_id VARCHAR', 'seq BIGINT', 'rpm BIGINT'])
  })

  test('of two versions of a profile go together, a metric of one alone is null in the other', async () => {
    const place = { layer: 'processed', hourMs: NOON_MS } as const
    const one = rowsOf(place, { 'seq:bigint': [1], 'flow:bigint': [5] })
    const two = rowsOf(place, { 'seq:bigint': [2], 'pressure:double': [0.5], 'flow:double': [5.5] })
    const dataDir = await archiveOf([[one], [two]], [])
    expect(await json(dataDir, 'SELECT seq, flow, pressure FROM readings_water_loop ORDER BY seq')).toEqual([
      { seq: 1, flow: 5, pressure: null },
      { seq: 2, flow: 5.5, pressure: 0.5 }
    ])
  })

  test('can be asked by time, in UTC whatever the zone of the machine', async () => {
    const strings: string[] = []
    const dataDir = await archiveOf([[readings(NOON_MS, range(1, 3), strings), readings(NOON_MS + HOUR_MS, [4], strings)]], strings)
    expect(
      await json(
        dataDir,
        "SELECT date_trunc('hour', event_time) AS hour, count(*) AS n FROM readings WHERE event_time > '2026-03-01 12:00:01' GROUP BY hour ORDER BY hour"
      )
    ).toEqual([
      { hour: '2026-03-01T12:00:00Z', n: 2 },
      { hour: '2026-03-01T13:00:00Z', n: 1 }
    ])
  })
})

test('features are the latest revision of each device and as_of, feature_revisions are all', async () => {
  const strings: string[] = []
  const rows = (cells: readonly [string, number, number, number][]) =>
    rowsOf(
      { layer: 'curated', hourMs: NOON_MS },
      {
        'device_id:string': cells.map(cell => cell[0]),
        'as_of:timestamp': cells.map(cell => NOON_MS + cell[1]),
        'known_at:timestamp': cells.map(() => NOON_MS),
        'revision:integer': cells.map(cell => cell[2]),
        'temp_mean_10m:double': cells.map(cell => cell[3])
      },
      strings
    )
  const first = rows([
    ['pump-7', 0, 0, 1.5],
    ['pump-7', 60_000, 0, 2.5],
    ['pump-8', 0, 0, 3.5]
  ])
  const dataDir = await archiveOf([[first], [rows([['pump-7', 0, 2, 1.7]])], [rows([['pump-7', 0, 1, 1.6]])]], strings)
  const sql = 'SELECT device_id, epoch_ms(as_of) AS as_of, revision, temp_mean_10m FROM features_water_loop ORDER BY ALL'
  const expected = [
    { device_id: 'pump-7', as_of: NOON_MS, revision: 2, temp_mean_10m: 1.7 },
    { device_id: 'pump-7', as_of: NOON_MS + 60_000, revision: 0, temp_mean_10m: 2.5 },
    { device_id: 'pump-8', as_of: NOON_MS, revision: 0, temp_mean_10m: 3.5 }
  ]
  expect(await json(dataDir, sql)).toEqual(expected)
  expect(await json(dataDir, sql.replace('features_water_loop', 'features'))).toEqual(expected)
  expect(await json(dataDir, 'SELECT count(*) AS n FROM feature_revisions')).toEqual([{ n: 5 }])
})

test('every quarantined reading has the bytes of its message, which only the first one stores', async () => {
  const strings: string[] = []
  const rejected = rowsOf(
    { layer: 'quarantine', hourMs: NOON_MS, profile: null },
    {
      'reason:string': ['shed', 'shed', 'undecodable', 'metric-out-of-range'],
      'entry:bigint': [1, 1, 1, 2],
      'frame_index:integer': [0, 0, 1, 0],
      'payload:bytes': [Buffer.from('ab'), null, Buffer.from('cd'), null]
    },
    strings
  )
  const dataDir = await archiveOf([[rejected]], strings)
  expect(await json(dataDir, 'SELECT reason, payload FROM quarantine ORDER BY entry, frame_index')).toEqual([
    { reason: 'shed', payload: '6162' },
    { reason: 'shed', payload: '6162' },
    { reason: 'undecodable', payload: '6364' },
    { reason: 'metric-out-of-range', payload: null }
  ])
})

test('JSON keeps what doubles cannot hold, and times to the microsecond', async () => {
  const dataDir = await archiveOf([], [])
  const sql = `SELECT 9007199254740991::BIGINT AS safe, 9007199254740993::BIGINT AS large, 170141183460469231731687303715884105727::HUGEINT AS huge,
    'NaN'::DOUBLE AS nan, 0.1 AS fraction, '\\xFF\\x00'::BLOB AS bytes, TIMESTAMPTZ '2026-03-01 12:00:00.000250+00' AS time, TIMESTAMPTZ '1969-12-31 23:59:59.999999+00' AS early,
    DATE '2026-03-01' AS day, [1.5::DOUBLE, NULL] AS list, true AS yes, NULL AS nothing`
  expect(await json(dataDir, sql)).toEqual([
    {
      safe: 9007199254740991,
      large: '9007199254740993',
      huge: '170141183460469231731687303715884105727',
      nan: null,
      fraction: 0.1,
      bytes: 'ff00',
      time: '2026-03-01T12:00:00.00025Z',
      early: '1969-12-31T23:59:59.999999Z',
      day: '2026-03-01',
      list: [1.5, null],
      yes: true,
      nothing: null
    }
  ])
})

test('people get an aligned table with UTC times', async () => {
  const strings: string[] = []
  const dataDir = await archiveOf([[readings(NOON_MS, [9, 10], strings)]], strings)
  expect(await table(dataDir, 'SELECT device_id, event_time, seq, extra FROM readings ORDER BY seq')).toBe(
    [
      'device_id  event_time            seq  extra',
      '---------  --------------------  ---  -----',
      'pump-7     2026-03-01 12:00:09Z    9',
      'pump-7     2026-03-01 12:00:10Z   10',
      '(2 rows)',
      ''
    ].join('\n')
  )
  expect(await table(dataDir, 'SELECT * FROM range(1200)')).toMatch(/\(1200 rows, the first 1000 shown \(--json prints all\)\)\n$/)
})

test('several statements run in turn, the last one prints', async () => {
  const dataDir = await archiveOf([], [])
  expect(await json(dataDir, 'CREATE TABLE labels AS SELECT 7 AS x; SELECT x FROM labels')).toEqual([{ x: 7 }])
  await expect(runSql(dataDir, ' -- nothing\n;')).rejects.toThrow('no statement')
})

describe('a query', () => {
  test('reads no file but the archive’s and writes none, unless the user allows it', async () => {
    const strings: string[] = []
    const dataDir = await archiveOf([[readings(NOON_MS, [1], strings)]], strings)
    const target = join(temporaryFolder(), 'out.csv')
    const inside = join(dataDir, 'archive/out.csv')
    for (const sql of [
      `COPY (SELECT 1) TO '${target}'`,
      `COPY (SELECT 1) TO '${inside}'`,
      `EXPORT DATABASE '${join(dataDir, 'archive/export')}'`,
      `SELECT * FROM read_text('${CLI}')`,
      `ATTACH '${join(dataDir, 'catalog.sqlite')}'`,
      'SET enable_external_access = true',
      'INSTALL httpfs'
    ]) {
      await expect(runSql(dataDir, sql, { write: () => {} }), sql).rejects.toThrow()
    }
    expect([existsSync(target), existsSync(inside)]).toEqual([false, false])
    await runSql(dataDir, `COPY (SELECT seq FROM readings) TO '${target}'`, { files: true, write: () => {} })
    expect(readFileSync(target, 'utf8')).toBe('seq\n1\n')
  })

  test('finds a committed file that still waits for its rename', async () => {
    const strings: string[] = []
    const dataDir = await archiveOf([[readings(NOON_MS, [1, 2], strings)]], strings)
    const { archive, staging, catalog } = dataPaths(dataDir)
    const opened = Catalog.openReadonly(catalog)
    for (const { path } of opened.files()) renameSync(join(archive, path), join(staging, stagingName(path)))
    opened.close()
    expect(await json(dataDir, 'SELECT count(*) AS n FROM readings')).toEqual([{ n: 2 }])
  })

  test('starts once more where a file was moved under it', async () => {
    const strings: string[] = []
    const dataDir = await archiveOf([[readings(NOON_MS, [1, 2], strings)]], strings)
    const { archive, staging, catalog } = dataPaths(dataDir)
    const opened = Catalog.openReadonly(catalog)
    onTestFinished(() => opened.close())
    const [{ path }] = opened.files('processed')
    renameSync(join(archive, path), join(staging, stagingName(path)))
    const { withViews } = await import('../../../gateway/src/archive/views.js')
    let tries = 0
    const rows = await withViews(dataDir, { ownFiles: false }, async connection => {
      tries++
      if (tries === 1) renameSync(join(staging, stagingName(path)), join(archive, path))
      return (await connection.runAndReadAll('SELECT count(*) FROM readings')).getRows()
    })
    expect([tries, rows]).toEqual([2, [[2n]]])
  })
})

test('a folder that is no data folder is named, with what to do', async () => {
  const dataDir = temporaryFolder()
  await expect(runSql(join(dataDir, 'none'), 'SELECT 1')).rejects.toThrow(NoArchiveError)
  await expect(runSql(dataDir, 'SELECT 1')).rejects.toThrow(/no data folder of a gateway.*--data-dir/)
})

describe('the command', () => {
  let dataDir = ''
  const run = (...args: string[]) => spawnSync(process.execPath, [CLI, 'sql', ...args], { encoding: 'utf8', cwd: dataDir })

  beforeAll(() => {
    expect(existsSync(CLI), 'npm run build comes first').toBe(true)
  })

  test('prints JSON to stdout and exits 0', async () => {
    dataDir = await archiveOf([], [])
    expect(run('--data-dir', '.', '--json', 'SELECT 1 AS one')).toMatchObject({ status: 0, stdout: '[{"one":1}]\n', stderr: '' })
  })

  test('exits 1 for a bad query, 2 for a wrong folder, with one clear line', async () => {
    dataDir = await archiveOf([], [])
    expect(run('--data-dir', '.', 'SELECT nothing FROM nowhere')).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringMatching('nowhere')
    })
    mkdirSync(join(dataDir, 'empty'))
    const wrong = run('--data-dir', 'empty', 'SELECT 1')
    expect(wrong).toMatchObject({ status: 2, stdout: '' })
    expect(wrong.stderr.trim().split('\n')).toEqual([expect.stringMatching(/^empty is no data folder/)])
  })

  test('tells how to write files', async () => {
    dataDir = await archiveOf([], [])
    expect(run('--data-dir', '.', "COPY (SELECT 1) TO 'x.csv'")).toMatchObject({ status: 1, stderr: expect.stringMatching('--files') })
    expect(run('--data-dir', '.', '--files', "COPY (SELECT 1 AS x) TO 'x.csv'")).toMatchObject({ status: 0 })
    expect(readFileSync(join(dataDir, 'x.csv'), 'utf8')).toBe('x\n1\n')
  })
})
