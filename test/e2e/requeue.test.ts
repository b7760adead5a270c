/** `tidemark-gateway quarantine`, on real processes: a profile that the gateway learns after its readings. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { columnsOf, encodeBatch, type Profile, profileSchema } from '@tidemark/protocol'
import mqtt from 'mqtt'
import { expect, test } from 'vitest'
import { CLI, QUICK, query, type RunningGateway, type RunOptions, runToEnd, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { packed } from '../kit/timeline.js'
import { until } from '../kit/until.js'

const PRESS: Profile = profileSchema.parse({
  name: 'press',
  interval: '1s',
  metrics: [
    { name: 'force', min: 0, max: 100 },
    { name: 'note', type: 'string', max: 4096 }
  ],
  features: [{ name: 'force_max_5m', metric: 'force', aggregate: 'max', window: '5m' }]
})

interface Folder {
  readonly dataDir: string
  /** A configuration that knows the profile. */
  readonly config: object
  readonly configFile: string
}

function folder(): Folder {
  const root = tempDir()
  mkdirSync(join(root, 'data'))
  const profile = join(root, 'press.yaml')
  const config = { ...QUICK, profiles: [profile] }
  writeFileSync(profile, JSON.stringify(PRESS))
  writeFileSync(join(root, 'knows.yaml'), JSON.stringify(config))
  return { dataDir: join(root, 'data'), config, configFile: join(root, 'knows.yaml') }
}

/** A gateway that does not know the profile gets batches of it; every third value is out of its range. */
async function quarantineBatches({ dataDir }: Folder, batches: number, readings: number, note = ''): Promise<void> {
  const gateway = await startGateway(dataDir)
  const client = mqtt.connect(gateway.mqttUrl, { clientId: 'press-1', reconnectPeriod: 0 })
  const sinceMs = Date.now() - 3_600_000
  for (let batch = 0; batch < batches; batch++) {
    const seqs = Array.from({ length: readings }, (_, i) => batch * readings + i + 1)
    const payload = encodeBatch({
      profile: PRESS,
      epoch: 7,
      oldestHeldSeq: 1,
      highestSampledSeq: batches * readings,
      buffered: 0,
      seqs,
      eventTimesMs: seqs.map(seq => sinceMs + seq * 10_000),
      columns: columnsOf(
        PRESS,
        seqs.map(seq => [seq % 3 === 0 ? 999 : seq % 100, `${seq}${note}`])
      )
    })
    await client.publishAsync('tm/1/press-1/batch', Buffer.from(payload), { qos: 1 })
  }
  await client.publishAsync('tm/1/press-1/json', '{"event_id": ', { qos: 1 })
  await client.endAsync()
  expect(await gateway.stop()).toBe(0)
}

async function quarantine(args: readonly string[], options: RunOptions = {}): ReturnType<typeof runToEnd> {
  return await runToEnd(CLI.gateway, ['quarantine', ...args], options)
}

async function json(args: readonly string[]): Promise<unknown> {
  const { code, stdout, stderr } = await quarantine([...args, '--json'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout)
}

/** Resolves when a flush that took in all that is in the log by now is committed. */
async function flushed(gateway: RunningGateway): Promise<void> {
  const entry = await gateway.metric('tidemark_log_last_entry')
  await until('a flush', async () => (await gateway.metric('tidemark_committed_entry')) >= entry)
}

async function ledger(dataDir: string): Promise<{ ok: boolean; total: Record<string, number> }> {
  const { code, stdout } = await runToEnd(CLI.gateway, ['ledger', '--data-dir', dataDir, '--json'])
  expect(code).toBe(0)
  return JSON.parse(stdout)
}

test('readings of a profile that has become known leave the quarantine for the archive, and the ledger balances', async () => {
  const place = folder()
  const { dataDir, config, configFile } = place
  await quarantineBatches(place, 3, 10)
  expect(await json(['list', '--data-dir', dataDir])).toMatchObject([
    { reason: 'unknown-profile', profile: 'press', device: 'press-1', rows: 30, messages: 3 },
    { reason: 'undecodable', rows: 1, messages: 1 }
  ])
  expect(await json(['show', '--data-dir', dataDir, '--reason', 'undecodable'])).toMatchObject([
    { device_id: 'press-1', kind: 'json', payload: Buffer.from('{"event_id": ').toString('hex') }
  ])
  const shown = await quarantine(['show', '--data-dir', dataDir, '--limit', '2'])
  expect(shown.stdout).toMatch(/undecodable .*\{"event_id": [\s\S]*\(2 rows\)\n$/)

  const requeued = await json(['requeue', '--data-dir', dataDir, '--reason', 'unknown-profile', '--config', configFile])
  expect(requeued).toEqual({ messages: 3, readings: 30, unnamed: 0 })
  const again = await quarantine(['requeue', '--data-dir', dataDir])
  expect(again).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('an earlier requeue waits in the log') })

  const gateway = await startGateway(dataDir, config)
  expect(await gateway.stop()).toBe(0)
  const archived = await query(dataDir, 'SELECT count(*) AS n, count(DISTINCT seq) AS seqs FROM readings WHERE force < 100')
  expect(archived).toEqual([{ n: 20, seqs: 20 }])
  expect(await query(dataDir, 'SELECT count(*) > 0 AS some, min(revision) AS revision FROM features')).toEqual([
    { some: true, revision: 0 }
  ])
  expect(await query(dataDir, 'SELECT reason, count(*) AS n FROM quarantine GROUP BY reason ORDER BY n')).toEqual([
    { reason: 'undecodable', n: 1 },
    { reason: 'unknown-profile', n: 10 }
  ])
  expect(await ledger(dataDir)).toMatchObject({ ok: true, total: { sampled: 30, archived: 20, quarantined: 10 } })

  const rest = await json(['requeue', '--data-dir', dataDir, '--config', configFile])
  expect(rest).toEqual({ messages: 4, readings: 11, unnamed: 0 })
  expect(await (await startGateway(dataDir, config)).stop()).toBe(0)
  expect(await ledger(dataDir)).toMatchObject({ ok: true, total: { sampled: 30, archived: 20, quarantined: 10, doubled: 0 } })
}, 120_000)

test('a requeue that is killed, and a gateway that is killed on it, count every reading once', async () => {
  const place = folder()
  const { dataDir, config, configFile } = place
  await quarantineBatches(place, 30, 10, 'x'.repeat(4000)) // more than one entry of the log
  const args = ['requeue', '--data-dir', dataDir, '--config', configFile]
  expect((await quarantine(args, { env: { TIDEMARK_CRASH_AT: 'append:1' } })).code).toBe('SIGKILL')
  const gateway = await startGateway(dataDir, config, { env: { TIDEMARK_CRASH_AT: 'commit:1' } })
  expect(await gateway.exit).toBe('SIGKILL')
  expect(await (await startGateway(dataDir, config)).stop()).toBe(0)
  const { archived } = (await ledger(dataDir)).total
  expect(archived).toBeGreaterThan(0)
  expect(archived).toBeLessThan(200)
  expect((await quarantine(args)).code).toBe(0)
  expect(await (await startGateway(dataDir, config)).stop()).toBe(0)
  expect(await ledger(dataDir)).toMatchObject({
    ok: true,
    total: { sampled: 300, archived: 200, quarantined: 100, doubled: 0 }
  })
})

test('a running gateway takes a requeue in, by its own profiles or by those that are given, and what is running stays judged by its own', async () => {
  const place = folder()
  const { dataDir, configFile } = place
  await quarantineBatches(place, 3, 10)
  const gateway = await startGateway(dataDir) // it does not know the profile
  const args = ['requeue', '--data-dir', dataDir, '--reason', 'unknown-profile']
  expect(await json(args)).toEqual({ messages: 3, readings: 30, unnamed: 0 })
  await flushed(gateway)
  expect(await gateway.metric('tidemark_quarantine_resolved_total')).toBe(0)
  expect(await json([...args, '--config', configFile])).toEqual({ messages: 3, readings: 30, unnamed: 0 })
  await until('the readings to be archived', async () => (await gateway.metric('tidemark_readings_archived_total')) === 20)
  const client = await mqtt.connectAsync(gateway.mqttUrl, { clientId: 'press-2', reconnectPeriod: 0 })
  await client.publishAsync('tm/1/press-2/json', JSON.stringify({ event_id: 'a', event_time: Date.now(), profile: 'press', force: 1 }), {
    qos: 1
  })
  await client.endAsync()
  await flushed(gateway)
  expect(await json(['list', '--data-dir', dataDir])).toMatchObject([
    { reason: 'unknown-profile', device: 'press-1', rows: 10 },
    { reason: 'undecodable', rows: 1 },
    { reason: 'unknown-profile', device: 'press-2', rows: 1 }
  ])
  const text = await quarantine([...args, '--config', configFile])
  expect(text).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('the gateway has judged them') })
  await until('the readings to be archived', async () => (await gateway.metric('tidemark_readings_archived_total')) === 21)
  expect(await gateway.metric('tidemark_requeues_stale_total')).toBe(0)
  expect(await gateway.stop()).toBe(0)
  expect(await ledger(dataDir)).toMatchObject({ ok: true, total: { archived: 21, quarantined: 10, doubled: 0 } })
}, 120_000)

test('two requeues at once, and one that has not seen the other written out, count every reading once, and say so', async () => {
  const place = folder()
  const { dataDir, config } = place
  await quarantineBatches(place, 20, 10)
  const gateway = await startGateway(dataDir, { ...config, flush: { interval: '1h', small_hour_wait: '0ms' } })
  const args = ['requeue', '--data-dir', dataDir, '--json']
  const both = await Promise.all([quarantine(args), quarantine(args)])
  const after = await quarantine(args)
  expect(both.map(({ code }) => code).sort()).toEqual([0, 2])
  for (const { code, stderr } of [...both, after]) if (code !== 0) expect(stderr).toContain('requeue again after the next flush')
  expect(after.code).toBe(2)
  await until('the readings to be archived', async () => (await gateway.metric('tidemark_readings_archived_total')) === 134)
  expect(await gateway.stop()).toBe(0)
  expect(await ledger(dataDir)).toMatchObject({ ok: true, total: { sampled: 200, archived: 134, quarantined: 66, doubled: 0 } })
}, 120_000)

test('a running gateway that is killed amid a requeue counts every reading once, and the rest is requeued again', async () => {
  const place = folder()
  const { dataDir, config } = place
  await quarantineBatches(place, 30, 10, 'x'.repeat(4000)) // more than one entry of the log
  const gateway = await startGateway(dataDir, config, { env: { TIDEMARK_CRASH_AT: 'append:3' } }) // the start, one entry, and dead
  const args = ['requeue', '--data-dir', dataDir]
  const cut = await quarantine(args)
  expect(cut).toMatchObject({ code: 1, stderr: expect.stringContaining('does not answer') })
  expect(await gateway.exit).toBe('SIGKILL')
  const again = await startGateway(dataDir, config)
  await flushed(again)
  const { stdout, code } = await quarantine(args)
  expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/readings of \d+ messages are in the log/) })
  expect(await again.stop()).toBe(0)
  expect(await ledger(dataDir)).toMatchObject({ ok: true, total: { sampled: 300, archived: 200, quarantined: 100, doubled: 0 } })
}, 120_000)

test('HTTP takes nothing but requeues', async () => {
  const gateway = await startGateway(folder().dataDir)
  const post = async (body: Uint8Array<ArrayBuffer>, type = 'application/octet-stream') => {
    const response = await fetch(`${gateway.httpUrl}/v1/quarantine/requeue`, { method: 'POST', headers: { 'content-type': type }, body })
    return { status: response.status, ...((await response.json()) as { code: string; message: string }) }
  }
  const frame = (kind: 'batch' | 'control' | 'requeue', payload: Uint8Array) => packed([{ kind, device: 'pump-7', payload }])
  const bodies = [
    new Uint8Array(0),
    new Uint8Array([1, 2, 3]),
    frame('batch', new Uint8Array(3)),
    frame('requeue', new Uint8Array(3)),
    frame('control', new TextEncoder().encode('{"control":"drain"}'))
  ]
  for (const body of bodies) expect(await post(new Uint8Array(body))).toMatchObject({ status: 400, code: 'invalid-request' })
  expect(await post(new Uint8Array(3), 'application/json')).toMatchObject({ status: 400 })
})

test('what a person gets wrong is said in one line', async () => {
  const { dataDir } = folder()
  for (const [args, message] of [
    [['requeue', '--data-dir', join(dataDir, 'none')], /^there is no folder .*--data-dir\n$/],
    [['list', '--data-dir', dataDir, '--reason', 'ugly'], /^--reason: "ugly" is none; the reasons are undecodable, .*\n$/],
    [['show', '--data-dir', dataDir, '--from', 'yesterday'], /^--from: "yesterday" is neither a time with a zone.*\n$/],
    [['show', '--data-dir', dataDir, '--limit', '0'], /^--limit: "0" is no number of rows\n$/]
  ] as const) {
    expect(await quarantine(args)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(message) })
  }
})
