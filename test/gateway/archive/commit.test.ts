import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ArchiveWriteError, FlushRefusedError, writeError } from '../../../gateway/src/archive/archive-error.js'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { Committer } from '../../../gateway/src/archive/commit.js'
import { dataPaths, stagingName } from '../../../gateway/src/archive/paths.js'
import { type Recovered, recoverArchive } from '../../../gateway/src/archive/recover.js'
import type { Flush } from '../../../gateway/src/processor/flush.js'
import {
  epochLedger,
  type FlushRest,
  filesBelow,
  flushOf,
  HOUR_MS,
  NO_FLEET,
  NOON_MS,
  partsOf,
  query,
  range,
  readings,
  rowsOf,
  temporaryFolder,
  writeLog,
  writeParts
} from './kit.js'

interface Opened {
  readonly dataDir: string
  readonly recovered: Recovered
  readonly warnings: string[]
  readonly catalog: Catalog
  readonly committer: Committer
}

function open(dataDir: string): Opened {
  const warnings: string[] = []
  const recovered = recoverArchive(dataDir, 0, message => warnings.push(message))
  const paths = dataPaths(dataDir)
  const catalog = Catalog.open(paths.catalog)
  const committer = new Committer(paths, catalog, { shard: 0, memoryMiB: 128 })
  onTestFinished(() => {
    committer.close()
    catalog.close()
  })
  return { dataDir, recovered, warnings, catalog, committer }
}

function fresh(entries = 30): Opened {
  const dataDir = temporaryFolder()
  writeLog(dataDir, entries)
  return open(dataDir)
}

const PARTITION = 'processed/water-loop/date=2026-03-01/hour=12'
const RAW = 'raw/messages/date=2026-03-01/hour=12'

/** Entries and seqs, ten each. */
function tenth(k: number, rest: FlushRest = {}): Flush {
  const strings: string[] = []
  const [first, last] = [k * 10 + 1, k * 10 + 10]
  return flushOf([first, last], [readings(NOON_MS, range(first, last), strings)], strings, rest)
}

async function archivedSeqs(dataDir: string): Promise<number[]> {
  return (await query(`SELECT seq FROM '${dataDir}/archive/processed/*/*/*/*.parquet' ORDER BY seq`)).flat().map(Number)
}

test('a flush lands in Hive partitions, named by its entries', async () => {
  const { dataDir, committer, catalog } = fresh()
  const strings: string[] = []
  const files = [
    readings(NOON_MS - HOUR_MS, [1, 2], strings),
    readings(NOON_MS, [3], strings),
    rowsOf({ layer: 'curated', hourMs: NOON_MS }, { 'revision:integer': [1] }, strings),
    rowsOf({ layer: 'quarantine', hourMs: NOON_MS, profile: null }, { 'reason:string': ['shed'] }, strings),
    readings(NOON_MS + 12 * HOUR_MS, [], strings)
  ]
  const written = await committer.write(flushOf([1, 10], files, strings))
  const name = '0-000000000001-000000000010.parquet'
  expect(filesBelow(join(dataDir, 'archive'))).toEqual([
    `curated/water-loop/date=2026-03-01/hour=12/${name}`,
    `processed/water-loop/date=2026-03-01/hour=11/${name}`,
    `${PARTITION}/${name}`,
    `quarantine/date=2026-03-01/hour=12/${name}`,
    `${RAW}/${name}`
  ])
  expect(filesBelow(join(dataDir, 'staging'))).toEqual([])
  expect(written).toMatchObject({ lastEntry: 10, files: 5, rows: 25 })
  expect(catalog.committedEntry(0)).toBe(10)
  for (const file of catalog.files()) expect(readFileSync(join(dataDir, 'archive', file.path))).toHaveLength(file.bytes)
})

test('two versions of a profile in one hour are two files', async () => {
  const { dataDir, committer } = fresh()
  const place = { layer: 'processed', hourMs: NOON_MS } as const
  const files = [
    rowsOf({ ...place, profileVersion: 1 }, { 'seq:bigint': [1] }),
    rowsOf({ ...place, profileVersion: 2 }, { 'seq:bigint': [2], 'flow:double': [1] })
  ]
  await committer.write(flushOf([1, 10], files, []))
  expect(filesBelow(join(dataDir, 'archive/processed'))).toEqual([
    'water-loop/date=2026-03-01/hour=12/0-000000000001-000000000010-2.parquet',
    'water-loop/date=2026-03-01/hour=12/0-000000000001-000000000010.parquet'
  ])
  expect(await archivedSeqs(dataDir)).toEqual([1, 2])
})

test('raw holds every frame of the entries, byte for byte, by hour of ingest time', async () => {
  const { dataDir, committer } = fresh(3700)
  await committer.write(flushOf([1, 3700], [], []))
  const glob = `'${dataDir}/archive/raw/messages/*/*/*.parquet'`
  expect(await query(`SELECT hour::INTEGER, count(*), min(entry), max(entry) FROM ${glob} GROUP BY ALL ORDER BY ALL`)).toEqual([
    [12, 7198n, 1n, 3599n],
    [13, 202n, 3600n, 3700n]
  ])
  const frames = await query(
    `SELECT epoch_ms(ingest_time), frame_index, kind, device_id, hex(payload) FROM ${glob} WHERE entry = 3 ORDER BY frame_index`
  )
  expect(frames).toEqual([
    [BigInt(NOON_MS + 3000), 0, 'batch', 'pump-7', '03'.repeat(20)],
    [BigInt(NOON_MS + 3000), 1, 'tick', null, '']
  ])
})

test('the catalog adds up hours, replaces epochs and keeps each repair once', async () => {
  const { committer, catalog } = fresh()
  const repair = { deviceId: 'pump-7', profile: 'water-loop', hourMs: NOON_MS, fromMs: NOON_MS - 1, throughMs: NOON_MS + 60_000 }
  const hour = { profile: 'water-loop', hourMs: NOON_MS, archived: 10, late: 1 }
  await committer.write(tenth(0, { epochs: [epochLedger('pump-7', 77, { archived: 10, missing: 2 })], hours: [hour], repairs: [repair] }))
  await committer.write(tenth(1, { epochs: [epochLedger('pump-7', 77, { archived: 20 })], hours: [hour], repairs: [repair] }))
  expect(catalog.hours()).toEqual([{ ...hour, archived: 20, late: 2 }])
  expect(catalog.epochs()).toEqual([epochLedger('pump-7', 77, { archived: 20 })])
  expect(catalog.repairs()).toEqual([repair])
})

test('each number of a ledger comes to its own column, whatever the order of the devices', async () => {
  const { committer, catalog } = fresh()
  const counts = { highestSampledSeq: 1, archived: 2, waiting: 3, quarantined: 4, shed: 5, buffered: 6, missing: 7, duplicates: 8, late: 9 }
  const [later, earlier] = [epochLedger('pump-9', 77, counts), epochLedger('pump-7', 78, { ...counts, archived: 12 })]
  await committer.write(tenth(0, { epochs: [later, earlier] }))
  expect(catalog.epochs()).toEqual([earlier, later])
})

test('the markers of all profiles of an hour are renewed when readings of it are counted', async () => {
  const { committer, catalog } = fresh()
  const ended = { deviceId: 'pump-7', registeredMs: NOON_MS, profile: null, site: null, retired: false, status: null, config: null }
  const devices = [{ ...ended, seenMs: null, watermarkMs: null, idle: false, ended: true }]
  const strings: string[] = []
  const files = ['pump', 'valve'].map(profile => readings(NOON_MS, range(1, 3), strings, 'pump-7', 77, profile))
  await committer.write(flushOf([1, 10], files, strings, { fleet: { ...NO_FLEET, devices } }))
  const none = new Float64Array(2)
  const counts = { received: Float64Array.of(1, 1), quarantined: none, late: none, duplicates: none, shed: none }
  const hours = {
    profiles: ['pump', 'valve'],
    device: new Int32Array(2),
    profile: Int32Array.of(0, 1),
    hoursMs: none.map(() => NOON_MS),
    counts
  }
  await committer.write({ ...flushOf([11, 20], [], [], { fleet: { ...NO_FLEET, hours } }), deviceIds: ['pump-7'] })
  const renewed = catalog.fleet
    .markers()
    .map(({ profile, content }) => [profile, JSON.parse(content).boundary_entry, JSON.parse(content).received])
  expect(renewed).toEqual([
    ['pump', 20, 1],
    ['valve', 20, 1]
  ])
})

describe('a flush out of order is refused', () => {
  test('one that is committed already', async () => {
    const { dataDir, committer } = fresh()
    await committer.write(tenth(0))
    await expect(committer.write(tenth(0))).rejects.toThrow(FlushRefusedError)
    expect(await archivedSeqs(dataDir)).toEqual(range(1, 10))
  })

  test('one that overlaps, leaves a gap, or is of another shard', async () => {
    const { committer } = fresh()
    await committer.write(tenth(0))
    for (const flush of [
      flushOf([10, 20], [], []),
      flushOf([12, 20], [], []),
      flushOf([11, 10], [], []),
      flushOf([11, 20], [], [], { shard: 1 })
    ]) {
      await expect(committer.write(flush)).rejects.toThrow(FlushRefusedError)
    }
    await committer.write(tenth(1))
  })

  test('one whose entries the log does not hold', async () => {
    const { dataDir, committer, catalog } = fresh(15)
    await committer.write(tenth(0))
    await expect(committer.write(tenth(1))).rejects.toThrow('the log holds 5 of the entries 11 to 20')
    expect(catalog.committedEntry(0)).toBe(10)
    expect(await archivedSeqs(dataDir)).toEqual(range(1, 10))
  })
})

describe('a flush that the disk refused', () => {
  test('before the commit point can be written again, and nothing of it counts meanwhile', async () => {
    const { dataDir, committer, catalog } = fresh()
    await committer.write(tenth(0))
    const staged = join(dataDir, 'staging', stagingName(`${RAW}/0-000000000011-000000000020.parquet`))
    mkdirSync(`${staged}/in-the-way`, { recursive: true })
    await expect(committer.write(tenth(1))).rejects.toThrow(ArchiveWriteError)
    expect(catalog.committedEntry(0)).toBe(10)
    expect(await archivedSeqs(dataDir)).toEqual(range(1, 10))
    rmSync(staged, { recursive: true })
    expect(await committer.write(tenth(1))).toMatchObject({ lastEntry: 20 })
    expect(await archivedSeqs(dataDir)).toEqual(range(1, 20))
  })

  test('behind the commit point is finished by writing it again, not doubled', async () => {
    const { dataDir, committer, catalog } = fresh()
    writeFileSync(join(dataDir, 'archive/raw'), 'a file where a folder belongs')
    await expect(committer.write(tenth(0))).rejects.toThrow(/cannot write the archive in .*archive.raw/)
    expect(catalog.committedEntry(0)).toBe(10)
    rmSync(join(dataDir, 'archive/raw'))
    expect(await committer.write(tenth(0))).toMatchObject({ lastEntry: 10, files: 2 })
    expect(await archivedSeqs(dataDir)).toEqual(range(1, 10))
    expect(filesBelow(join(dataDir, 'staging'))).toEqual([])
  })

  test('behind the commit point is finished before the next one, whichever comes', async () => {
    const { dataDir, committer } = fresh()
    writeFileSync(join(dataDir, 'archive/raw'), 'a file where a folder belongs')
    await expect(committer.write(tenth(0))).rejects.toThrow(ArchiveWriteError)
    await expect(committer.write(tenth(1))).rejects.toThrow(ArchiveWriteError)
    rmSync(join(dataDir, 'archive/raw'))
    await committer.write(tenth(1))
    expect(await archivedSeqs(dataDir)).toEqual(range(1, 20))
  })

  test('says what is wrong and what to do', () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, fsync'), { code: 'ENOSPC' })
    expect(writeError('/data', full)).toMatchObject({ path: '/data', message: expect.stringMatching('/data.*ENOSPC.*free disk space') })
    expect(writeError('/data', new Error('IO Error: Could not write file "/data/x": No space left on device'))).toMatchObject({
      message: expect.stringMatching('free disk space')
    })
    expect(writeError('/data', Object.assign(new Error('EACCES'), { code: 'EACCES' }))).toMatchObject({
      message: expect.stringMatching('owner')
    })
  })

  test('is told from a mistake of ours, which no retry helps', () => {
    const mistake = new Error('Conversion Error: out of range')
    expect(writeError('/data', mistake)).toBe(mistake)
  })
})

/** Without the one a day that is kept for reprocessing. */
function twoKept(dataDir: string): string[] {
  return filesBelow(join(dataDir, 'snapshots')).filter(path => !path.startsWith('daily/'))
}

describe('snapshots', () => {
  /** Writes the k-th flush, and a snapshot as of it in two parts. */
  async function writeBoth(dataDir: string, committer: Committer, k: number): Promise<number> {
    await committer.write(tenth(k))
    writeParts(dataDir, k * 10 + 10, 'state ', String(k))
    return committer.recordSnapshot(k * 10 + 10, NOON_MS).oldestNeededEntry
  }

  test('two are kept, and the log is needed from the older one on', async () => {
    const { dataDir, committer, recovered } = fresh(40)
    expect(recovered.loadNewestSnapshot()).toBeNull()
    const needed: number[] = []
    for (const k of [0, 1, 2, 3]) needed.push(await writeBoth(dataDir, committer, k))
    expect(needed).toEqual([0, 10, 20, 30])
    expect(twoKept(dataDir)).toEqual(['000000000030.snapshot', '000000000040.snapshot'])
    const again = recoverArchive(dataDir, 0, () => {})
    expect(again.oldestNeededEntry).toBe(30)
    expect(partsOf(again.loadNewestSnapshot())).toEqual(['state ', '3'])
  })

  test('a damaged one is skipped with a warning for the one before, and is not counted as kept', async () => {
    const { dataDir, committer } = fresh(40)
    for (const k of [0, 1]) await writeBoth(dataDir, committer, k)
    const path = join(dataDir, 'snapshots/000000000020.snapshot')
    const bytes = readFileSync(path)
    bytes[bytes.length - 1] ^= 4
    writeFileSync(path, bytes)
    const { recovered, warnings, committer: next } = open(dataDir)
    const snapshot = recovered.loadNewestSnapshot()
    expect([snapshot?.entry, partsOf(snapshot)]).toEqual([10, ['state ', '0']])
    expect(warnings).toEqual([expect.stringMatching(/000000000020\.snapshot is damaged \(its checksum does not fit\)/)])
    expect(await writeBoth(dataDir, next, 2)).toBe(10)
    expect(twoKept(dataDir)).toEqual(['000000000010.snapshot', '000000000030.snapshot'])
  })

  test('one that is ahead of the archive is refused', async () => {
    const { dataDir, committer } = fresh()
    await committer.write(tenth(0))
    writeParts(dataDir, 20, 'state')
    expect(() => committer.recordSnapshot(20, NOON_MS)).toThrow('a snapshot of entry 20 came where 10 is committed')
  })

  test('one that the disk refuses can be recorded again', async () => {
    const { dataDir, committer } = fresh()
    await committer.write(tenth(0))
    const path = join(dataDir, 'snapshots/000000000010.snapshot')
    mkdirSync(`${path}/in-the-way`, { recursive: true })
    writeParts(dataDir, 10, 'state')
    expect(() => committer.recordSnapshot(10, NOON_MS)).toThrow(ArchiveWriteError)
    rmSync(path, { recursive: true })
    expect(committer.recordSnapshot(10, NOON_MS)).toEqual({ entry: 10, oldestNeededEntry: 0 })
    expect(partsOf(recoverArchive(dataDir, 0, () => {}).loadNewestSnapshot())).toEqual(['state'])
  })

  test('when all are damaged, there is none', async () => {
    const { dataDir, committer } = fresh()
    await writeBoth(dataDir, committer, 0)
    writeFileSync(join(dataDir, 'snapshots/000000000010.snapshot'), '')
    const { recovered, warnings } = open(dataDir)
    expect(recovered.loadNewestSnapshot()).toBeNull()
    expect(warnings).toHaveLength(1)
    expect(recoverArchive(dataDir, 0, () => {}).oldestNeededEntry).toBe(0)
  })
})

describe('recovery', () => {
  test('deletes what is not recorded, in staging and in the archive, and leaves what is not ours', async () => {
    const { dataDir, committer } = fresh()
    await committer.write(tenth(0))
    const outside = join(temporaryFolder(), 'kept.parquet')
    writeFileSync(outside, 'x')
    writeFileSync(join(dataDir, 'archive', PARTITION, '0-000000000011-000000000020.parquet'), 'x')
    writeFileSync(join(dataDir, 'archive/README.txt'), 'x')
    symlinkSync(outside, join(dataDir, 'archive/link.parquet'))
    symlinkSync(join(outside, '..'), join(dataDir, 'archive/linked'))
    writeFileSync(join(dataDir, 'staging/left.parquet'), 'x')
    mkdirSync(join(dataDir, 'staging/spill'))
    writeFileSync(join(dataDir, 'staging/spill/block.tmp'), 'x')
    writeFileSync(join(dataDir, 'snapshots/000000000099.snapshot.tmp'), 'x')
    writeFileSync(join(dataDir, 'snapshots/000000000098.snapshot'), 'x')
    const { recovered } = open(dataDir)
    expect(recovered).toMatchObject({ committedEntry: 10, renamed: 0, deleted: 2 })
    expect(filesBelow(join(dataDir, 'archive'))).toEqual([
      'README.txt',
      'link.parquet',
      'linked',
      `${PARTITION}/0-000000000001-000000000010.parquet`,
      `${RAW}/0-000000000001-000000000010.parquet`
    ])
    expect([...filesBelow(join(dataDir, 'staging')), ...filesBelow(join(dataDir, 'snapshots'))]).toEqual([])
    expect(existsSync(outside)).toBe(true)
  })

  test('says which recorded file is gone, and touches nothing', async () => {
    const { dataDir, committer } = fresh()
    await committer.write(tenth(0))
    const path = join(dataDir, 'archive', PARTITION, '0-000000000001-000000000010.parquet')
    rmSync(path)
    writeFileSync(join(dataDir, 'staging/left.parquet'), 'x')
    expect(() => recoverArchive(dataDir, 0, () => {})).toThrow(`the archive lacks ${path}`)
    expect(filesBelow(join(dataDir, 'staging'))).toEqual(['left.parquet'])
  })

  test('says what to do about a data folder that cannot be made', () => {
    const file = join(temporaryFolder(), 'file')
    writeFileSync(file, '')
    expect(() => recoverArchive(join(file, 'data'), 0, () => {})).toThrow(/cannot make the folder .*choose another data folder/)
  })

  test('says what to do about a catalog that is none', () => {
    const dataDir = temporaryFolder()
    writeFileSync(join(dataDir, 'catalog.sqlite'), 'this is not a database, but long enough to look at')
    expect(() => recoverArchive(dataDir, 0, () => {})).toThrow(/cannot open the catalog .*catalog\.sqlite.*backup/)
  })
})
