import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DuckDBConnection } from '@duckdb/node-api'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { Committer } from '../../../gateway/src/archive/commit.js'
import { dataPaths } from '../../../gateway/src/archive/paths.js'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { writeTrainingSet } from '../../../gateway/src/archive/training-set.js'
import { CLI, ROOT, runToEnd } from '../../kit/processes.js'
import { filesBelow, flushOf, NOON_MS, query, rowsOf, temporaryFolder, withDuckDb, writeLog } from './kit.js'

// Times are minutes after noon. A feature row's only feature is its ID, so the training set shows which row a label got.

interface Revision {
  readonly device: string
  readonly asOf: number
  readonly revision: number
  readonly knownAt: number
}

interface Label {
  readonly device: string
  readonly at: number
}

const MINUTE_MS = 60_000
const msOf = (minute: number) => NOON_MS + minute * MINUTE_MS

/** The definition: of the rows that were available at the label's time the latest as_of, then the latest revision. */
function bruteForce(rows: readonly Revision[], label: Label, embargo: number): number | null {
  let best: number | null = null
  for (const [id, row] of rows.entries()) {
    if (row.device !== label.device || Math.max(row.knownAt, row.asOf) + embargo > label.at) continue
    if (best === null || isNewer(row, rows[best])) best = id
  }
  return best
}

function isNewer(a: Revision, b: Revision): boolean {
  return a.asOf - b.asOf > 0 || (a.asOf === b.asOf && (a.revision > b.revision || (a.revision === b.revision && a.knownAt > b.knownAt)))
}

/** What people write who know that a row must have been known: the last row that became known. */
function plainAsofOnKnownAt(rows: readonly Revision[], label: Label): number | null {
  let best: number | null = null
  for (const [id, row] of rows.entries()) {
    if (row.device !== label.device || row.knownAt > label.at) continue
    if (best === null || row.knownAt >= rows[best].knownAt) best = id
  }
  return best
}

/** What people write who do not: the archive as it is in the end. */
function leakingJoin(rows: readonly Revision[], label: Label): number | null {
  let best: number | null = null
  for (const [id, row] of rows.entries()) {
    if (row.device === label.device && row.asOf <= label.at && (best === null || isNewer(row, rows[best]))) best = id
  }
  return best
}

async function tableOf(connection: DuckDBConnection, rows: readonly Revision[]): Promise<void> {
  await connection.run(
    'CREATE OR REPLACE TABLE revisions (device_id VARCHAR, as_of TIMESTAMPTZ, known_at TIMESTAMPTZ, revision INTEGER, id INTEGER)'
  )
  for (const [id, { device, asOf, revision, knownAt }] of rows.entries())
    await connection.run(
      `INSERT INTO revisions VALUES ('${device}', make_timestamptz(${msOf(asOf)}000), make_timestamptz(${msOf(knownAt)}000), ${revision}, ${id})`
    )
  await connection.run('CREATE OR REPLACE VIEW feature_revisions_pump AS FROM revisions')
  await connection.run("CREATE OR REPLACE VIEW feature_revisions AS SELECT *, 'pump' AS profile FROM revisions")
}

function csvOf(labels: readonly Label[]): string {
  return ['device_id,label_time,label', ...labels.map(({ device, at }) => `${device},${msOf(at)},${at % 2}`), ''].join('\n')
}

/** The ID of the row that each label gets, and its age in minutes. */
async function joined(
  rows: readonly Revision[],
  labels: readonly Label[],
  embargo = 0
): Promise<{ id: number | null; age: number | null }[]> {
  const folder = temporaryFolder()
  const [labelsPath, outPath] = [join(folder, 'labels.csv'), join(folder, 'out.parquet')]
  writeFileSync(labelsPath, csvOf(labels))
  return await withDuckDb(async connection => {
    await tableOf(connection, rows)
    await writeTrainingSet(connection, { labelsPath, outPath, profile: null, features: null, embargoMs: embargo * MINUTE_MS })
    const got = (await connection.runAndReadAll(`SELECT device_id, epoch_ms(label_time), id, age_ms FROM '${outPath}'`)).getRows()
    expect(
      got.map(([device, at]) => [device, Number(at)]),
      'a row a label, in the order of the labels'
    ).toEqual(labels.map(({ device, at }) => [device, msOf(at)]))
    return got.map(([, , id, age]) => ({
      id: id === null ? null : Number(id),
      age: age === null ? null : Number(age) / MINUTE_MS
    }))
  })
}

const revisions = fc.array(
  fc.record({
    device: fc.constantFrom('a', 'b'),
    asOf: fc.integer({ min: 0, max: 12 }),
    revision: fc.integer({ min: 0, max: 3 }),
    // Before as_of: a fast clock. Long after it: a backlog or a correction. The narrow range makes ties.
    knownAt: fc.integer({ min: -3, max: 20 })
  }),
  { maxLength: 25 }
)
const uniqueRevisions = revisions.map(rows => [...new Map(rows.map(row => [`${row.device} ${row.asOf} ${row.revision}`, row])).values()])
const labels = fc.array(fc.record({ device: fc.constantFrom('a', 'b', 'stranger'), at: fc.integer({ min: -1, max: 25 }) }), {
  minLength: 1,
  maxLength: 12
})

test('each label gets what the definition says, whatever corrections, backlogs, fast clocks and ties there are', async () => {
  await fc.assert(
    fc.asyncProperty(uniqueRevisions, labels, fc.integer({ min: 0, max: 3 }), async (rows, wanted, embargo) => {
      fc.pre(rows.length > 0)
      const expected = wanted.map(label => bruteForce(rows, label, embargo))
      const got = await joined(rows, wanted, embargo)
      expect(got.map(({ id }) => id)).toEqual(expected)
      expect(got.map(({ age }) => age)).toEqual(expected.map((id, k) => (id === null ? null : wanted[k].at - rows[id].asOf)))
    }),
    { numRuns: 60 }
  )
}, 120_000)

test('the SQL definition of the manual says the same', async () => {
  const manual = readFileSync(join(ROOT, 'gateway/README.md'), 'utf8')
  const [definition] = /SELECT l\.\*, f\.\* FROM labels l LEFT JOIN LATERAL[^`]+/.exec(manual) ?? ['']
  const rows = Array.from({ length: 40 }, (_, k): Revision => {
    return { device: k % 3 === 0 ? 'a' : 'b', asOf: (k * 7) % 13, revision: Math.floor(k / 13), knownAt: ((k * 11) % 23) - 3 }
  })
  const wanted = Array.from({ length: 50 }, (_, k): Label => ({ device: k % 2 === 0 ? 'a' : 'b', at: k % 25 }))
  const bySql = await withDuckDb(async connection => {
    await tableOf(connection, rows)
    await connection.run('CREATE TABLE labels (n INTEGER, device_id VARCHAR, label_time TIMESTAMPTZ)')
    for (const [n, { device, at }] of wanted.entries())
      await connection.run(`INSERT INTO labels VALUES (${n}, '${device}', make_timestamptz(${msOf(at)}000))`)
    return (await connection.runAndReadAll(`SELECT id FROM (${definition}) ORDER BY n`)).getRows().map(([id]) => id)
  })
  expect((await joined(rows, wanted, 2)).map(({ id }) => id)).toEqual(bySql)
  expect(bySql.filter(id => id !== null).length).toBeGreaterThan(20)
})

describe('beside the joins that look right', () => {
  //  as_of    5   6   7   8         5'  (a correction)          9 10 11   (a backlog, known together at 20)
  //  known    6   7   8   9        15                          20 20 20
  const device = 'pump'
  const online = [5, 6, 7, 8].map(asOf => ({ device, asOf, revision: 0, knownAt: asOf + 1 }))
  const correction = { device, asOf: 5, revision: 1, knownAt: 15 }
  const backlog = [11, 9, 10].map(asOf => ({ device, asOf, revision: 0, knownAt: 20 }))
  const fast = { device: 'fast', asOf: 30, revision: 0, knownAt: 10 }
  const rows: Revision[] = [...online, correction, ...backlog, fast]

  test('a correction of an old row does not hide the newer rows that were there before it', async () => {
    const label = { device, at: 16 }
    expect(rows[plainAsofOnKnownAt(rows, label)!]).toEqual(correction)
    const [{ id, age }] = await joined(rows, [label])
    expect(rows[id!]).toEqual(online[3])
    expect(age).toBe(8)
  })

  test('of a backlog that became known at once the latest row counts, not just any', async () => {
    const label = { device, at: 21 }
    expect(rows[plainAsofOnKnownAt(rows, label)!]).not.toEqual(backlog[0])
    const [{ id }] = await joined(rows, [label])
    expect(rows[id!]).toEqual(backlog[0])
  })

  test('what became known after the label leaks through a join that ignores known_at, and not through ours', async () => {
    const times = Array.from({ length: 30 }, (_, at) => ({ device, at }))
    const leaked = times.map(label => leakingJoin(rows, label)).map(id => (id === null ? null : rows[id]))
    expect(leaked.filter((row, at) => row !== null && row.knownAt > at).length).toBeGreaterThan(5)
    const ours = (await joined(rows, times)).map(({ id }) => (id === null ? null : rows[id]))
    for (const [at, row] of ours.entries()) if (row !== null) expect(Math.max(row.knownAt, row.asOf)).toBeLessThanOrEqual(at)
    expect(ours).not.toEqual(leaked)
  })

  test('a row of a fast clock is not used before its as_of has come', async () => {
    const got = await joined(rows, [
      { device: 'fast', at: 29 },
      { device: 'fast', at: 30 }
    ])
    expect(got.map(({ id }) => id)).toEqual([null, rows.indexOf(fast)])
  })

  test('the embargo holds a row back for as long as it takes to reach whoever predicts', async () => {
    const times = [9, 10, 11].map(at => ({ device, at }))
    expect((await joined(rows, times, 2)).map(({ id }) => id)).toEqual([1, 2, 3])
    expect((await joined(rows, times)).map(({ id }) => id)).toEqual([3, 3, 3])
  })
})

/** A data folder with feature rows of two devices, a file a flush. */
async function archiveOf(profiles: readonly string[]): Promise<string> {
  const dataDir = temporaryFolder()
  writeLog(dataDir, Math.max(1, profiles.length))
  recoverArchive(dataDir, 0, () => {})
  const catalog = Catalog.open(dataPaths(dataDir).catalog)
  const committer = new Committer(dataPaths(dataDir), catalog, { shard: 0, memoryMiB: 128 })
  for (const [k, profile] of profiles.entries()) {
    const strings: string[] = []
    const file = rowsOf(
      { layer: 'curated', hourMs: NOON_MS, profile },
      {
        'device_id:string': ['pump-7', 'pump-7', 'pump-8'],
        'as_of:timestamp': [msOf(1), msOf(2), msOf(2)],
        'known_at:timestamp': [msOf(2), msOf(3), msOf(3)],
        'computed_at:timestamp': [msOf(2), msOf(3), msOf(3)],
        'revision:integer': [0, 0, 0],
        'provisional:boolean': [0, 0, 1],
        'event_count:bigint': [60, 60, 30],
        'coverage:double': [0.1, 0.2, 0.1],
        'processor_version:integer': [1, 1, 1],
        'temp_mean_10m:double': [20.5, 21.5, null],
        'temp_anomaly:boolean': [0, 1, null]
      },
      strings
    )
    await committer.write(flushOf([k + 1, k + 1], [file], strings))
  }
  committer.close()
  catalog.close()
  return dataDir
}

describe('the command', () => {
  test('reads the archive, passes the columns of the labels on, and says what it did', async () => {
    const dataDir = await archiveOf(['water-loop'])
    const [labelsPath, out] = [join(dataDir, 'labels.csv'), join(dataDir, 'train.parquet')]
    const lines = [
      'label,device_id,site,label_time',
      '1,pump-7,north,2026-03-01T12:03:00Z',
      '0,pump-7,north,2026-03-01T13:02:59.5+01:00',
      `0,pump-8,"south, by the sea",${msOf(3)}`,
      `0,pump-8,south,${msOf(1)}`
    ]
    writeFileSync(labelsPath, lines.join('\n'))
    const ran = await runToEnd(CLI.gateway, ['training-set', labelsPath, '-o', out, '--data-dir', dataDir, '--json'])
    expect(ran).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(ran.stdout)).toEqual({
      profile: 'water-loop',
      features: ['temp_mean_10m', 'temp_anomaly'],
      embargo_ms: 0,
      labels: 4,
      joined: 3,
      without_features: 1,
      known_too_late: 0,
      age_ms: { p50: 60_000, max: 119_500 },
      out
    })
    const columns =
      'label, device_id, site, epoch_ms(label_time), epoch_ms(as_of), revision, epoch_ms(known_at), age_ms, temp_mean_10m, temp_anomaly'
    expect((await query(`SELECT ${columns} FROM '${out}'`)).map(row => row.map(v => (typeof v === 'bigint' ? Number(v) : v)))).toEqual([
      [1, 'pump-7', 'north', msOf(3), msOf(2), 0, msOf(3), 60_000, 21.5, true],
      [0, 'pump-7', 'north', msOf(3) - 500, msOf(1), 0, msOf(2), 119_500, 20.5, false],
      [0, 'pump-8', 'south, by the sea', msOf(3), msOf(2), 0, msOf(3), 60_000, null, null],
      [0, 'pump-8', 'south', msOf(1), null, null, null, null, null, null]
    ])
    const again = join(dataDir, 'again.parquet')
    const some = ['--features', 'event_count,temp_mean_10m', '--profile', 'water-loop']
    expect((await runToEnd(CLI.gateway, ['training-set', labelsPath, '-o', again, '--data-dir', dataDir, ...some])).stdout).toContain(
      '4 labels, 3 of them with features of water-loop'
    )
    expect((await query(`DESCRIBE FROM '${again}'`)).map(([name]) => name).slice(-3)).toEqual(['age_ms', 'event_count', 'temp_mean_10m'])
  })

  test('the same labels and archive give the same bytes', async () => {
    const dataDir = await archiveOf(['water-loop'])
    const labelsPath = join(dataDir, 'labels.csv')
    writeFileSync(labelsPath, csvOf(Array.from({ length: 500 }, (_, k) => ({ device: `pump-${7 + (k % 3)}`, at: k % 9 }))))
    const outs = [join(dataDir, 'one.parquet'), join(dataDir, 'two.parquet')]
    for (const out of outs) await runToEnd(CLI.gateway, ['training-set', labelsPath, '-o', out, '--data-dir', dataDir])
    expect(readFileSync(outs[0]).equals(readFileSync(outs[1]))).toBe(true)
  })

  const good = `device_id,label_time,label\npump-7,${NOON_MS},1\n`
  test.each([
    ['labels that are not there', null, [], 'there is no file'],
    ['labels that lack a column', 'device_id,time,label\npump-7,1,1\n', [], 'has no column "label_time", only device_id, time, label'],
    [
      'a label without a zone',
      'device_id,label_time,label\npump-7,2026-03-01T12:00:00,1\n',
      [],
      'row 1 below the header has the label_time'
    ],
    [
      'a label without a device',
      `device_id,label_time,label\npump-7,${NOON_MS},1\n,${NOON_MS},1\n`,
      [],
      'row 2 below the header has no device_id'
    ],
    ['a column that would be there twice', `device_id,label_time,label,as_of\npump-7,${NOON_MS},1,2\n`, [], 'a column "as_of"'],
    ['an unknown feature', good, ['--features', 'temp_mean_1m'], 'did you mean "temp_mean_10m"?'],
    ['an unknown profile', good, ['--profile', 'water-lop'], 'did you mean "water-loop"?'],
    ['an embargo that is none', good, ['--embargo', 'soon'], '--embargo: "soon" is no duration'],
    ['an option that is none', good, ['--embargoes', '2m'], "unknown option '--embargoes'"]
  ])('%s is said in a clear line, with exit code 2, and nothing is left behind', async (_, text, args, message) => {
    const dataDir = await archiveOf(['water-loop'])
    const labelsPath = join(dataDir, 'labels.csv')
    if (text !== null) writeFileSync(labelsPath, text)
    const before = filesBelow(dataDir)
    const ran = await runToEnd(CLI.gateway, [
      'training-set',
      labelsPath,
      '-o',
      join(dataDir, 'out.parquet'),
      '--data-dir',
      dataDir,
      ...args
    ])
    expect(ran).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(message) })
    expect(filesBelow(dataDir).filter(name => name.includes('out.parquet'))).toEqual([])
    expect(filesBelow(dataDir).length).toBeGreaterThanOrEqual(before.length)
  })

  test('an archive without features, several profiles, a folder that is no archive and one that is not there are told apart', async () => {
    const folder = temporaryFolder()
    const labelsPath = join(folder, 'labels.csv')
    writeFileSync(labelsPath, good)
    const refusal = async (dataDir: string, out = join(folder, 'out.parquet')) => {
      const { code, stderr } = await runToEnd(CLI.gateway, ['training-set', labelsPath, '-o', out, '--data-dir', dataDir])
      expect(code).toBe(2)
      return stderr
    }
    expect(await refusal(await archiveOf([]))).toContain('holds no feature rows yet')
    expect(await refusal(await archiveOf(['water-loop', 'host']))).toContain('choose one with --profile (host, water-loop)')
    expect(await refusal(folder)).toContain('is no data folder of a gateway')
    expect(await refusal(await archiveOf(['water-loop']), join(folder, 'no', 'out.parquet'))).toContain('there is no folder')
  })
})
