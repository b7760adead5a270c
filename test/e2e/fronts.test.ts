/** A gateway with fronts in processes of their own, which die under load and end in order. */
import { join } from 'node:path'
import mqtt, { type MqttClient } from 'mqtt'
import { expect, onTestFinished, test } from 'vitest'
import { QUICK, query, type RunningGateway, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

const TWO = { ...QUICK, front: { processes: 2 } }

/** The process of a front that listens, by the gateway's log. */
function frontPid(gateway: RunningGateway, front: number): number {
  return Number(gateway.logLines().findLast(line => line.front === front && line.frontPid !== undefined)!.frontPid)
}

interface Publisher {
  readonly acked: string[]
  /** Publishes no more, and resolves when the last is settled. */
  end(): Promise<void>
}

const IN_FLIGHT = 8

function readingOf(event_id: string): string {
  return JSON.stringify({ event_id, event_time: Date.now(), profile: 'rotating-machine', temperature: 20, vibration: 1 })
}

/** A device that publishes readings, some at a time, also through lost connections: only what was acked counts. */
function publisher(url: string, device: string): Publisher {
  const acked: string[] = []
  let isOver = false
  let client: MqttClient | null = null
  const running = (async () => {
    for (let i = 0; !isOver; i += IN_FLIGHT) {
      try {
        const open: MqttClient = client ?? (await connect(url, device))
        client = open
        const ids = Array.from({ length: IN_FLIGHT }, (_, k) => `${device}-${i + k}`)
        const sent = ids.map(id => publish(open, `tm/1/${device}/json`, readingOf(id)).then(() => acked.push(id)))
        const lost = (await Promise.allSettled(sent)).some(({ status }) => status === 'rejected')
        if (lost) throw new Error('closed')
      } catch {
        client?.end(true)
        client = null
      }
    }
    client?.end(true)
  })()
  onTestFinished(() => {
    isOver = true
    client?.end(true)
  })
  return {
    acked,
    end() {
      isOver = true
      return running
    }
  }
}

async function connect(url: string, clientId: string): Promise<MqttClient> {
  // without retries: else a connection that is closed before its CONNACK would be awaited for ever
  const client = await mqtt.connectAsync(url, { clientId, reconnectPeriod: 0, connectTimeout: 2000 }, false)
  client.on('error', () => {})
  client.setMaxListeners(4 * IN_FLIGHT)
  return client
}

function publish(client: MqttClient, topic: string, payload: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = () => reject(new Error('closed'))
    if (!client.connected) {
      fail()
      return
    }
    client.once('close', fail)
    client.publish(topic, payload, { qos: 1 }, error => {
      client.off('close', fail)
      if (error) reject(error)
      else resolve()
    })
  })
}

test('fronts are killed under load, again and again: what was acked is archived', async () => {
  const gateway = await startGateway(join(tempDir(), 'data'), TWO)
  const publishers = Array.from({ length: 8 }, (_, i) => publisher(gateway.mqttUrl, `press-${i}`))
  const ackedNow = () => publishers.reduce((sum, { acked }) => sum + acked.length, 0)
  for (let kill = 1; kill <= 4; kill++) {
    const before = ackedNow()
    await until('some readings more', () => ackedNow() > before + 500)
    process.kill(frontPid(gateway, (kill % 2) + 1), 'SIGKILL')
    await until('the front to be there again', async () => (await gateway.metric('tidemark_front_restarts_total')) === kill)
  }
  const before = ackedNow()
  await until('some readings more', () => ackedNow() > before + 500)
  await Promise.all(publishers.map(each => each.end()))
  expect(await gateway.stop()).toBe(0)
  const archived = (await query(gateway.dataDir, 'SELECT event_id FROM readings')).map(row => String(row.event_id))
  expect(new Set(archived).size).toBe(archived.length)
  expect(publishers.flatMap(({ acked }) => acked).filter(id => !archived.includes(id))).toEqual([])
})

test('a gateway that is told to stop under load acks all that its fronts have appended, and ends with 0', async () => {
  const gateway = await startGateway(join(tempDir(), 'data'), TWO)
  const publishers = Array.from({ length: 8 }, (_, i) => publisher(gateway.mqttUrl, `press-${i}`))
  await until('some readings', () => publishers.every(({ acked }) => acked.length > 20))
  expect(await gateway.stop()).toBe(0)
  await Promise.all(publishers.map(each => each.end()))
  const archived = (await query(gateway.dataDir, 'SELECT event_id FROM readings')).map(row => String(row.event_id))
  expect(archived.toSorted()).toEqual(publishers.flatMap(({ acked }) => acked).toSorted())
})

test('fronts do not outlive a gateway that is killed, and the next one takes its port', async () => {
  const dataDir = join(tempDir(), 'data')
  const gateway = await startGateway(dataDir, TWO)
  const pids = [1, 2].map(front => frontPid(gateway, front))
  gateway.child.kill('SIGKILL')
  await until('the fronts to end', () => pids.every(pid => !isRunning(pid)))
  const next = await startGateway(dataDir, TWO, { mqttPort: gateway.mqttPort })
  expect(next.mqttPort).toBe(gateway.mqttPort)
  expect((await fetch(`${next.httpUrl}/readyz`)).status).toBe(200)
  expect(await next.stop()).toBe(0)
})

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
