/** The front with a log that the test decides about: what is acked, what is held back. */
import { describe, expect, test } from 'vitest'
import { until } from '../../kit/until.js'
import { startFront } from './kit.js'

describe.each([
  ['light sessions', true],
  ['aedes', false]
])('served by %s', (_name, lightSessions) => {
  const start = () => startFront({ lightSessions })

  test('no PUBACK is written before the log says that the frame is durable', async () => {
    const { log, connect } = await start()
    const client = await connect('press-1')
    let acked = false
    const publish = client.publishAsync('tm/1/press-1/batch', 'x', { qos: 1 }).then(() => (acked = true))
    await until('the append', () => log.frames.length === 1)
    expect(log.frames[0]).toMatchObject({ kind: 'batch', deviceId: 'press-1', payload: 'x' })
    await client.subscribeAsync('tm/1/press-1/ack') // a round trip: a PUBACK would have come before it
    expect(acked).toBe(false)
    log.answer(null)
    await publish
  })

  test('a relay publishes for any device, which is whose reading it is', async () => {
    const { log, front, connect } = await startFront({ lightSessions, relays: ['site-*'] })
    const relay = await connect('site-1')
    for (const device of ['press-1', 'press-2']) relay.publish(`tm/1/${device}/batch`, 'x', { qos: 1 })
    await until('both appends', () => log.frames.length === 2)
    expect(log.frames.map(({ deviceId }) => deviceId)).toEqual(['press-1', 'press-2'])
    const other = await connect('press-3')
    const closed = new Promise<void>(resolve => other.once('close', () => resolve()))
    other.publish('tm/1/press-1/batch', 'x', { qos: 1 })
    await closed
    expect(front.stats.refused['topic-of-another-device']).toBe(1)
    log.answer(null)
  })

  test('a relay is given what is meant for the devices behind it: what is kept, what changes, what is told', async () => {
    const { log, presence, connect } = await startFront({ lightSessions, relays: ['site-*'] })
    log.answerAlways()
    presence.setConfig('press-1', Buffer.from('kept'))
    const relay = await connect('site-1')
    const heard: string[] = []
    relay.on('message', (topic, payload, { retain }) => heard.push(`${topic} ${payload}${retain ? ' *' : ''}`))
    await relay.subscribeAsync(['tm/1/+/config', 'tm/1/+/ack'], { qos: 1 })
    await until('what is kept', () => heard.length === 1)
    presence.setConfig('press-2', Buffer.from('new'))
    await until('what is new', () => heard.length === 2)
    await relay.publishAsync('tm/1/press-2/status', JSON.stringify({ state: 'online', session: 's', epoch: 1, agent: '', profiles: [] }), {
      qos: 1,
      retain: true
    })
    await until('the answer to the birth', () => heard.length === 3)
    expect(heard.slice(0, 2)).toEqual(['tm/1/press-1/config kept *', 'tm/1/press-2/config new'])
    expect(heard[2]).toMatch(/^tm.1.press-2.ack \{"time_ms":\d+\}$/)
    const own = await connect('press-2')
    await own.subscribeAsync('tm/1/press-2/config', { qos: 1 })
    presence.setConfig('press-2', Buffer.from('its own'))
    presence.setConfig('press-3', Buffer.from('last'))
    await until('what is last', () => heard.at(-1) === 'tm/1/press-3/config last')
  })

  test('what the log refuses is not acked: the connection ends, and the device keeps it', async () => {
    const { log, front, connect } = await start()
    const client = await connect('press-1')
    const closed = new Promise<void>(resolve => client.once('close', () => resolve()))
    let acked = false
    client.publish('tm/1/press-1/batch', 'x', { qos: 1 }, error => (acked = !error))
    await until('the append', () => log.frames.length === 1)
    log.answer(new Error('disk full'))
    await closed
    expect(acked).toBe(false)
    expect(front.stats.refused.log).toBe(1)
  })

  test('a client that sends on without PUBACKs is no longer read, and read again when they are there', async () => {
    const { log, connect } = await start()
    const client = await connect('press-1')
    const count = 20_000
    const payload = Buffer.alloc(10, 'x')
    const published = Promise.all(Array.from({ length: count }, () => client.publishAsync('tm/1/press-1/batch', payload, { qos: 1 })))
    await until('the first appends', () => log.frames.length > 0)
    const bystander = await connect('press-2')
    await bystander.subscribeAsync('tm/1/press-2/ack') // others are served meanwhile
    expect(log.frames.length).toBeLessThan(count / 4) // the bound, and the chunk of the stream that had been read
    log.answerAlways()
    await published
  })

  test('while the log is full, clients are held, and go on when it is not', async () => {
    const { log, connect } = await start()
    log.isFull = true
    const client = await connect('press-1')
    const first = client.publishAsync('tm/1/press-1/batch', 'first', { qos: 1 })
    await until('the first append', () => log.frames.length === 1)
    const second = client.publishAsync('tm/1/press-1/batch', 'second', { qos: 1 })
    const bystander = await connect('press-2')
    await bystander.subscribeAsync('tm/1/press-2/ack')
    expect(log.frames).toHaveLength(1)
    log.isFull = false
    log.answer(null)
    await first
    await until('the second append', () => log.frames.length === 1)
    log.answer(null)
    await second
  })

  test("an old session's death does not bury a new birth", async () => {
    const { log, connect } = await start()
    log.answerAlways()
    const birth = (session: string) => JSON.stringify({ state: 'online', session, epoch: 1, agent: 'test', profiles: [] })
    const death = (session: string) => JSON.stringify({ state: 'offline', session })
    const topic = 'tm/1/press-1/status'
    const old = await connect('press-1', death('old'))
    await old.publishAsync(topic, birth('old'), { qos: 1, retain: true })
    const taken = new Promise<void>(resolve => old.once('close', () => resolve()))
    const fresh = await connect('press-1', death('new')) // takes the session over: the old will is due
    await fresh.publishAsync(topic, birth('new'), { qos: 1, retain: true })
    await taken
    const listener = await connect('dashboard')
    const statuses: string[] = []
    listener.on('message', (_topic, payload) => statuses.push(String(payload)))
    await listener.subscribeAsync(topic)
    await until('the retained status', () => statuses.length > 0)
    expect(statuses).toEqual([birth('new')])
    fresh.stream.destroy()
    await until('its own death', () => statuses.includes(death('new')))
  })
})
