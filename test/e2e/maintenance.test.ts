/** Compaction and retention by a running gateway and by hand. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { columnsOf, encodeBatch, ROTATING_MACHINE, type Value } from '@tidemark/protocol'
import mqtt from 'mqtt'
import { expect, test } from 'vitest'
import { filesBelow } from '../gateway/archive/kit.js'
import { CLI, QUICK, query, type RunningGateway, runToEnd, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

const GOOD: readonly Value[] = [70, 2, 5, 1480, 40, 80, 60, 100, false, 'hall-1']
const HOUR_MS = 3_600_000
/** A cron expression that does not come up while a test runs. */
const NEVER = '0 0 29 2 *'
const TWO_DAYS_AGO_MS = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - 48 * HOUR_MS

/** Sends readings one flush after the other, so that each lies in a file of its own. */
async function sendInFlushes(gateway: RunningGateway, seqs: readonly number[]): Promise<void> {
  const client = mqtt.connect(gateway.mqttUrl, { clientId: 'pump-7', reconnectPeriod: 0 })
  await new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject))
  for (const seq of seqs) {
    const payload = encodeBatch({
      profile: ROTATING_MACHINE,
      epoch: 77,
      oldestHeldSeq: seq,
      highestSampledSeq: seq,
      buffered: 1,
      seqs: [seq],
      eventTimesMs: [TWO_DAYS_AGO_MS + seq * 1000],
      columns: columnsOf(ROTATING_MACHINE, [GOOD])
    })
    await client.publishAsync('tm/1/pump-7/batch', Buffer.from(payload), { qos: 1 })
    await until(`seq ${seq} to be in a file`, () => processedFiles(gateway.dataDir).length >= seq)
  }
  await client.endAsync()
}

const processedFiles = (dataDir: string) => {
  const folder = join(dataDir, 'archive/processed')
  return existsSync(folder) ? filesBelow(folder).filter(path => path.endsWith('.parquet')) : []
}
const ROWS = 'SELECT * FROM readings ORDER BY seq'

/** A data folder with six files in one hour, whose gateway has stopped. */
async function sixFiles(): Promise<string> {
  const dataDir = join(tempDir(), 'data')
  const gateway = await startGateway(dataDir, { ...QUICK, compaction: { every: NEVER } })
  await sendInFlushes(gateway, [1, 2, 3, 4, 5, 6])
  expect(await gateway.stop()).toBe(0)
  expect(processedFiles(dataDir)).toHaveLength(6)
  return dataDir
}

test('a gateway makes up at its start for passes that it missed, and says what it did', async () => {
  const dataDir = await sixFiles()
  const before = await query(dataDir, ROWS)
  const gateway = await startGateway(dataDir, { ...QUICK, compaction: { every: NEVER, keep: '0s' } })
  await until('the first pass', async () => (await gateway.metric('tidemark_maintenance_passes_total')) === 1)
  expect(processedFiles(dataDir)).toEqual([expect.stringMatching(/-c\d+\.parquet$/)])
  expect(await query(dataDir, ROWS)).toEqual(before)
  expect(await gateway.metric('tidemark_compactions_total')).toBeGreaterThanOrEqual(1)
  expect(await gateway.metric('tidemark_compaction_files_before_total')).toBeGreaterThanOrEqual(6)
  expect(await gateway.metric('tidemark_superseded_files')).toBeGreaterThanOrEqual(6)
  expect(gateway.logLines().find(line => line.msg === 'archive maintained')).toMatchObject({ filesAfter: expect.any(Number) })
  expect(await gateway.stop()).toBe(0)
})

test('a gateway compacts while it takes readings in, as cron says, and deletes what is superseded', async () => {
  const dataDir = join(tempDir(), 'data')
  const compaction = { every: '* * * * * *', after: '0s', min_files: 2, keep: '0s', memory: '128MiB' }
  const gateway = await startGateway(dataDir, { ...QUICK, compaction })
  const client = mqtt.connect(gateway.mqttUrl, { clientId: 'pump-7', reconnectPeriod: 0 })
  await new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject))
  let seq = 0
  await until(
    'compactions to be done and their files to be deleted',
    async () => {
      seq++
      const payload = encodeBatch({
        profile: ROTATING_MACHINE,
        epoch: 77,
        oldestHeldSeq: seq,
        highestSampledSeq: seq,
        buffered: 1,
        seqs: [seq],
        eventTimesMs: [TWO_DAYS_AGO_MS + seq * 1000],
        columns: columnsOf(ROTATING_MACHINE, [GOOD])
      })
      await client.publishAsync('tm/1/pump-7/batch', Buffer.from(payload), { qos: 1 })
      return (await gateway.metric('tidemark_compactions_total')) >= 3
    },
    60_000
  )
  await client.endAsync()
  expect(await gateway.stop()).toBe(0)
  expect(gateway.logLines().filter(line => Number(line.level) >= 50)).toEqual([])
  const { code, stdout } = await runToEnd(CLI.gateway, ['ledger', '--data-dir', dataDir, '--json'])
  expect({ code, ledger: JSON.parse(stdout) }).toMatchObject({ code: 0, ledger: { ok: true, total: { sampled: seq, archived: seq } } })
  expect(processedFiles(dataDir).length).toBeLessThan(seq)
})

test('compact merges by hand, prints what it did, and finds nothing to do again', async () => {
  const dataDir = await sixFiles()
  const before = await query(dataDir, ROWS)
  const compact = (...args: string[]) =>
    spawnSync(process.execPath, [CLI.gateway, 'compact', '--data-dir', dataDir, ...args], { encoding: 'utf8' })
  const told = compact('--json')
  expect(told).toMatchObject({ status: 0, stderr: '' })
  expect(JSON.parse(told.stdout)).toMatchObject({ failures: [], stopped: false, deleted: 0 })
  expect(processedFiles(dataDir)).toHaveLength(1)
  expect(await query(dataDir, ROWS)).toEqual(before)
  const again = compact()
  expect(again).toMatchObject({ status: 0, stderr: '', stdout: expect.stringMatching(/^nothing to compact\n\d+ superseded files wait/) })
  const now = compact('--now')
  expect(now).toMatchObject({ status: 0, stdout: expect.stringMatching(/^compacted \d+ files into \d+: /) })
}, 60_000)

test('compact refuses a folder that is none, and one that a running gateway holds', async () => {
  const nowhere = await runToEnd(CLI.gateway, ['compact', '--data-dir', join(tempDir(), 'none')])
  expect(nowhere).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/no data folder.*--data-dir\n$/) })
  const gateway = await startGateway(join(tempDir(), 'data'))
  const held = await runToEnd(CLI.gateway, ['compact', '--data-dir', gateway.dataDir])
  expect(held).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/running gateway holds/) })
})

test('a cron expression, a size and a duration that are none are refused in one line', async () => {
  for (const [config, words] of [
    [{ compaction: { every: 'sometimes' } }, /compaction\.every: .*\*\/10 \* \* \* \*/],
    [{ compaction: { target: '5 apples' } }, /compaction\.target: .*512MiB/],
    [{ compaction: { memory: '1MiB' } }, /compaction\.memory: .*64MiB/],
    [{ retention: { raw: 7 } }, /retention\.raw: .*7d/],
    [{ retention: { quarantin: '7d' } }, /retention\.quarantin.*did you mean "quarantine"/]
  ] as const) {
    await expect(startGateway(join(tempDir(), 'data'), config)).rejects.toThrow(words)
  }
})
