import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { Committer } from '../../../gateway/src/archive/commit.js'
import { dataPaths } from '../../../gateway/src/archive/paths.js'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { ledgerText, readLedger } from '../../../gateway/src/commands/ledger.js'
import type { EpochLedger, FileRows } from '../../../gateway/src/processor/flush.js'
import { epochLedger, flushOf, NOON_MS, range, readings, rowsOf, temporaryFolder, writeLog } from './kit.js'

const CLI = fileURLToPath(new URL('../../../gateway/dist/cli.js', import.meta.url))

async function archiveOf(files: readonly FileRows[], strings: readonly string[], epochs: readonly EpochLedger[]): Promise<string> {
  const dataDir = temporaryFolder()
  writeLog(dataDir, 1)
  recoverArchive(dataDir, 0, () => {})
  const catalog = Catalog.open(dataPaths(dataDir).catalog)
  const committer = new Committer(dataPaths(dataDir), catalog, { shard: 0, memoryMiB: 128 })
  await committer.write(flushOf([1, 1], files, strings, { epochs }))
  committer.close()
  catalog.close()
  return dataDir
}

/** Quarantined readings: device, epoch (null: opaque), seq, whether it is the fate of that seq. */
function quarantined(rows: readonly [string | null, number | null, number | null, boolean][], strings: string[]): FileRows {
  return rowsOf(
    { layer: 'quarantine', hourMs: NOON_MS, profile: null },
    {
      'device_id:string': rows.map(row => row[0]),
      'epoch:bigint': rows.map(row => row[1]),
      'seq:bigint': rows.map(row => row[2]),
      'entry:bigint': rows.map(() => 1),
      'frame_index:integer': rows.map(() => 0),
      'accounted:boolean': rows.map(row => row[3]),
      'payload:bytes': rows.map(() => null)
    },
    strings
  )
}

function opaque(deviceId: string, eventIds: readonly string[], strings: string[]): FileRows {
  return rowsOf(
    { layer: 'processed', hourMs: NOON_MS },
    {
      'device_id:string': eventIds.map(() => deviceId),
      'epoch:bigint': eventIds.map(() => null),
      'seq:bigint': eventIds.map(() => null),
      'event_id:string': eventIds
    },
    strings
  )
}

test('a ledger balances: each sampled reading is archived, waiting, quarantined, shed or buffered', async () => {
  const strings: string[] = []
  const files = [
    readings(NOON_MS, range(1, 10), strings),
    quarantined(
      [
        ['pump-7', 77, 11, true],
        ['pump-7', 77, 3, false],
        [null, null, null, false]
      ],
      strings
    )
  ]
  const known = epochLedger('pump-7', 77, {
    highestSampledSeq: 20,
    archived: 12,
    waiting: 2,
    quarantined: 1,
    shed: 4,
    buffered: 3,
    duplicates: 5,
    late: 6
  })
  const ledger = await readLedger(await archiveOf(files, strings, [known]))
  const counts = { sampled: 20, archived: 12, quarantined: 1, shed: 4, buffered: 3, missing: 0, duplicates: 5, late: 6, doubled: 0 }
  expect(ledger).toEqual({
    total: counts,
    devices: [{ deviceId: 'pump-7', ...counts, balanced: true, epochs: [{ epoch: 77, ...counts, balanced: true }] }],
    ok: true
  })
})

test('a missing reading balances, and is not well', async () => {
  const strings: string[] = []
  const dataDir = await archiveOf([readings(NOON_MS, range(1, 9), strings)], strings, [
    epochLedger('pump-7', 77, { highestSampledSeq: 10, missing: 1 })
  ])
  const ledger = await readLedger(dataDir)
  expect(ledger.ok).toBe(false)
  expect(ledger.devices[0]).toMatchObject({ balanced: true, missing: 1 })
  expect(ledgerText(ledger)).toMatch(/\n1 readings are missing\n$/)
})

test('a row that is in no file does not balance, whatever the processor believes', async () => {
  const strings: string[] = []
  const known = epochLedger('pump-7', 77, { highestSampledSeq: 10, archived: 10 })
  const ledger = await readLedger(await archiveOf([readings(NOON_MS, range(1, 9), strings)], strings, [known]))
  expect(ledger).toMatchObject({ ok: false, devices: [{ balanced: false, archived: 9 }] })
})

test('two epochs whose errors cancel out do not balance', async () => {
  const strings: string[] = []
  const files = [readings(NOON_MS, range(1, 9), strings, 'pump-7', 1), readings(NOON_MS, range(1, 11), strings, 'pump-7', 2)]
  const epochs = [epochLedger('pump-7', 1, { highestSampledSeq: 10 }), epochLedger('pump-7', 2, { highestSampledSeq: 10 })]
  const ledger = await readLedger(await archiveOf(files, strings, epochs))
  expect(ledger.total).toMatchObject({ sampled: 20, archived: 20 })
  expect(ledger).toMatchObject({ ok: false, devices: [{ balanced: false }] })
})

test('a doubled row is found, even where the sum fits', async () => {
  const strings: string[] = []
  const files = [readings(NOON_MS, [...range(1, 9), 9], strings)]
  const ledger = await readLedger(await archiveOf(files, strings, [epochLedger('pump-7', 77, { highestSampledSeq: 10 })]))
  expect(ledger).toMatchObject({ ok: false, total: { doubled: 1 }, devices: [{ balanced: true, doubled: 1 }] })
})

test('rows of a device that the ledger does not know do not balance', async () => {
  const strings: string[] = []
  const ledger = await readLedger(await archiveOf([readings(NOON_MS, [1], strings, 'ghost')], strings, []))
  expect(ledger).toMatchObject({ ok: false, devices: [{ deviceId: 'ghost', balanced: false, sampled: 0, archived: 1 }] })
})

test('of opaque event IDs what arrived is what was sampled; doubled ones are found by ID', async () => {
  const strings: string[] = []
  const files = [opaque('meter-1', ['a', 'b'], strings), quarantined([['meter-1', null, null, true]], strings)]
  const well = await readLedger(await archiveOf(files, strings, [epochLedger('meter-1', 0, { duplicates: 1 })]))
  expect(well).toMatchObject({ ok: true, total: { sampled: 3, archived: 2, quarantined: 1, duplicates: 1, doubled: 0 } })
  const strings2: string[] = []
  const doubled = await readLedger(await archiveOf([opaque('meter-1', ['a', 'b', 'a'], strings2)], strings2, []))
  expect(doubled).toMatchObject({ ok: false, total: { archived: 3, doubled: 1 } })
})

test('the table shows twenty devices, those with a fault first', async () => {
  const strings: string[] = []
  const epochs = range(1, 30).map(i => epochLedger(`pump-${String(i).padStart(2, '0')}`, 1, i === 25 ? { highestSampledSeq: 3 } : {}))
  const text = ledgerText(await readLedger(await archiveOf([], strings, epochs)))
  const lines = text.split('\n')
  expect(lines[3]).toMatch(/^pump-25 +3 +0 .*NO$/)
  expect(lines.filter(line => line.startsWith('pump-'))).toHaveLength(20)
  expect(text).toMatch(/\(20 of 30 devices; --json prints all\)\n1 of 30 devices do not balance\n$/)
})

test('the command exits 0 when all is well, 1 when not, 2 when it cannot tell', async () => {
  const strings: string[] = []
  const well = await archiveOf([readings(NOON_MS, [1, 2], strings)], strings, [epochLedger('pump-7', 77, { highestSampledSeq: 2 })])
  const run = (...args: string[]) => spawnSync(process.execPath, [CLI, 'ledger', ...args], { encoding: 'utf8' })
  const told = run('--data-dir', well)
  expect(told).toMatchObject({ status: 0, stderr: '', stdout: expect.stringMatching(/^device +sampled.*\n-.*\ntotal +2 +2 /) })
  expect(JSON.parse(run('--data-dir', well, '--json', '--device', 'pump-7').stdout)).toMatchObject({
    ok: true,
    total: { sampled: 2, archived: 2 }
  })
  expect(run('--data-dir', well, '--device', 'pump-8')).toMatchObject({
    status: 2,
    stdout: '',
    stderr: expect.stringMatching('no device pump-8')
  })
  expect(run('--data-dir', join(well, 'none'))).toMatchObject({
    status: 2,
    stdout: '',
    stderr: expect.stringMatching(/^there is no folder .*--data-dir\n$/)
  })

  const other: string[] = []
  const bad = await archiveOf([readings(NOON_MS, [1], other)], other, [epochLedger('pump-7', 77, { highestSampledSeq: 2 })])
  expect(run('--data-dir', bad)).toMatchObject({ status: 1, stderr: '' })
  rmSync(join(bad, 'archive'), { recursive: true })
  expect(run('--data-dir', bad)).toMatchObject({ status: 2, stdout: '' })
})
