/** The device registry as people use it: by command with and without a running gateway, and by HTTP. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { expect, test } from 'vitest'
import { CLI, query, type RunningGateway, runToEnd, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

async function device(dataDir: string, ...args: readonly string[]): Promise<{ code: number | string; stdout: string; stderr: string }> {
  return await runToEnd(CLI.gateway, ['device', ...args, '--data-dir', dataDir])
}

async function list(dataDir: string): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await device(dataDir, 'list', '--json')
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return JSON.parse(stdout)
}

const post = (gateway: RunningGateway, id: string, body: unknown) =>
  fetch(`${gateway.httpUrl}/v1/devices/${id}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body)
  })

test('a device is set while the gateway runs, and is the same behind a restart and a kill', async () => {
  const dataDir = join(tempDir(), 'data')
  const first = await startGateway(dataDir)
  const set = await device(dataDir, 'set', 'meter-1', '--profile', 'host', '--site', 'hall 2')
  expect(set).toMatchObject({ code: 0, stderr: '' })
  expect(set.stdout).toContain('hall 2')
  const [running] = await list(dataDir)
  expect(running).toMatchObject({ device_id: 'meter-1', profile: 'host', site: 'hall 2', retired: false, last_seen: null, status: null })
  expect(await first.stop()).toBe(0)
  expect(existsSync(join(dataDir, 'gateway.json')), 'a clean stop leaves no address').toBe(false)
  expect(await list(dataDir)).toEqual([running])

  const second = await startGateway(dataDir)
  expect(await list(dataDir)).toEqual([running])
  expect((await device(dataDir, 'set', 'meter-1', '--retired', '--no-site')).code).toBe(0)
  second.child.kill('SIGKILL')
  await second.exit
  const changed = { ...running, site: null, retired: true }
  expect(await list(dataDir), 'read from catalog and log').toEqual([changed])
  await startGateway(dataDir)
  expect(await list(dataDir)).toEqual([changed])
})

test('a device is set while no gateway runs, and holds from the next start', async () => {
  const dataDir = join(tempDir(), 'data')
  await (await startGateway(dataDir)).stop()
  const set = await device(dataDir, 'set', 'pump-7', '--retired', '--site', 'yard')
  expect(set).toMatchObject({ code: 0, stderr: '' })
  expect(set.stdout).toContain('next start')
  expect(await list(dataDir)).toMatchObject([{ device_id: 'pump-7', retired: true, site: 'yard' }])
  const shown = await device(dataDir, 'show', 'pump-7')
  expect(shown.stdout).toMatch(/state +retired/)
  await startGateway(dataDir)
  expect(await list(dataDir)).toMatchObject([{ device_id: 'pump-7', retired: true, site: 'yard' }])
})

test('a JSON device that was given a profile sends readings without one, and its status is kept', async () => {
  const dataDir = join(tempDir(), 'data')
  const gateway = await startGateway(dataDir)
  expect((await device(dataDir, 'set', 'meter-1', '--profile', 'host')).code).toBe(0)
  const client = await connectAsync(gateway.mqttUrl, { clientId: 'meter-1', reconnectPeriod: 0 })
  const birth = { state: 'online', session: 's-1', epoch: 3, agent: 'meter 1.2', profiles: [] }
  await client.publishAsync('tm/1/meter-1/status', JSON.stringify(birth), { qos: 1, retain: true })
  const reading = { event_id: 'a', event_time: Date.now(), cpu_used: 12, memory_used: 30, load_1m: 0.5 }
  await client.publishAsync('tm/1/meter-1/json', JSON.stringify(reading), { qos: 1 })
  await client.endAsync()
  await until('the reading to be archived', async () => (await gateway.metric('tidemark_readings_archived_total')) === 1)
  const [row] = await list(dataDir)
  expect(row).toMatchObject({ status: { state: 'online', session: 's-1', epoch: 3, agent: 'meter 1.2' }, idle: false })
  expect(row.last_seen).not.toBeNull()
  await gateway.stop()
  expect(await query(dataDir, 'SELECT device_id, profile, event_id FROM readings')).toEqual([
    { device_id: 'meter-1', profile: 'host', event_id: 'a' }
  ])
  expect(await list(dataDir)).toMatchObject([{ status: { state: 'online', agent: 'meter 1.2' }, last_seen: row.last_seen }])
})

test('mistakes are told in one line, with exit code 2', async () => {
  const dataDir = join(tempDir(), 'data')
  const expectLine = async (args: readonly string[], ...words: readonly string[]) => {
    const { code, stderr } = await device(dataDir, ...args)
    expect(stderr.trim().split('\n')).toHaveLength(1)
    for (const word of words) expect(stderr).toContain(word)
    expect(code).toBe(2)
  }
  await expectLine(['list'], dataDir, '--data-dir')
  const gateway = await startGateway(dataDir)
  await expectLine(['set', 'no/device', '--retired'], 'no/device', 'device ID')
  await expectLine(['set', 'pump-7', '--profile', 'Not A Name'], '--profile')
  await expectLine(['set', 'pump-7', '--profile', 'hosst'], 'hosst', 'water-loop')
  await expectLine(['show', 'pump-9'], 'pump-9')
  await gateway.stop()
  await expectLine(['show', 'pump-9'], 'pump-9')
})

test('HTTP names what is wrong with a request, and describes its routes', async () => {
  const gateway = await startGateway(join(tempDir(), 'data'))
  const errorOf = async (response: Response) => ({
    status: response.status,
    ...((await response.json()) as { code: string; message: string })
  })
  expect(await errorOf(await post(gateway, 'pump-7', { retired: 'yes' }))).toMatchObject({
    status: 400,
    message: expect.stringContaining('retired')
  })
  expect(await errorOf(await post(gateway, 'pump-7', { profil: 'host' }))).toMatchObject({
    status: 400,
    message: expect.stringContaining('profil')
  })
  expect(await errorOf(await post(gateway, 'pump-7', { profile: 'fan' }))).toMatchObject({
    status: 400,
    message: expect.stringContaining('rotating-machine')
  })
  expect(await errorOf(await post(gateway, 'pump-7', '{'))).toMatchObject({ status: 400 })
  expect(await errorOf(await post(gateway, 'a%20b', {}))).toMatchObject({ status: 400, message: expect.stringContaining('device ID') })
  expect(await errorOf(await fetch(`${gateway.httpUrl}/v1/devices/pump-7`))).toMatchObject({
    status: 404,
    message: expect.stringContaining('pump-7')
  })
  expect(await errorOf(await fetch(`${gateway.httpUrl}/v1/nothing`))).toMatchObject({
    status: 404,
    message: expect.stringContaining('/v1/openapi.json')
  })
  expect((await post(gateway, 'pump-7', { site: 'hall 1' })).status).toBe(200)
  expect(await (await fetch(`${gateway.httpUrl}/v1/devices/pump-7`)).json()).toMatchObject({ device_id: 'pump-7', site: 'hall 1' })

  const document = (await (await fetch(`${gateway.httpUrl}/v1/openapi.json`)).json()) as {
    openapi: string
    paths: Record<string, Record<string, unknown>>
  }
  expect(document.openapi).toBe('3.1.0')
  expect(Object.entries(document.paths).flatMap(([path, methods]) => Object.keys(methods).map(method => `${method} ${path}`))).toEqual(
    expect.arrayContaining([
      'get /healthz',
      'get /readyz',
      'get /metrics',
      'get /v1/devices',
      'get /v1/devices/{id}',
      'post /v1/devices/{id}'
    ])
  )
  expect(JSON.stringify(document.paths['/v1/devices/{id}'].post)).toContain('retired')
})
