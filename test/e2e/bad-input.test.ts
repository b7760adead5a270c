/** What no device should send, over real MQTT: where it ends up, and that the gateway goes on. */
import { decodeMulti, encode } from '@msgpack/msgpack'
import { columnsOf, encodeBatch, PAYLOAD_BYTES_MAX, type RejectReason, ROTATING_MACHINE, type Value } from '@tidemark/protocol'
import mqtt, { type MqttClient } from 'mqtt'
import { expect, onTestFinished, test } from 'vitest'
import { query, type RunningGateway, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

const GOOD: readonly Value[] = [70, 2, 5, 1480, 40, 80, 60, 100, false, 'hall-1']
const HOUR_MS = 3_600_000

interface BatchChange {
  readonly rows?: readonly (readonly Value[])[]
  readonly profile?: string
  readonly eventTimeMs?: number
  /** Changes the body's columns as they are on the wire. */
  readonly columns?: (columns: unknown[]) => void
}

let epoch = 1

function batch({ rows = [GOOD], profile, eventTimeMs = Date.now() - 1000, columns }: BatchChange = {}): Buffer {
  const payload = encodeBatch({
    profile: { ...ROTATING_MACHINE, name: profile ?? ROTATING_MACHINE.name },
    epoch: epoch++,
    oldestHeldSeq: 1,
    highestSampledSeq: rows.length,
    buffered: rows.length,
    seqs: rows.map((_, i) => i + 1),
    eventTimesMs: rows.map((_, i) => eventTimeMs + i),
    columns: columnsOf(ROTATING_MACHINE, rows)
  })
  if (columns === undefined) return Buffer.from(payload)
  const [header, body] = [...decodeMulti(payload)]
  columns((body as unknown[][])[1])
  return Buffer.concat([encode(header), encode(body)])
}

function withMetric(metric: number, value: Value): Value[] {
  return GOOD.map((good, m) => (m === metric ? value : good))
}

async function connect(gateway: RunningGateway, clientId: string): Promise<MqttClient> {
  const client = mqtt.connect(gateway.mqttUrl, { clientId, reconnectPeriod: 0 })
  onTestFinished(() => {
    client.end(true)
  })
  await new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject))
  return client
}

interface Bad {
  readonly what: string
  readonly reason: RejectReason
  readonly kind?: 'batch' | 'json'
  readonly payload: () => Buffer
  /** How many readings the quarantine counts, and what it says of each. */
  readonly readings?: number
  readonly detail?: string
}

const json = (reading: object) => Buffer.from(JSON.stringify(reading))

const BAD: readonly Bad[] = [
  { what: 'bytes that are no batch', reason: 'undecodable', payload: () => Buffer.from([0xc1, 0x00, 0xff, 0x42]) },
  {
    what: 'a batch with damaged columns, reading by reading',
    reason: 'columns-damaged',
    payload: () => batch({ rows: [GOOD, GOOD, GOOD], columns: columns => columns.pop() }),
    readings: 3
  },
  {
    what: 'a batch of an unknown profile',
    reason: 'unknown-profile',
    payload: () => batch({ profile: 'steam-engine' }),
    detail: 'steam-engine'
  },
  {
    what: 'a reading that lacks a required metric',
    reason: 'metric-missing',
    payload: () => batch({ rows: [withMetric(0, null)] }),
    detail: 'temperature'
  },
  {
    what: 'a value of the wrong type',
    reason: 'metric-wrong-type',
    payload: () => batch({ columns: columns => columns.splice(0, 1, 'seventy') })
  },
  {
    what: 'a value out of range',
    reason: 'metric-out-of-range',
    payload: () => batch({ rows: [withMetric(0, 200.01)] }),
    detail: '200.01'
  },
  { what: 'NaN', reason: 'metric-not-finite', payload: () => batch({ rows: [withMetric(1, Number.NaN)] }) },
  {
    what: 'an event time an hour ahead',
    reason: 'event-time-in-future',
    payload: () => batch({ eventTimeMs: Date.now() + HOUR_MS })
  },
  {
    what: 'an event time before the year 2000',
    reason: 'event-time-too-old',
    payload: () => batch({ eventTimeMs: Date.UTC(1999, 11, 31, 23, 59) })
  },
  { what: 'JSON that is none', reason: 'undecodable', kind: 'json', payload: () => Buffer.from('{"event_id": ') },
  {
    what: 'a JSON reading without a zone in its time',
    reason: 'event-time-invalid',
    kind: 'json',
    payload: () => json({ event_id: 'a', event_time: '2026-01-01T00:00:00', profile: 'rotating-machine', temperature: 20, vibration: 1 })
  }
]

test('whatever is bad is quarantined with its reason and its bytes, and what is good behind it is archived', async () => {
  const gateway = await startGateway(`${tempDir()}/data`)
  const payloads = BAD.map(({ payload }) => payload())
  for (const [n, { kind = 'batch' }] of BAD.entries()) {
    const client = await connect(gateway, `press-${n}`)
    await client.publishAsync(`tm/1/press-${n}/${kind}`, payloads[n], { qos: 1 })
    await client.publishAsync(`tm/1/press-${n}/batch`, batch(), { qos: 1 })
    await client.endAsync()
  }
  expect(await gateway.stop()).toBe(0)
  const quarantined = await query(
    gateway.dataDir,
    'SELECT device_id, reason, detail, accounted, seq, lower(hex(payload)) AS payload FROM quarantine ORDER BY device_id, seq'
  )
  const archived = await query(gateway.dataDir, 'SELECT device_id, count(*)::INT AS n FROM readings GROUP BY device_id')
  for (const [n, { what, reason, readings = 1, detail = '' }] of BAD.entries()) {
    const rows = quarantined.filter(row => row.device_id === `press-${n}`)
    expect(
      rows.map(row => row.reason),
      what
    ).toEqual(new Array(readings).fill(reason))
    for (const row of rows)
      expect(row, what).toMatchObject({ payload: payloads[n].toString('hex'), detail: expect.stringContaining(detail) })
    if (readings > 1)
      expect(
        rows.map(row => [Number(row.seq), row.accounted]),
        what
      ).toEqual(rows.map((_, i) => [i + 1, true]))
    expect(archived, what).toContainEqual({ device_id: `press-${n}`, n: 1 })
  }
  expect(archived).toHaveLength(BAD.length)
  expect(quarantined).toHaveLength(BAD.reduce((sum, { readings = 1 }) => sum + readings, 0))
})

test('an opaque event ID is archived once, whatever comes with it the second time', async () => {
  const gateway = await startGateway(`${tempDir()}/data`)
  const client = await connect(gateway, 'plc-1')
  const reading = { event_id: 'shift-1/42', event_time: Date.now() - 5000, profile: 'rotating-machine', temperature: 20, vibration: 1 }
  await client.publishAsync('tm/1/plc-1/json', JSON.stringify(reading), { qos: 1 })
  await client.publishAsync(
    'tm/1/plc-1/json',
    JSON.stringify([
      { ...reading, temperature: 30 },
      { ...reading, event_id: 'shift-1/43' }
    ]),
    { qos: 1 }
  )
  await client.endAsync()
  await gateway.stop()
  const rows = await query(gateway.dataDir, 'SELECT event_id, temperature FROM readings ORDER BY event_id')
  expect(rows).toEqual([
    { event_id: 'shift-1/42', temperature: 20 },
    { event_id: 'shift-1/43', temperature: 20 }
  ])
})

/** The front refuses these: a line in the log, a counter, and an end to the connection; others are not disturbed. */
const REFUSED: readonly (readonly [string, string, string, () => Buffer])[] = [
  ['a topic that is none of ours', 'wrong-topic', 'factory/press-1', () => batch()],
  ['a topic that only the gateway writes', 'wrong-topic', 'tm/1/press-1/config', () => batch()],
  ["another device's topic", 'topic-of-another-device', 'tm/1/press-2/batch', () => batch()],
  ['a payload of one byte more than 128 KiB', 'payload-too-large', 'tm/1/press-1/batch', () => Buffer.alloc(PAYLOAD_BYTES_MAX + 1)],
  ['a packet of 64 MiB, before it is read', 'packet-too-large', 'tm/1/press-1/batch', () => Buffer.alloc(64 * 1024 * 1024)]
]

test('the front refuses each of these, ends the connection, and disturbs nobody else', async () => {
  const gateway = await startGateway(`${tempDir()}/data`)
  const bystander = await connect(gateway, 'press-9')
  const refused = new Map<string, number>()
  for (const [what, refusal, topic, payload] of REFUSED) {
    const client = await connect(gateway, 'press-1')
    client.on('error', () => {})
    const closed = new Promise<void>(resolve => client.once('close', () => resolve()))
    client.publish(topic, payload(), { qos: 1 })
    await closed
    const times = (refused.get(refusal) ?? 0) + 1
    refused.set(refusal, times)
    const isSaid = (line: Record<string, unknown>) => line.refusal === refusal && line.client === 'press-1'
    await until(`the refusal of ${what} in the log`, () => gateway.logLines().filter(isSaid).length === times)
    expect(await gateway.metric(`tidemark_publishes_refused_total{refusal="${refusal}"}`), what).toBe(times)
  }
  await bystander.publishAsync('tm/1/press-9/batch', batch(), { qos: 1 })
  await bystander.endAsync()
  expect(await gateway.stop()).toBe(0)
  expect(await query(gateway.dataDir, 'SELECT device_id FROM readings')).toEqual([{ device_id: 'press-9' }])
})

test('a client ID that is no device ID is refused', async () => {
  const gateway = await startGateway(`${tempDir()}/data`)
  await expect(connect(gateway, 'press 1/../2')).rejects.toThrow(/Identifier rejected/)
  await until('the refusal in the log', () => gateway.logLines().find(line => line.refusal === 'client-id'))
})

test('a listener gets status but no readings', async () => {
  const gateway = await startGateway(`${tempDir()}/data`)
  const listener = await connect(gateway, 'dashboard')
  const [status] = await listener.subscribeAsync('tm/1/+/status')
  expect(status.qos).toBe(0)
  await expect(listener.subscribeAsync('tm/1/+/batch')).rejects.toThrow()
  await expect(listener.subscribeAsync('#')).rejects.toThrow()
})
