/** What light sessions do beyond what aedes does as well: they cost no client object, and they hand on what they do not serve. */
import { connect as dial } from 'node:net'
import mqttPacket from 'mqtt-packet'
import { expect, onTestFinished, test, vi } from 'vitest'
import { AedesSessions } from '../../../gateway/src/front/aedes-sessions.js'
import { CONNECT_MS_MAX } from '../../../gateway/src/front/bounds.js'
import { LightSession } from '../../../gateway/src/front/light-session.js'
import { until } from '../../kit/until.js'
import { startFront } from './kit.js'

const death = JSON.stringify({ state: 'offline', session: 's' })

test('a device is served without aedes, a dashboard with it', async () => {
  const { log, front, connect } = await startFront()
  log.answerAlways()
  const device = await connect('press-1', death)
  await device.subscribeAsync(['tm/1/press-1/config', 'tm/1/press-1/ack'], { qos: 1 })
  await device.publishAsync('tm/1/press-1/batch', 'x', { qos: 1 })
  await device.unsubscribeAsync('tm/1/press-1/config')
  expect(front.snapshot()).toMatchObject({ connections: 1, lightSessions: 1 })
  const dashboard = await connect('dashboard')
  expect(front.snapshot()).toMatchObject({ connections: 2, lightSessions: 2 })
  await dashboard.subscribeAsync('tm/1/+/status')
  expect(front.snapshot()).toMatchObject({ connections: 2, lightSessions: 1 })
})

test('who asks for more goes to aedes once all is acked, with its subscriptions and its will', async () => {
  const { log, front, presence, connect } = await startFront()
  presence.setConfig('press-1', Buffer.from('kept'))
  const device = await connect('press-1', death)
  const heard: string[] = []
  device.on('message', (topic, payload) => heard.push(`${topic} ${payload}`))
  await device.subscribeAsync(['tm/1/press-1/config', 'tm/1/press-1/ack'], { qos: 1 })
  let acked = false
  const first = device.publishAsync('tm/1/press-1/batch', 'qos 1', { qos: 1 }).then(() => (acked = true))
  await until('the append', () => log.frames.length === 1)
  const second = device.publishAsync('tm/1/press-1/batch', 'qos 2', { qos: 2 })
  const third = device.publishAsync('tm/1/press-1/batch', 'behind it', { qos: 1 })
  const bystander = await connect('press-2')
  await bystander.subscribeAsync('tm/1/press-2/ack') // others are served meanwhile
  expect(front.snapshot().lightSessions).toBe(2)
  expect(acked).toBe(false)
  log.answerAlways()
  await Promise.all([first, second, third])
  expect(front.snapshot()).toMatchObject({ connections: 2, lightSessions: 1 })
  expect(log.appended.toSorted()).toEqual(['batch press-1 behind it', 'batch press-1 qos 1', 'batch press-1 qos 2'])
  presence.tell('press-1', { epoch_spent: 7 })
  await until('what is told', () => heard.length === 2)
  expect(heard).toEqual(['tm/1/press-1/config kept', 'tm/1/press-1/ack {"epoch_spent":7}']) // what was kept came once
  device.stream.destroy()
  await until('the will', () => log.appended.includes(`status press-1 ${death}`))
})

test('what comes down to a device while it goes to aedes reaches it, in order', async () => {
  const { log, front, presence, connect } = await startFront()
  const device = await connect('press-1', death)
  const heard: number[] = []
  device.on('message', (_topic, payload) => heard.push(JSON.parse(String(payload)).epoch_spent))
  await device.subscribeAsync('tm/1/press-1/ack', { qos: 1 })
  const tell = (epoch: number) => presence.tell('press-1', { epoch_spent: epoch })
  const accept = AedesSessions.prototype.accept
  const accepting = vi.spyOn(AedesSessions.prototype, 'accept').mockImplementation(function (this: AedesSessions, ...args) {
    accept.apply(this, args)
    tell(2) // aedes has not read its CONNECT
  })
  onTestFinished(() => accepting.mockRestore())
  const register = front.register.bind(front)
  vi.spyOn(front, 'register').mockImplementation((...args) => {
    register(...args)
    tell(3) // its subscriptions do not hold again
  })
  device.publish('tm/1/press-1/batch', 'qos 1', { qos: 1 })
  await until('the append', () => log.frames.length === 1)
  const second = device.publishAsync('tm/1/press-1/batch', 'qos 2', { qos: 2 })
  const bystander = await connect('press-2')
  await bystander.publishAsync('tm/1/press-2/batch', 'qos 0', { qos: 0 })
  await until('what was sent behind it', () => log.frames.length === 2)
  heard.length = 0
  tell(1) // it waits for its PUBACK
  await until('what it is told meanwhile', () => heard.length === 1)
  expect(front.snapshot().lightSessions).toBe(2)
  log.answerAlways()
  await second
  tell(4)
  await until('all that it was told', () => heard.at(-1) === 4)
  expect(heard).toEqual([1, 2, 3, 4])
  expect(front.snapshot().lightSessions).toBe(1)
})

test('a connection that is lost on its way to aedes has its will appended once', async () => {
  const { log, front, port } = await startFront()
  log.answerAlways()
  const devices = Array.from({ length: 40 }, (_, i) => `press-${i}`)
  for (const [i, clientId] of devices.entries()) {
    const will = { topic: `tm/1/${clientId}/status`, payload: Buffer.from(death), qos: 1 as const, retain: true }
    const hello = mqttPacket.generate({ cmd: 'connect', clientId, protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 0, will })
    const subscribe = mqttPacket.generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'tm/1/+/status', qos: 0 }] })
    const socket = dial(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(hello)
    socket.once('data', () => {
      socket.write(subscribe)
      if (i % 2 === 0) socket.resetAndDestroy()
      else socket.destroySoon()
    })
  }
  await until('the wills', () => log.appended.length >= devices.length)
  await until('all connections to end', () => front.snapshot().connections === 0)
  expect(log.appended.toSorted()).toEqual(devices.map(device => `status ${device} ${death}`).toSorted())
})

test('a device that is silent for longer than its keepalive allows is ended, with its will; one that pings is not', async () => {
  const { log, connect } = await startFront()
  log.answerAlways()
  const lively = await connect('press-1', death, { keepalive: 1 })
  const silent = await connect('press-2', death, { keepalive: 0 })
  const ended = new Promise<void>(resolve => silent.once('close', () => resolve()))
  await connectSilently(silent.options.port!, 'press-3')
  await until('the will of the silent one', () => log.appended.includes('status press-3 gone'))
  expect(log.appended).toEqual(['status press-3 gone'])
  expect(lively.connected && silent.connected).toBe(true)
  silent.stream.destroy()
  await ended
})

test('a connection that never comes to the end of its CONNECT is ended, however steadily it sends', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  onTestFinished(() => {
    vi.useRealTimers()
  })
  const { front, port } = await startFront()
  const feed = vi.spyOn(LightSession.prototype, 'feed')
  onTestFinished(() => feed.mockRestore())
  const socket = dial(port, '127.0.0.1')
  let isClosed = false
  socket.on('error', () => {})
  socket.on('close', () => (isClosed = true))
  socket.resume()
  const hello = mqttPacket.generate({ cmd: 'connect', clientId: 'a', protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 0 })
  for (let i = 0; i < 3; i++) {
    socket.write(hello.subarray(i, i + 1))
    await until('the byte to be read', () => feed.mock.calls.length === i + 1)
    expect(front.snapshot().connections).toBe(1)
    vi.advanceTimersByTime(CONNECT_MS_MAX / 2 - 1000)
  }
  vi.advanceTimersByTime(CONNECT_MS_MAX / 2)
  await until('the end of the connection', () => isClosed)
})

/** A client that says CONNECT, with a keepalive of one second, and nothing more. */
function connectSilently(port: number, clientId: string): Promise<void> {
  const will = { topic: `tm/1/${clientId}/status`, payload: Buffer.from('gone'), qos: 1 as const, retain: true }
  const socket = dial(port, '127.0.0.1')
  onTestFinished(() => {
    socket.destroy()
  })
  socket.write(mqttPacket.generate({ cmd: 'connect', clientId, protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 1, will }))
  return new Promise(resolve => socket.once('data', () => resolve()))
}

test('the PUBACKs of a wave are written at once', async () => {
  const { log, port } = await startFront()
  const socket = dial(port, '127.0.0.1')
  onTestFinished(() => {
    socket.destroy()
  })
  const chunks: Buffer[] = []
  socket.on('data', chunk => chunks.push(chunk))
  socket.write(mqttPacket.generate({ cmd: 'connect', clientId: 'a', protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 0 }))
  await until('CONNACK', () => chunks.length === 1)
  const ids = Array.from({ length: 50 }, (_, i) => i + 1)
  for (const messageId of ids) {
    const publish = { cmd: 'publish' as const, topic: 'tm/1/a/batch', payload: 'x', qos: 1 as const, dup: false, retain: false }
    socket.write(mqttPacket.generate({ ...publish, messageId }))
  }
  await until('the appends', () => log.frames.length === ids.length)
  log.answer(null)
  await until('all PUBACKs', () => Buffer.concat(chunks).length === 4 + 4 * ids.length)
  expect(chunks).toHaveLength(2)
})
