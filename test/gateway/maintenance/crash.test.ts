import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { readLedger } from '../../../gateway/src/commands/ledger.js'
import { epochLedger, filesBelow, HOUR_MS, NOON_MS, range, temporaryFolder } from '../archive/kit.js'
import { archiveWithLog, EVENING_MS, edgyReadings, flushNumber, openArchive, POLICY, rejected, rowTexts } from './kit.js'

/** The built gateway's maintenance as a process of its own: one pass. The archive is recovered only where it is told to. */
const PASS = (policy: object, nowMs: number) => `
  import { Catalog } from ${JSON.stringify(new URL('../../../gateway/dist/archive/catalog.js', import.meta.url).href)}
  import { dataPaths } from ${JSON.stringify(new URL('../../../gateway/dist/archive/paths.js', import.meta.url).href)}
  import { runPass } from ${JSON.stringify(new URL('../../../gateway/dist/maintenance/pass.js', import.meta.url).href)}
  const paths = dataPaths(process.argv[2])
  const catalog = Catalog.open(paths.catalog)
  const policy = ${JSON.stringify(policy)}
  const result = await runPass({ paths, catalog, policy, nowMs: () => ${nowMs}, signal: new AbortController().signal })
  if (result.failures.length > 0) throw new Error(result.failures.join())
  catalog.close()
`
const SEQS = 120
const FLUSHES = 4

/** Two hours of readings and one of rejected frames, and the raw frames: four merges of four files. */
async function smallFiles(policy: object = POLICY): Promise<string> {
  const archive = archiveWithLog(FLUSHES * 5)
  for (const k of range(0, FLUSHES - 1)) {
    const first = (k * SEQS) / FLUSHES + 1
    const epochs = [epochLedger('pump-7', 5, { highestSampledSeq: 0 })]
    await archive.write(
      flushNumber(
        k,
        strings => [
          edgyReadings(NOON_MS, first, 20, strings),
          edgyReadings(NOON_MS + HOUR_MS, first + 20, 10, strings),
          rejected(NOON_MS, first, 10, strings)
        ],
        { epochs }
      )
    )
  }
  writeFileSync(join(archive.dataDir, 'pass.mjs'), PASS(policy, EVENING_MS))
  return archive.dataDir
}

function copyOf(dataDir: string): string {
  const copy = temporaryFolder()
  cpSync(dataDir, copy, { recursive: true })
  return copy
}

/** Runs a pass to its end, or until it kills itself; returns the signal. */
async function runPassIn(dataDir: string, crashAt?: string): Promise<string | null> {
  const env = { ...process.env, ...(crashAt === undefined ? {} : { TIDEMARK_CRASH_AT: crashAt }) }
  const child = spawn(process.execPath, [join(dataDir, 'pass.mjs'), dataDir], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  const said: Buffer[] = []
  child.stderr.on('data', data => said.push(data))
  const [code, signal] = await once(child, 'close')
  if (code !== 0 && signal === null) throw new Error(Buffer.concat(said).toString())
  return signal
}

const LAYERS = ['raw', 'processed', 'quarantine'] as const
const rowsOf = async (dataDir: string) => (await Promise.all(LAYERS.map(layer => rowTexts(dataDir, layer)))).flat()

/** That archive/ holds the recorded files and no other, superseded/ those recorded as such, staging/ nothing. */
function expectTidy(dataDir: string): void {
  const { catalog } = openArchive(dataDir)
  expect(filesBelow(join(dataDir, 'archive'))).toEqual(
    catalog
      .files()
      .map(file => file.path)
      .sort()
  )
  expect(filesBelow(join(dataDir, 'superseded'))).toEqual(catalog.superseded().map(file => file.path))
  expect(filesBelow(join(dataDir, 'staging'))).toEqual([])
}

/** Each crash point, and at which times it kills: of four merges, each of which moves four files. */
const POINTS = [
  { point: 'compact-staged', times: [2] },
  { point: 'compact-commit', times: [1, 4] },
  { point: 'compact-moved', times: [1, 4, 7] },
  { point: 'compact-rename', times: [1, 4] }
]

for (const { point, times } of POINTS) {
  test(`killed at ${point}, recovery finds the same rows and every file recorded, and the next pass does the rest`, async () => {
    const template = await smallFiles()
    const whole = copyOf(template)
    const rows = await rowsOf(whole)
    const ledger = await readLedger(whole)
    expect(await runPassIn(whole)).toBeNull()
    for (const k of times) {
      const dataDir = copyOf(template)
      expect(await runPassIn(dataDir, `${point}:${k}`), `${point}:${k}`).toBe('SIGKILL')
      expect(await readLedger(dataDir), 'our own tools see the same rows, recovered or not').toEqual(ledger)
      if (k % 2 === 0) {
        // A gateway starts.
        recoverArchive(dataDir, 0, message => expect.unreachable(message))
        expect(await rowsOf(dataDir), `${point}:${k}`).toEqual(rows)
        expectTidy(dataDir)
      }
      // A pass that finds it half done does the rest too.
      expect(await runPassIn(dataDir)).toBeNull()
      expect(await rowsOf(dataDir), `${point}:${k}`).toEqual(rows)
      expectTidy(dataDir)
      expect(filesBelow(join(dataDir, 'archive'))).toEqual(filesBelow(join(whole, 'archive')))
    }
  }, 240_000)
}

const RETENTION = { ...POLICY, minFiles: 1000, retentionMs: { ...POLICY.retentionMs, processed: HOUR_MS, quarantine: HOUR_MS } }

for (const { point, times } of [
  { point: 'compact-commit', times: [1] },
  { point: 'compact-moved', times: [6, 3 * FLUSHES] }
]) {
  test(`killed at ${point} of retention, the ledger stays the same and nothing half deleted remains`, async () => {
    const template = await smallFiles(RETENTION)
    const ledger = await readLedger(template)
    for (const k of times) {
      const dataDir = copyOf(template)
      expect(await runPassIn(dataDir, `${point}:${k}`), `${point}:${k}`).toBe('SIGKILL')
      const counts = ({ total: { archived, quarantined } }: typeof ledger) => ({ archived, quarantined })
      expect(counts(await readLedger(dataDir))).toEqual(counts(ledger))
      recoverArchive(dataDir, 0, message => expect.unreachable(message))
      expectTidy(dataDir)
      expect(await runPassIn(dataDir)).toBeNull()
      expect(filesBelow(join(dataDir, 'archive')).filter(path => !path.startsWith('raw/'))).toEqual([])
      expect(existsSync(join(dataDir, 'archive/processed/water-loop/date=2026-03-01/hour=12'))).toBe(false)
      expect(counts(await readLedger(dataDir))).toEqual(counts(ledger))
    }
  }, 240_000)
}

test('a deletion of superseded files that was cut off is finished by recovery', async () => {
  const dataDir = await smallFiles()
  expect(await runPassIn(dataDir)).toBeNull()
  const { catalog, pass } = openArchive(dataDir)
  const [first, second, ...others] = catalog.superseded().map(file => file.path)
  // As if the process had died between the deletion of the first file and its record, and a record without its file.
  catalog.forgetSuperseded([first])
  rmSync(join(dataDir, 'superseded', second))
  recoverArchive(dataDir, 0, message => expect.unreachable(message))
  expect(filesBelow(join(dataDir, 'superseded'))).toEqual(others)
  expect(catalog.superseded().map(file => file.path)).toEqual(others)
  expect(await pass({ nowMs: () => EVENING_MS + POLICY.keepMs })).toMatchObject({ deleted: others.length, waiting: 0 })
})
