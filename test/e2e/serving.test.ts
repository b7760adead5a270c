/** The HTTP API of a real gateway: its description, that each route answers as it says, and readings while flushes go on. */
import { join } from 'node:path'
import { Validator } from '@seriousme/openapi-schema-validator'
import { columnsOf, encodeBatch, ROTATING_MACHINE, type Value } from '@tidemark/protocol'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { connectAsync, type MqttClient } from 'mqtt'
import { describe, expect, test } from 'vitest'
import { QUICK, type RunningGateway, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

const GOOD: readonly Value[] = [70, 2, 5, 1480, 40, 80, 60, 100, false, 'hall-1']
const START_MS = Math.floor(Date.now() / 3_600_000) * 3_600_000 - 2 * 3_600_000

type Document = { paths: Record<string, Record<string, { responses: Record<string, { content?: Record<string, { schema: object }> }> }>> }
type Reading = { seq: number; temperature: number }
type Page = { readings: Reading[]; next: string | null; entry: number }

async function send(client: MqttClient, seqs: readonly number[], stepMs = 1000): Promise<void> {
  const payload = encodeBatch({
    profile: ROTATING_MACHINE,
    epoch: 7,
    oldestHeldSeq: 1,
    highestSampledSeq: seqs.at(-1)!,
    buffered: 0,
    seqs,
    eventTimesMs: seqs.map(seq => START_MS + seq * stepMs),
    columns: columnsOf(
      ROTATING_MACHINE,
      seqs.map(seq => [seq % 100, ...GOOD.slice(1)])
    )
  })
  await client.publishAsync(`tm/1/${client.options.clientId}/batch`, Buffer.from(payload), { qos: 1 })
}

async function get<T>(gateway: RunningGateway, path: string): Promise<{ status: number; body: T }> {
  const response = await fetch(`${gateway.httpUrl}${path}`)
  return { status: response.status, body: (await response.json()) as T }
}

async function post<T>(gateway: RunningGateway, path: string, body: unknown): Promise<{ status: number; body: T }> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${gateway.httpUrl}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  return { status: response.status, body: (await response.json()) as T }
}

const RANGE = `from=${START_MS}&to=${START_MS + 3 * 3_600_000}`

/** Every seq of the device, page by page. */
async function seqsOf(gateway: RunningGateway, device: string, limit: number): Promise<number[]> {
  const seqs: number[] = []
  for (let next: string | null = ''; next !== null; ) {
    const { status, body }: { status: number; body: Page } = await get(
      gateway,
      `/v1/devices/${device}/readings?${RANGE}&metric=temperature&limit=${limit}${next === '' ? '' : `&after=${next}`}`
    )
    expect(status).toBe(200)
    seqs.push(...body.readings.map(({ seq }) => seq))
    next = body.next
  }
  return seqs
}

describe('readings', () => {
  test('are whole and single while flushes and compactions go on, and behind a kill', async () => {
    const dataDir = join(tempDir(), 'data')
    const config = {
      ...QUICK,
      flush: { ...QUICK.flush, interval: '150ms' },
      compaction: { every: '* * * * * *', after: '1s', min_files: 2, keep: '10m' }
    }
    const gateway = await startGateway(dataDir, config)
    const client = await connectAsync(gateway.mqttUrl, { clientId: 'pump-7', reconnectPeriod: 0 })
    let acked = 0
    let isDone = false
    const sending = (async () => {
      while (acked < 600 || (await gateway.metric('tidemark_compactions_total')) < 2) {
        await send(
          client,
          Array.from({ length: 5 }, (_, k) => acked + k + 1)
        )
        acked += 5
      }
      isDone = true
    })()
    let looks = 0
    while (!isDone) {
      const before = acked
      if (before === 0) {
        await until('the first ack', () => acked > 0)
        continue
      }
      const seqs = await seqsOf(gateway, 'pump-7', 10_000)
      expect(seqs, 'in order, each once, none left out').toEqual(Array.from({ length: seqs.length }, (_, k) => k + 1))
      expect(seqs.length).toBeGreaterThanOrEqual(before)
      looks++
    }
    await sending
    await client.endAsync()
    expect(looks).toBeGreaterThan(3)
    expect(acked).toBeLessThan(9000)
    const all = Array.from({ length: acked }, (_, k) => k + 1)
    expect(await seqsOf(gateway, 'pump-7', 137)).toEqual(all)
    gateway.child.kill('SIGKILL')
    await gateway.exit
    const again = await startGateway(dataDir, config)
    expect(await seqsOf(again, 'pump-7', 250)).toEqual(all)
  }, 60_000)

  test('and features are asked for in a way that is told what is wrong with it', async () => {
    const gateway = await startGateway(join(tempDir(), 'data'))
    await post(gateway, '/v1/devices/pump-7', { site: 'hall 1' })
    const of = '/v1/devices/pump-7/readings'
    for (const [path, code, words] of [
      [`${of}?${RANGE}&metric=temprature`, 'unknown-metric', 'oil_temperature'],
      [`${of}?from=yesterday&to=0`, 'invalid-request', 'RFC 3339'],
      [`${of}?from=5&to=5`, 'invalid-request', 'not behind from'],
      [`${of}?from=0&to=9999999999`, 'invalid-request', '31 days'],
      [`${of}?${RANGE}&limit=10001`, 'invalid-request', 'limit'],
      [`${of}?${RANGE}&after=nonsense`, 'invalid-request', 'cursor'],
      [of, 'invalid-request', 'from']
    ]) {
      expect(await get(gateway, path), path).toMatchObject({ status: 400, body: { code, message: expect.stringContaining(words) } })
    }
    for (const path of ['/v1/devices/pump-9/features', `/v1/devices/pump-9/readings?${RANGE}`])
      expect(await get(gateway, path)).toMatchObject({
        status: 404,
        body: { code: 'unknown-device', message: expect.stringContaining('pump-9') }
      })
    expect(await get(gateway, '/v1/devices/pump-7/features')).toMatchObject({ status: 200, body: { device_id: 'pump-7', rows: [] } })
    for (const [body, code, words] of [
      [{ wanted: [] }, 'invalid-request', 'wanted'],
      [{ wanted: [{ device_id: 'a', time: 'now' }] }, 'invalid-request', 'wanted.0.time: write RFC 3339'],
      [{ wanted: [{ device_id: 'a' }] }, 'invalid-request', 'wanted.0.time: write RFC 3339'],
      [{ wanted: [{ device_id: 'a', time: 1 }], embargo: 'soon' }, 'invalid-request', 'like 2m'],
      [{ wanted: [{ device_id: 'a', time: 1 }], profile: 'pump' }, 'unknown-profile', 'rotating-machine'],
      [{ wanted: Array.from({ length: 1001 }, () => ({ device_id: 'a', time: 1 })) }, 'invalid-request', '1000']
    ] as const) {
      expect(await post(gateway, '/v1/features/as-of', body)).toMatchObject({
        status: 400,
        body: { code, message: expect.stringContaining(words) }
      })
    }
  })
})

describe('the description', () => {
  test('is valid OpenAPI, and every route that it names answers as it says', async () => {
    const gateway = await startGateway(join(tempDir(), 'data'))
    const client = await connectAsync(gateway.mqttUrl, { clientId: 'pump-7', reconnectPeriod: 0 })
    await send(client, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], 10_000)
    await client.endAsync()
    const { body: document } = await get<Document>(gateway, '/v1/openapi.json')
    expect(await new Validator().validate(JSON.parse(JSON.stringify(document)))).toMatchObject({ valid: true })
    const time = new Date().toISOString()
    const asked: [method: string, path: string, url: string, body?: unknown][] = [
      ['get', '/healthz', '/healthz'],
      ['get', '/readyz', '/readyz'],
      ['get', '/metrics', '/metrics'],
      ['get', '/v1/openapi.json', '/v1/openapi.json'],
      ['get', '/v1/devices', '/v1/devices'],
      ['get', '/v1/devices/{id}', '/v1/devices/pump-7'],
      ['get', '/v1/devices/{id}', '/v1/devices/pump-9'],
      ['post', '/v1/devices/{id}', '/v1/devices/pump-7', { site: 'hall 1' }],
      ['post', '/v1/devices/{id}', '/v1/devices/pump-7', { sites: 'hall 1' }],
      ['get', '/v1/devices/{id}/features', '/v1/devices/pump-7/features'],
      ['get', '/v1/devices/{id}/features', '/v1/devices/pump-9/features'],
      ['get', '/v1/devices/{id}/readings', `/v1/devices/pump-7/readings?${RANGE}`],
      ['get', '/v1/devices/{id}/readings', `/v1/devices/pump-7/readings?${RANGE}&metric=rpm&metric=pressure&limit=2`],
      ['get', '/v1/devices/{id}/readings', '/v1/devices/pump-7/readings'],
      [
        'post',
        '/v1/features/as-of',
        '/v1/features/as-of',
        {
          wanted: [
            { device_id: 'pump-7', time },
            { device_id: 'a', time: 5 }
          ]
        }
      ],
      ['post', '/v1/features/as-of', '/v1/features/as-of', { wanted: [{ device_id: 'pump-7', time }], embargo: 3 }],
      ['post', '/v1/batches', '/v1/batches?device=pump-8', new Uint8Array([1])],
      ['post', '/v1/batches', '/v1/batches', new Uint8Array([1])],
      ['post', '/v1/quarantine/requeue', '/v1/quarantine/requeue', new Uint8Array([1])]
    ]
    const ajv = new Ajv2020({ strict: false })
    addFormats.default(ajv)
    const seen = new Set<string>()
    for (const [method, path, url, body] of asked) {
      const isBytes = body instanceof Uint8Array
      const headers = { 'content-type': isBytes ? 'application/octet-stream' : 'application/json' }
      const init = body === undefined ? {} : { method: 'POST', headers, body: isBytes ? Buffer.from(body) : JSON.stringify(body) }
      const response = await fetch(`${gateway.httpUrl}${url}`, init)
      const described = document.paths[path]?.[method]?.responses[response.status]
      expect(described, `${method} ${url} answers ${response.status}`).toBeDefined()
      seen.add(`${method} ${path}`)
      if (response.status === 204) {
        expect(await response.text()).toBe('')
        continue
      }
      const [[type, { schema }]] = Object.entries(described!.content ?? {})
      expect(response.headers.get('content-type')).toContain(type)
      const answer: unknown = type === 'application/json' ? await response.json() : await response.text()
      expect(ajv.validate(schema, answer), `${method} ${url}: ${ajv.errorsText()}`).toBe(true)
      expect(ajv.validate(schema, { nonsense: true }) && path !== '/v1/openapi.json', 'the schema refuses something').toBe(false)
    }
    const described = Object.entries(document.paths).flatMap(([path, methods]) => Object.keys(methods).map(method => `${method} ${path}`))
    expect([...seen].sort(), 'every route was asked').toEqual(described.sort())
    const latest = await get<{ rows: Record<string, unknown>[] }>(gateway, '/v1/devices/pump-7/features')
    expect(latest.body.rows).toMatchObject([
      { profile: 'rotating-machine', as_of: new Date(START_MS + 120_000).toISOString(), event_count: 6 }
    ])
  })
})

test('metrics are read without a list of all that is open', async () => {
  const gateway = await startGateway(join(tempDir(), 'data'))
  const text = await (await fetch(`${gateway.httpUrl}/metrics`)).text()
  expect(text).toContain('\nnodejs_heap_size_used_bytes ')
  expect(text).toContain('\ntidemark_connections 0')
  expect(text).not.toContain('nodejs_active_')
})
