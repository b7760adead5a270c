import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import mqtt, { type MqttClient } from 'mqtt'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type MqttSourceConfig, openMqtt } from '../../../agent/src/sources/mqtt.js'
import type { LiveSource } from '../../../agent/src/sources/source.js'
import { freePort } from '../../kit/free-port.js'
import { measureOnce, never, profileOf, temporaryFolder, until } from '../kit.js'

const MOSQUITTO = ['/usr/sbin/mosquitto', '/usr/bin/mosquitto', '/opt/homebrew/sbin/mosquitto'].find(path => existsSync(path))
if (MOSQUITTO === undefined) console.warn('SKIPPED: the mqtt source is not tested, because mosquitto is missing: apt-get install mosquitto')

const plain = { scale: 1, offset: 0 }
const METRICS = {
  temperature: { topic: 'zigbee2mqtt/pump', path: 'temperature', ...plain },
  battery: { topic: 'zigbee2mqtt/pump', path: 'battery', ...plain },
  power: { topic: 'tele/plug/SENSOR', path: 'ENERGY.Power', scale: 0.001, offset: 0 },
  phase: { topic: 'tele/plug/SENSOR', path: 'ENERGY.Current[1]', ...plain },
  flow: { topic: 'boiler/sensor/flow/state', ...plain },
  valve: { topic: 'stat/valve/POWER', ...plain }
}
const PROFILE = profileOf('temperature', 'battery', 'power', 'phase', 'flow', { name: 'valve', type: 'bool' })

/** mosquitto on a free port, with or without a password. */
async function startBroker(port: number, password?: string): Promise<() => Promise<void>> {
  const folder = await temporaryFolder()
  const file = join(folder, 'mosquitto.conf')
  let access = 'allow_anonymous true'
  if (password !== undefined) {
    spawnSync('mosquitto_passwd', ['-b', '-c', join(folder, 'passwords'), 'agent', password])
    access = `allow_anonymous false\npassword_file ${join(folder, 'passwords')}`
  }
  await writeFile(file, `listener ${port} 127.0.0.1\n${access}\nuser root\n`)
  const child = spawn(MOSQUITTO!, ['-c', file], { stdio: 'ignore' })
  const stop = async () => {
    child.kill('SIGKILL')
    await until(() => child.exitCode !== null || child.signalCode !== null)
  }
  onTestFinished(stop)
  let isUp = false
  while (!isUp) {
    isUp = await new Promise<boolean>(resolve => {
      const socket = connectSocket(port, '127.0.0.1')
      socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
      socket.on('connect', () => socket.destroy())
    })
  }
  return stop
}

async function publisher(port: number): Promise<MqttClient> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`)
  onTestFinished(() => client.endAsync(true))
  return client
}

function open(port: number, changes: Partial<MqttSourceConfig> = {}): LiveSource {
  const source = openMqtt({ url: `mqtt://127.0.0.1:${port}`, max_age: 60_000, retained: false, metrics: METRICS, ...changes }, PROFILE)
  onTestFinished(() => source.close())
  return source
}

/** Measures until a condition holds. */
async function measureUntil(source: LiveSource, condition: (measured: Awaited<ReturnType<typeof measureOnce>>) => boolean) {
  for (;;) {
    const measured = await measureOnce(source)
    if (condition(measured)) return measured
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

describe.runIf(MOSQUITTO !== undefined)('the mqtt source, at mosquitto,', () => {
  test('understands zigbee2mqtt, Tasmota and ESPHome', async () => {
    const port = await freePort()
    await startBroker(port)
    const source = open(port)
    const first = await measureOnce(source)
    expect(first.values).toEqual({})
    expect(first.problems).toContain('flow: nothing new on boiler/sensor/flow/state')
    const client = await publisher(port)
    const messages: [string, string][] = [
      ['zigbee2mqtt/pump', '{"battery":87,"linkquality":120,"temperature":21.37,"voltage":2900}'],
      ['tele/plug/SENSOR', '{"Time":"2026-11-24T13:00:00","ENERGY":{"Power":1250,"Current":[0.5,1.25]},"TempUnit":"C"}'],
      ['boiler/sensor/flow/state', '4.75'],
      ['stat/valve/POWER', 'ON']
    ]
    for (const [topic, text] of messages) await client.publishAsync(topic, text, { qos: 1 })
    const { values } = await measureUntil(source, ({ problems }) => problems.length === 0)
    expect(values).toEqual({ temperature: 21.37, battery: 87, power: 1.25, phase: 1.25, flow: 4.75, valve: true })
  })

  test('gives null for what is not there, is no number, or says that it is unknown', async () => {
    const port = await freePort()
    await startBroker(port)
    const source = open(port)
    await measureOnce(source)
    const client = await publisher(port)
    await client.publishAsync('zigbee2mqtt/pump', '{"temperature":null}', { qos: 1 })
    await client.publishAsync('tele/plug/SENSOR', 'Offline', { qos: 1 })
    await client.publishAsync('boiler/sensor/flow/state', 'nan', { qos: 1 })
    await client.publishAsync('stat/valve/POWER', 'ajar', { qos: 1 })
    const { values, problems } = await measureUntil(source, measured => !measured.problems.some(text => text.includes('nothing new')))
    expect(values).toEqual({})
    expect([...problems].sort()).toEqual([
      'battery: there is no battery',
      'flow: "nan" is no float',
      'phase: "Offline" is no JSON',
      'power: "Offline" is no JSON',
      'temperature: temperature is null',
      'valve: "ajar" is no bool'
    ])
  })

  test('believes no retained message unless it is told to, and nothing that is too old', async () => {
    const port = await freePort()
    await startBroker(port)
    const client = await publisher(port)
    await client.publishAsync('boiler/sensor/flow/state', '1', { qos: 1, retain: true })
    const believing = open(port, { retained: true })
    const { values } = await measureUntil(believing, measured => measured.values.flow !== undefined)
    expect(values.flow).toBe(1)
    const doubting = open(port)
    await measureOnce(doubting)
    await client.publishAsync('stat/valve/POWER', 'OFF', { qos: 1 })
    expect((await measureUntil(doubting, measured => measured.values.valve === false)).values).toEqual({ valve: false })
    const forgetful = open(port, { max_age: 1, retained: true })
    await measureUntil(forgetful, ({ problems }) => problems.includes('flow: nothing new on boiler/sensor/flow/state'))
  })

  test('says why it cannot connect, never with the password, and connects when the broker is back', async () => {
    const port = await freePort()
    const source = open(port)
    await expect(source.measure(never())).rejects.toThrow(`mqtt://127.0.0.1:${port}: nothing listens there`)
    await source.close()
    await startBroker(port, 'open-sesame')
    const refused = open(port, { url: `mqtt://agent:wrong-word@127.0.0.1:${port}` })
    const error = await refused.measure(never()).catch(String)
    expect(error).toMatch(/[Nn]ot authori[sz]ed/)
    expect(error).not.toMatch(/wrong-word|agent/)
    expect((await measureOnce(open(port, { url: `mqtt://agent:open-sesame@127.0.0.1:${port}` }))).problems).not.toEqual([])
  })
})
