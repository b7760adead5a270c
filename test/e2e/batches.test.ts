/** Batches over HTTP: the same in the log as over MQTT, durable when they are answered, and bounded. */
import { join } from 'node:path'
import { columnsOf, encodeBatch, PAYLOAD_BYTES_MAX, ROTATING_MACHINE, type Value } from '@tidemark/protocol'
import { connectAsync } from 'mqtt'
import { expect, test } from 'vitest'
import { QUICK, query, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'

const GOOD: readonly Value[] = [70, 2, 5, 1480, 40, 80, 60, 100, false, 'hall-1']
const START_MS = Date.now() - 3_600_000

function batch(seqs: readonly number[]): Buffer<ArrayBuffer> {
  return Buffer.from(
    encodeBatch({
      profile: ROTATING_MACHINE,
      epoch: 7,
      oldestHeldSeq: 1,
      highestSampledSeq: seqs.at(-1)!,
      buffered: 0,
      seqs,
      eventTimesMs: seqs.map(seq => START_MS + seq * 5000),
      columns: columnsOf(
        ROTATING_MACHINE,
        seqs.map(seq => [seq, ...GOOD.slice(1)])
      )
    })
  )
}

async function post(
  url: string,
  body: Buffer<ArrayBuffer>,
  headers: Record<string, string>,
  search = ''
): Promise<{ status: number; text: string }> {
  const response = await fetch(`${url}/v1/batches${search}`, {
    method: 'POST',
    headers: { 'content-type': 'application/msgpack', ...headers },
    body
  })
  return { status: response.status, text: await response.text() }
}

const of = (device: string) => ({ 'x-tidemark-device': device })

test('a batch makes the same rows over HTTP as over MQTT, and one that comes both ways is counted once', async () => {
  const dataDir = join(tempDir(), 'data')
  const gateway = await startGateway(dataDir)
  const batches = [batch([1, 2, 3]), batch([4, 6]), Buffer.from([0xc1, 1, 2])]
  const client = await connectAsync(gateway.mqttUrl, { clientId: 'by-mqtt', reconnectPeriod: 0 })
  for (const bytes of batches) {
    await client.publishAsync('tm/1/by-mqtt/batch', bytes, { qos: 1 })
    expect(await post(gateway.httpUrl, bytes, of('by-http'))).toEqual({ status: 204, text: '' })
  }
  expect((await post(gateway.httpUrl, batches[0], { 'content-type': 'application/octet-stream' }, '?device=by-mqtt')).status).toBe(204)
  await client.endAsync()
  expect(await gateway.stop()).toBe(0)
  const rows = (device: string) =>
    query(dataDir, `SELECT * EXCLUDE (device_id, ingest_time) FROM readings WHERE device_id = '${device}' ORDER BY seq`)
  expect((await rows('by-http')).map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 6])
  expect(await rows('by-http')).toEqual(await rows('by-mqtt'))
  const frames = (device: string) =>
    query(dataDir, `SELECT kind, payload FROM raw WHERE device_id = '${device}' ORDER BY entry, frame_index LIMIT 3`)
  expect(await frames('by-http')).toHaveLength(3)
  expect(await frames('by-http')).toEqual(await frames('by-mqtt'))
  const rejected = await query(dataDir, 'SELECT device_id, kind, reason, payload FROM quarantine ORDER BY device_id')
  expect(rejected).toEqual(
    ['by-http', 'by-mqtt'].map(device => ({ device_id: device, kind: 'batch', reason: 'undecodable', payload: 'c10102' }))
  )
})

test('what was answered with 204 is there when the gateway is killed at once', async () => {
  const dataDir = join(tempDir(), 'data')
  const gateway = await startGateway(dataDir, { ...QUICK, flush: { interval: '1h' } })
  for (const seq of [1, 2, 3]) expect((await post(gateway.httpUrl, batch([seq]), of('pump-7'))).status).toBe(204)
  gateway.child.kill('SIGKILL')
  await gateway.exit
  expect(await (await startGateway(dataDir)).stop()).toBe(0)
  expect(await query(dataDir, 'SELECT list(seq ORDER BY seq) AS seqs FROM readings')).toEqual([{ seqs: [1, 2, 3] }])
})

test('a batch that is refused says why', async () => {
  const gateway = await startGateway(join(tempDir(), 'data'))
  const big = Buffer.alloc(PAYLOAD_BYTES_MAX + 1)
  for (const [body, headers, search, status, words] of [
    [batch([1]), {}, '', 400, 'x-tidemark-device'],
    [batch([1]), of('no/device'), '', 400, 'device ID'],
    [batch([1]), of('a'), '?device=b', 400, 'which one'],
    [Buffer.alloc(0), of('a'), '', 400, 'empty'],
    [big, of('a'), '', 413, 'too large'],
    [batch([1]), { ...of('a'), 'content-type': 'text/plain' }, '', 400, 'media type']
  ] as const) {
    const refused = await post(gateway.httpUrl, body, headers, search)
    expect(refused.status, refused.text).toBe(status)
    expect(refused.text).toContain(words)
  }
  expect(await gateway.metric('tidemark_published_total')).toBe(0)
})
