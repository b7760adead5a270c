/** Programs that know nothing of Tidemark: mosquitto's clients with our gateway, mosquitto's broker with our agent. */
import { spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeBatch, ROTATING_MACHINE } from '@tidemark/protocol'
import mqtt from 'mqtt'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { freePort } from '../kit/free-port.js'
import { CLI, query, run, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

beforeAll(() => {
  if (spawnSync('mosquitto_pub', ['--version']).error)
    throw new Error('these tests need mosquitto: apt-get install mosquitto mosquitto-clients')
})

/** Runs a program that ends by itself. */
function program(name: string, args: readonly string[]): { status: number | null; stdout: string } {
  return spawnSync(name, args, { encoding: 'utf8', timeout: 20_000 })
}

test('mosquitto_pub sends JSON readings that end up in the archive', async () => {
  const gateway = await startGateway(join(tempDir(), 'data'))
  const reading = (id: number) =>
    JSON.stringify({ event_id: `m-${id}`, event_time: Date.now(), profile: 'rotating-machine', temperature: 20 + id, vibration: 1 })
  for (const id of [1, 2, 2]) {
    const sent = program('mosquitto_pub', [
      '-p',
      String(gateway.mqttPort),
      '-i',
      'plc-7',
      '-q',
      '1',
      '-t',
      'tm/1/plc-7/json',
      '-m',
      reading(id)
    ])
    expect(sent.status).toBe(0)
  }
  await gateway.stop()
  expect(await query(gateway.dataDir, 'SELECT device_id, event_id, temperature FROM readings ORDER BY event_id')).toEqual([
    { device_id: 'plc-7', event_id: 'm-1', temperature: 21 },
    { device_id: 'plc-7', event_id: 'm-2', temperature: 22 }
  ])
})

test('mosquitto_pub with QoS 2 is archived once', async () => {
  const gateway = await startGateway(join(tempDir(), 'data'))
  const reading = JSON.stringify({ event_id: 'q2', event_time: Date.now(), profile: 'rotating-machine', temperature: 20, vibration: 1 })
  expect(
    program('mosquitto_pub', ['-p', String(gateway.mqttPort), '-i', 'plc-7', '-q', '2', '-t', 'tm/1/plc-7/json', '-m', reading]).status
  ).toBe(0)
  await gateway.stop()
  expect(await query(gateway.dataDir, 'SELECT event_id FROM readings')).toEqual([{ event_id: 'q2' }])
})

test('mosquitto_sub sees the birth of an agent, retained, and its death when it is killed', async () => {
  const dir = tempDir()
  const gateway = await startGateway(join(dir, 'data'))
  const agent = run(CLI.agent, ['start', '--config', agentConfig(dir, gateway.mqttUrl)])
  await until('the agent to connect', async () => (await gateway.metric('tidemark_connections')) === 1)
  const status = () =>
    program('mosquitto_sub', ['-p', String(gateway.mqttPort), '-i', 'dashboard', '-t', 'tm/1/press-1/status', '-C', '1', '-W', '5']).stdout
  const birth = await until('a birth', () => JSON.parse(status() || 'null'))
  expect(birth).toMatchObject({ state: 'online', profiles: [{ name: 'rotating-machine', version: 1 }] })
  agent.child.kill('SIGKILL')
  const death = await until('a death', () => {
    const said = JSON.parse(status())
    return said.state === 'offline' ? said : null
  })
  expect(death).toEqual({ state: 'offline', session: birth.session })
})

test('an agent publishes to a mosquitto broker what any subscriber can decode', async () => {
  const dir = tempDir()
  const broker = await startMosquitto(dir)
  const listener = await mqtt.connectAsync(broker)
  onTestFinished(() => {
    listener.end(true)
  })
  const temperatures: number[] = []
  listener.on('message', (_topic, payload) => {
    const batch = decodeBatch(payload, () => ROTATING_MACHINE)
    if (batch !== null && batch.header.seqs.length > 0) temperatures.push(...(batch.columns[0].values as Float64Array))
  })
  await listener.subscribeAsync('tm/1/+/batch', { qos: 1 })
  const agent = run(CLI.agent, ['start', '--config', agentConfig(dir, broker)])
  await until('five readings', () => temperatures.length >= 5)
  agent.child.kill('SIGTERM')
  expect(await agent.exit).toBe(0)
  for (const temperature of temperatures) expect(temperature).toBeGreaterThan(0)
})

function agentConfig(dir: string, url: string): string {
  const path = join(dir, 'agent.yaml')
  const config = {
    device_id: 'press-1',
    gateway: { url },
    profile: 'rotating-machine',
    buffer: { path: 'press-1.sqlite' },
    source: { type: 'simulated', seed: 7 },
    interval: '100ms'
  }
  writeFileSync(path, JSON.stringify(config))
  return path
}

/** A broker on a free port, without persistence; resolves with its URL. */
async function startMosquitto(dir: string): Promise<string> {
  const port = await freePort()
  const config = join(dir, 'mosquitto.conf')
  writeFileSync(config, `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\n`)
  const broker = spawn('mosquitto', ['-c', config], { stdio: 'ignore' })
  onTestFinished(() => {
    broker.kill('SIGKILL')
  })
  const url = `mqtt://127.0.0.1:${port}`
  const probe = await mqtt.connectAsync(url, { reconnectPeriod: 50 })
  await probe.endAsync()
  return url
}
