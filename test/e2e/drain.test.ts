/** Devices that come back with a backlog drain it as fast as the gateway grants, wherever they are connected. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { columnsOf, encodeBatch, ROTATING_MACHINE } from '@tidemark/protocol'
import { connectAsync, type IClientOptions } from 'mqtt'
import { expect, test } from 'vitest'
import { freePort } from '../kit/free-port.js'
import { CLI, QUICK, query, type Running, run, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

const BUDGET = 1500

/** Most that an agent sends where nobody grants less, in readings a second. */
const OWN_RATE = 3000

/** The gateway looks at its devices once a second; this is enough for some looks. */
const LOOKS_MS = 4000

/** An agent with so many readings of a recording, which are sampled before anything listens at the port. */
async function startAgent(dir: string, id: string, rows: number, mqttPort: number): Promise<Running> {
  const recording = Array.from({ length: rows }, (_, i) => `${new Date(Date.UTC(2026, 0, 1) + i * 1000).toISOString()},${i % 7}`)
  writeFileSync(join(dir, `${id}.csv`), `time,pressure\n${recording.join('\n')}\n`)
  const file = join(dir, `${id}.yaml`)
  const config = {
    device_id: id,
    gateway: { url: `mqtt://127.0.0.1:${mqttPort}` },
    profile: 'water-loop',
    buffer: { path: `${id}.sqlite` },
    source: { type: 'csv', path: `${id}.csv`, time: { column: 'time' }, columns: { pressure: 'pressure' } },
    publish: { batch_readings: 100, max_rate: `${OWN_RATE}/s`, backoff: { min: '20ms', max: '50ms' } }
  }
  writeFileSync(file, JSON.stringify(config))
  const agent = run(CLI.agent, ['start', '--config', file, '--once'])
  await until(`${id} to have sampled all`, () => agent.logLines().some(({ msg }) => String(msg).includes('ended')))
  return agent
}

/** When an agent was told what, in Unix ms. */
function toldTo(agent: Running): { ms: number; rate: string | null }[] {
  return agent
    .logLines()
    .filter(({ max_rate }) => max_rate !== undefined)
    .map(({ time, max_rate }) => ({ ms: Number(time), rate: max_rate as string | null }))
}

test('a fleet that comes back at once drains at its grants, which rise as its devices finish', async () => {
  const dir = tempDir()
  const mqttPort = await freePort()
  const sizes = { short: 7000, other: 7000, long: 13_000 }
  const agents = Object.entries(sizes).map(([id, rows]) => startAgent(dir, id, rows, mqttPort))
  const [short, other, long] = await Promise.all(agents)
  const dataDir = join(dir, 'data')
  const drain = { max_rate: `${BUDGET}/s`, backlog: 200 }
  const gateway = await startGateway(dataDir, { ...QUICK, front: { processes: 2 }, drain }, { mqttPort })
  await until('all three to have a grant', async () => (await gateway.metric('tidemark_drain_granted_devices')) === 3)
  expect(await gateway.metric('tidemark_drain_devices')).toBe(3)
  expect(await gateway.metric('tidemark_drain_granted_rate')).toBe(BUDGET)
  expect(await Promise.all([short, other, long].map(({ exit }) => exit))).toEqual([0, 0, 0])
  await until('no grant to be left', async () => (await gateway.metric('tidemark_drain_granted_devices')) === 0, LOOKS_MS)
  await gateway.stop()

  const told = toldTo(long)
  const [granted, lifted] = [told.find(({ rate }) => rate === '500/s')!, told.at(-1)!]
  expect(lifted.rate).toBeNull()
  const next = told[told.indexOf(granted) + 1]
  const rateBetween = async (fromMs: number, toMs: number) => {
    const [{ n }] = await query(
      dataDir,
      `SELECT count(*) AS n FROM readings WHERE device_id = 'long' AND epoch_ms(ingest_time) BETWEEN ${fromMs} AND ${toMs}`
    )
    return (Number(n) / (toMs - fromMs)) * 1000
  }
  const [{ first_ms, last_ms }] = (await query(
    dataDir,
    `SELECT min(epoch_ms(ingest_time)) AS first_ms, max(epoch_ms(ingest_time)) AS last_ms FROM readings WHERE device_id = 'long'`
  )) as { first_ms: number; last_ms: number }[]
  expect(next.ms - granted.ms).toBeGreaterThan(2000)
  expect(await rateBetween(granted.ms + 200, next.ms)).toBeLessThan(600)
  expect(await rateBetween(granted.ms + 200, next.ms)).toBeGreaterThan(200)
  expect(await rateBetween(Number(first_ms), granted.ms)).toBeGreaterThan(750)
  expect(await rateBetween(lifted.ms, Number(last_ms))).toBeGreaterThan(750)
  expect(
    await query(dataDir, 'SELECT device_id, count(*)::INT AS n, count(DISTINCT seq)::INT AS seqs FROM readings GROUP BY 1 ORDER BY 1')
  ).toEqual([
    { device_id: 'long', n: 13_000, seqs: 13_000 },
    { device_id: 'other', n: 7000, seqs: 7000 },
    { device_id: 'short', n: 7000, seqs: 7000 }
  ])
}, 90_000)

/** A batch of one reading that leaves so many for later. */
function batch(seq: number, left: number): Buffer {
  const columns = columnsOf(ROTATING_MACHINE, [[70, 2, 5, 1480, 40, 80, 60, 100, false, 'hall-1']])
  const header = { profile: ROTATING_MACHINE, epoch: 7, oldestHeldSeq: seq, highestSampledSeq: seq + left, buffered: left + 1 }
  return Buffer.from(encodeBatch({ ...header, seqs: [seq], eventTimesMs: [Date.now() - 60_000], columns }))
}

test('a grant reaches light sessions, aedes and what is behind a relay, and comes again with a new connection', async () => {
  const gateway = await startGateway(join(tempDir(), 'data'), { ...QUICK, mqtt: { relays: ['relay-1'] }, drain: { max_rate: '3000/s' } })
  const connect = async (clientId: string, topics: string[], options: IClientOptions = {}) => {
    const client = await connectAsync(gateway.mqttUrl, { clientId, reconnectPeriod: 0, ...options })
    const heard: string[] = []
    client.on('message', (topic, payload) => {
      if (topic.endsWith('/ack')) heard.push(`${topic} ${payload}`)
    })
    await client.subscribeAsync(topics, { qos: 1 })
    return { client, heard }
  }
  const light = await connect('light', ['tm/1/light/ack'])
  const aedes = await connect('aedes', ['tm/1/aedes/ack', 'tm/1/+/status'])
  const relay = await connect('relay-1', ['tm/1/+/ack'])
  expect(await gateway.metric('tidemark_front_light_sessions{front="1"}')).toBe(1)
  const clients = [
    [light, 'light'],
    [aedes, 'aedes'],
    [relay, 'behind']
  ] as const
  for (const [{ client }, id] of clients) await client.publishAsync(`tm/1/${id}/batch`, batch(1, 5000), { qos: 1 })
  for (const [{ heard }, id] of clients) {
    await until(`the grant of ${id}`, () => heard.includes(`tm/1/${id}/ack {"max_rate":"1000/s"}`))
  }
  await light.client.endAsync()
  const again = await connect('light', ['tm/1/light/ack'])
  const birth = { state: 'online', session: 'again', epoch: 7, agent: '', profiles: [] }
  await again.client.publishAsync('tm/1/light/status', JSON.stringify(birth), { qos: 1 })
  await until('the answer to the birth', () => again.heard.some(each => /"time_ms":\d+,"max_rate":"1000\/s"/.test(each)))
  for (const [{ client }, id] of clients.slice(1)) await client.publishAsync(`tm/1/${id}/batch`, batch(5001, 0), { qos: 1 })
  for (const [{ heard }, id] of clients.slice(1)) await until(`${id} to be told`, () => heard.includes(`tm/1/${id}/ack {"max_rate":null}`))
  await until('the one that is left to be told', () => again.heard.includes('tm/1/light/ack {"max_rate":null}'))
  await Promise.all([again, aedes, relay].map(({ client }) => client.endAsync()))
}, 60_000)
