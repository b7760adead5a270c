/** Fronts in processes of their own, as built, with a real log: what one does the others must know. */
import { join } from 'node:path'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { pino } from 'pino'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ClusterFronts } from '../../../gateway/dist/front/cluster-fronts.js'
import { createFronts, type Fronts } from '../../../gateway/dist/front/fronts.js'
import { Presence } from '../../../gateway/dist/front/presence.js'
import { LogClient } from '../../../gateway/dist/log/log-client.js'
import { readFrames } from '../../../gateway/src/log/frames.js'
import { SqliteLogReader } from '../../../gateway/src/log/sqlite-log.js'
import { tempDir } from '../../kit/temp-dir.js'
import { until } from '../../kit/until.js'

/** A front reports every second: so long it says nothing only where it hangs, on a busy machine too, ms. */
const SILENT_MS = 4000

interface Cluster {
  readonly fronts: Fronts
  readonly presence: Presence
  readonly log: LogClient
  readonly port: number
  /** Process IDs by front. */
  readonly pids: Map<number, number>
  connect(clientId: string, options?: IClientOptions): Promise<MqttClient>
  /** What is in the log, as `kind device payload`. */
  frames(): string[]
}

async function startCluster(lightSessions: boolean, connectionsMax = 1000): Promise<Cluster> {
  const path = join(tempDir(), 'log.sqlite')
  const log = await LogClient.open(path)
  const presence = new Presence()
  const pids = new Map<number, number>()
  const write = (line: string) => {
    const { front, frontPid } = JSON.parse(line)
    if (frontPid !== undefined) pids.set(front, frontPid)
  }
  const fronts = await createFronts(
    { processes: 2, connectionsMax, connectionsExpected: 1, lightSessions, relays: [] },
    log,
    presence,
    pino({ level: 'info' }, { write })
  )
  const port = await fronts.listen('127.0.0.1', 0)
  onTestFinished(async () => {
    log.release()
    await fronts.close()
    await log.close()
  })
  return {
    fronts,
    presence,
    log,
    port,
    pids,
    async connect(clientId, options = {}) {
      const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { clientId, reconnectPeriod: 0, ...options })
      client.on('error', () => {})
      onTestFinished(() => {
        client.end(true)
      })
      return client
    },
    frames() {
      const reader = new SqliteLogReader(path)
      const found = reader.read(0, 1_000_000).flatMap(({ frames }) => [...readFrames(frames)])
      reader.close()
      return found.filter(({ kind }) => kind !== 'tick').map(({ kind, deviceId, payload }) => `${kind} ${deviceId} ${Buffer.from(payload)}`)
    }
  }
}

const birth = (session: string) => JSON.stringify({ state: 'online', session, epoch: 1, agent: 'test', profiles: [] })
const death = (session: string) => JSON.stringify({ state: 'offline', session })

function willOf(deviceId: string, session: string): IClientOptions {
  return { will: { topic: `tm/1/${deviceId}/status`, payload: Buffer.from(death(session)), qos: 1, retain: true } }
}

function closed(client: MqttClient): Promise<void> {
  return new Promise(resolve => client.once('close', () => resolve()))
}

/** What a client is told, as `topic payload`, with an asterisk where it was retained. */
function listen(client: MqttClient): string[] {
  const heard: string[] = []
  client.on('message', (topic, payload, { retain }) => heard.push(`${topic} ${payload}${retain ? ' *' : ''}`))
  return heard
}

describe.each([
  ['light sessions', true],
  ['aedes', false]
])('served by %s', (_name, lightSessions) => {
  test('connections are spread over the fronts, and what is acked is in the log', async () => {
    const { fronts, connect, frames } = await startCluster(lightSessions)
    const devices = ['press-1', 'press-2', 'press-3', 'press-4']
    for (const device of devices) {
      const client = await connect(device)
      await client.publishAsync(`tm/1/${device}/batch`, `by ${device}`, { qos: 1 })
      expect(frames()).toContain(`batch ${device} by ${device}`)
    }
    await until('counts of both fronts', () => fronts.stats().acked === 4)
    const spread = fronts.rows().map(({ stats }) => stats.connections)
    expect(spread[0] + spread[1]).toBe(4)
    expect(Math.min(...spread)).toBeGreaterThan(0)
  })

  test('a second connection of a device closes the first on another front, whose death does not bury the new birth', async () => {
    const { connect, frames } = await startCluster(lightSessions)
    const topic = 'tm/1/press-1/status'
    const dashboard = await connect('dashboard')
    const heard = listen(dashboard)
    await dashboard.subscribeAsync('tm/1/+/status')
    const first = await connect('press-1', willOf('press-1', 'old'))
    const firstClosed = closed(first)
    await first.publishAsync(topic, birth('old'), { qos: 1, retain: true })
    await connect('bystander') // takes the turn of the front that has not the first
    const second = await connect('press-1', willOf('press-1', 'new'))
    await second.publishAsync(topic, birth('new'), { qos: 1, retain: true })
    await firstClosed
    second.stream.destroy()
    await until('the death of the second', () => frames().includes(`status press-1 ${death('new')}`))
    const statuses = frames().filter(frame => frame.startsWith('status press-1'))
    expect(statuses.at(-1)).toBe(`status press-1 ${death('new')}`)
    expect(statuses.at(-2)).toBe(`status press-1 ${birth('new')}`)
    await until('the dashboard to see it', () => heard.at(-1) === `${topic} ${death('new')}`)
  })

  test('a subscriber sees the statuses of devices on every front, those of before as retained', async () => {
    const { connect } = await startCluster(lightSessions)
    const devices = Array.from({ length: 6 }, (_, i) => `press-${i}`)
    const clients = await Promise.all(devices.map(device => connect(device)))
    await Promise.all(clients.map((client, i) => client.publishAsync(`tm/1/press-${i}/status`, birth(`s${i}`), { qos: 1, retain: true })))
    for (const name of ['dashboard-1', 'dashboard-2']) {
      const dashboard = await connect(name)
      const heard = listen(dashboard)
      await dashboard.subscribeAsync('tm/1/+/status', { qos: 1 })
      await until('all that is retained', () => heard.length === devices.length)
      expect(heard.toSorted()).toEqual(devices.map((device, i) => `tm/1/${device}/status ${birth(`s${i}`)} *`))
      await clients[3].publishAsync('tm/1/press-3/status', death('s3'), { qos: 1, retain: true })
      await until('the news', () => heard.at(-1) === `tm/1/press-3/status ${death('s3')}`)
      await clients[3].publishAsync('tm/1/press-3/status', birth('s3'), { qos: 1, retain: true })
      await dashboard.endAsync()
    }
  })

  test('a configuration reaches its device on whichever front, and is kept for when it comes back', async () => {
    const { connect, presence } = await startCluster(lightSessions)
    for (const [i, device] of ['press-1', 'press-2'].entries()) {
      presence.setConfig(device, Buffer.from('first'))
      const client = await connect(device)
      const heard = listen(client)
      await client.subscribeAsync(`tm/1/${device}/config`, { qos: 1 })
      await until('what is kept', () => heard.length === 1)
      presence.setConfig(device, Buffer.from('second'))
      await until('the change', () => heard.length === 2)
      presence.tell(device, { epoch_spent: i + 1 })
      expect(heard).toEqual([`tm/1/${device}/config first *`, `tm/1/${device}/config second`])
      await client.subscribeAsync(`tm/1/${device}/ack`, { qos: 1 })
      presence.tell(device, { epoch_spent: 7 })
      await until('the ack', () => heard.length === 3)
      expect(heard.at(-1)).toBe(`tm/1/${device}/ack {"epoch_spent":7}`)
    }
  })

  test('a front that is killed is started again; its wills are appended, and its devices come back on any other', async () => {
    const { fronts, pids, connect, frames } = await startCluster(lightSessions)
    const devices = Array.from({ length: 8 }, (_, i) => `press-${i}`)
    const clients = await Promise.all(devices.map(device => connect(device, willOf(device, 's'))))
    await Promise.all(clients.map((client, i) => client.publishAsync(`tm/1/press-${i}/status`, birth('s'), { qos: 1, retain: true })))
    await until('the counts of both', () => fronts.stats().acked === 8)
    const lost = fronts.rows()[0].stats.connections
    expect(lost).toBeGreaterThan(0)
    const isClosed = devices.map(() => false)
    for (const [i, client] of clients.entries()) client.on('close', () => (isClosed[i] = true))
    process.kill(pids.get(1)!, 'SIGKILL')
    await until('its connections to end', () => isClosed.filter(Boolean).length === lost)
    await until('their deaths', () => frames().filter(frame => frame.endsWith(death('s'))).length === lost)
    for (const [i, device] of devices.entries()) expect(frames().includes(`status ${device} ${death('s')}`)).toBe(isClosed[i])
    for (const [i, device] of devices.entries()) {
      if (!isClosed[i]) continue
      const client = await connect(device)
      await client.publishAsync(`tm/1/${device}/batch`, 'back', { qos: 1 })
    }
    await until('the front to be there again', () => fronts.restarts === 1 && fronts.rows().length === 2)
    await until('the counters', () => fronts.stats().acked === 8 + lost)
  })

  test('at its cap a front takes no more, and takes some again when there is room', async () => {
    const { fronts, connect } = await startCluster(lightSessions, 2)
    const clients: MqttClient[] = []
    for (const device of ['a', 'b', 'c', 'd']) clients.push(await connect(device))
    await until('the fronts to say that they are full', () => fronts.notReady() !== null)
    await expect(connect('e')).rejects.toThrow()
    await clients[0].endAsync()
    await until('room', () => fronts.notReady() === null)
    await connect('e')
  })

  test('while the log takes nothing, nothing is acked, clients are held, and all of it comes later', async () => {
    const { log, fronts, connect, frames } = await startCluster(lightSessions)
    const clients = await Promise.all(['press-1', 'press-2', 'press-3', 'press-4'].map(device => connect(device)))
    log.hold()
    let acked = 0
    const payload = Buffer.alloc(100_000, 'x')
    const each = 200
    const published = clients.flatMap(client =>
      Array.from({ length: each }, () =>
        client.publishAsync(`tm/1/${client.options.clientId}/batch`, payload, { qos: 1 }).then(() => acked++)
      )
    )
    await until('the fronts to have taken some', () => fronts.stats().published > 0)
    const before = await steady(() => fronts.stats().published)
    expect(before).toBeLessThan(clients.length * each) // a client with 1 MiB unacked is no longer read
    expect(acked).toBe(0)
    log.release()
    await Promise.all(published)
    expect(frames().filter(frame => frame.startsWith('batch'))).toHaveLength(clients.length * each)
  })

  test('closing delivers the PUBACKs of all that was appended, and appends no more', async () => {
    const { fronts, log, connect, frames } = await startCluster(lightSessions)
    const clients = await Promise.all(['press-1', 'press-2', 'press-3', 'press-4'].map(device => connect(device)))
    const acked: string[] = []
    let isOver = false
    const publishing = clients.map(async client => {
      const device = client.options.clientId
      for (let i = 0; !isOver; i++)
        await client.publishAsync(`tm/1/${device}/json`, `${device} ${i}`, { qos: 1 }).then(
          () => acked.push(`json ${device} ${device} ${i}`),
          () => (isOver = true)
        )
    })
    await until('some to be acked', () => acked.length > 100)
    for (const client of clients) client.once('close', () => (isOver = true))
    const ends = clients.map(closed)
    log.release()
    await fronts.close()
    await Promise.all(ends)
    isOver = true
    for (const client of clients) client.end(true)
    await Promise.all(publishing)
    expect(
      frames()
        .filter(frame => frame.startsWith('json'))
        .toSorted()
    ).toEqual(acked.toSorted())
  })
})

test('a front that hangs is killed and started again', async () => {
  const log = await LogClient.open(join(tempDir(), 'log.sqlite'))
  const pids = new Map<number, number>()
  const write = (line: string) => {
    const { front, frontPid } = JSON.parse(line)
    if (frontPid !== undefined) pids.set(front, frontPid)
  }
  const options = { connectionsMax: 10, lightSessions: true, relays: [] }
  const fronts = new ClusterFronts(2, options, log, new Presence(), pino({ level: 'info' }, { write }), SILENT_MS)
  onTestFinished(async () => {
    await fronts.close()
    await log.close()
  })
  await fronts.listen('127.0.0.1', 0)
  const [hanging, other] = [pids.get(1)!, pids.get(2)!]
  process.kill(hanging, 'SIGSTOP')
  await until('another in its place', () => fronts.restarts === 1 && pids.get(1) !== hanging)
  await steady(() => fronts.restarts)
  expect([fronts.restarts, pids.get(2)], 'the one that does not hang is left alone').toEqual([1, other])
})

/** The value once it has not changed for longer than fronts take between two reports. */
async function steady(read: () => number): Promise<number> {
  let last = read()
  let sinceMs = performance.now()
  await until('it to stand still', () => {
    if (read() !== last) sinceMs = performance.now()
    last = read()
    return performance.now() - sinceMs > 1500
  })
  return last
}
