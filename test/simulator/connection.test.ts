import { createServer } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { BrokerRefusedError, Connection, type ConnectionEvents } from '../../simulator/src/connection.js'
import { KEEPALIVE_S, SILENCE_MS_MAX } from '../../simulator/src/limits.js'
import { startBroker, type TestBroker } from './mqtt-broker.js'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

async function brokerFor(...options: Parameters<typeof startBroker>): Promise<TestBroker> {
  const broker = await startBroker(...options)
  cleanups.push(() => broker.close())
  return broker
}

/** A connection that opens again whenever it is lost, and what happened to it. */
function openConnection(port: number, reopens = true) {
  const acked: number[] = []
  const causes: (Error | null)[] = []
  const seen = { opened: 0, redelivered: 0 }
  const events: ConnectionEvents<number> = {
    onOpen: (_, redelivered) => {
      seen.opened++
      seen.redelivered += redelivered
    },
    onAcked: (_, tag) => acked.push(tag),
    onDrain: () => {},
    onClosed: (closed, cause) => {
      causes.push(cause)
      if (cause !== null && reopens) closed.open({ host: '127.0.0.1', port })
    }
  }
  const connection = new Connection<number>(0, 'sim-000000', events)
  connection.open({ host: '127.0.0.1', port })
  cleanups.unshift(async () => {
    connection.close()
    await vi.waitFor(() => expect(connection.isClosed).toBe(true))
  })
  return { connection, acked, causes, seen }
}

describe('a connection', () => {
  test('publishes with QoS 1 and tells what was acked', async () => {
    const broker = await brokerFor()
    const { connection, acked } = openConnection(broker.port)
    await vi.waitFor(() => expect(connection.isOpen).toBe(true))
    for (let n = 1; n <= 50; n++) connection.publish('tm/1/sim-000000/batch', Uint8Array.of(n), n)
    expect(connection.inFlight.length).toBe(50)
    await vi.waitFor(() => expect(acked.length).toBe(50))
    expect(connection.inFlight.length).toBe(0)
    expect(broker.received.map(({ payload }) => payload[0])).toEqual(acked)
  })

  test('sends all again that was not acked when it was lost, marked, in order, and loses nothing', async () => {
    const broker = await brokerFor(n => (n === 20 || n === 50 ? 'lose' : n === 100 ? 'lose-ack' : 'ack'))
    const { connection, acked, seen } = openConnection(broker.port)
    await vi.waitFor(() => expect(connection.isOpen).toBe(true))
    for (let n = 1; n <= 60; n++) connection.publish('tm/1/sim-000000/batch', Uint8Array.of(n), n)
    await vi.waitFor(() => expect(acked.length).toBe(60), 20_000)
    expect([...acked].sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1))
    expect(new Set(broker.received.map(({ payload }) => payload[0])).size).toBe(60)
    expect(seen.opened).toBeGreaterThan(2)
    expect(seen.redelivered).toBeGreaterThan(10)
    expect(broker.received.some(({ isRedelivery }) => isRedelivery)).toBe(true)
    const firsts = broker.received.filter(({ payload }, i) => broker.received.findIndex(other => other.payload[0] === payload[0]) === i)
    expect(firsts.map(({ payload }) => payload[0])).toEqual(Array.from({ length: 60 }, (_, i) => i + 1))
  })

  test('reports a refusal as such', async () => {
    const broker = await brokerFor(() => 'ack', true)
    const { causes } = openConnection(broker.port, false)
    await vi.waitFor(() => expect(causes.length).toBe(1))
    expect(causes[0]).toBeInstanceOf(BrokerRefusedError)
    expect(causes[0]?.message).toMatch(/refuses sim-000000: not authorised/)
  })

  test('closes with a goodbye, so that its owner hears of no failure', async () => {
    const broker = await brokerFor()
    const { connection, causes } = openConnection(broker.port)
    await vi.waitFor(() => expect(connection.isOpen).toBe(true))
    connection.close()
    await vi.waitFor(() => expect(causes).toEqual([null]))
    expect(broker.sockets.size).toBe(0)
  })

  test('pings when it has been quiet, and is content with an answer', async () => {
    const broker = await brokerFor()
    const { connection, causes, seen } = openConnection(broker.port)
    await vi.waitFor(() => expect(connection.isOpen).toBe(true))
    const [socket] = broker.sockets
    const before = socket.bytesRead
    connection.watch(performance.now() + KEEPALIVE_S * 499)
    connection.watch(performance.now() + KEEPALIVE_S * 501)
    await vi.waitFor(() => expect(socket.bytesRead).toBe(before + 2)) // one PINGREQ
    await vi.waitFor(() => {
      // Once PINGRESP is in, silence is no fault any more, however long the next watch takes to come.
      connection.watch(performance.now() + 1)
      expect(socket.bytesWritten).toBeGreaterThan(4)
    })
    expect(causes).toEqual([])
    expect(seen.opened).toBe(1)
  })

  test('gives up a broker that does not answer', async () => {
    const deaf = createServer(socket => socket.resume())
    await new Promise<void>(resolve => deaf.listen(0, '127.0.0.1', resolve))
    cleanups.push(() => new Promise(resolve => deaf.close(resolve)))
    const address = deaf.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    const { connection, causes } = openConnection(address.port, false)
    connection.watch(performance.now() + SILENCE_MS_MAX - 1000)
    expect(causes).toEqual([])
    connection.watch(performance.now() + SILENCE_MS_MAX + 1000)
    await vi.waitFor(() => expect(causes[0]?.message).toMatch(/silent for 90 s/))
  })

  test('stops taking data when the socket does not, until it drains', async () => {
    const slow = createServer(socket => {
      socket.write(Buffer.from([0x20, 2, 0, 0])) // CONNACK, then nothing is read
      socket.pause()
      cleanups.unshift(async () => socket.destroy())
    })
    await new Promise<void>(resolve => slow.listen(0, '127.0.0.1', resolve))
    cleanups.push(() => new Promise(resolve => slow.close(resolve)))
    const address = slow.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    const { connection } = openConnection(address.port, false)
    await vi.waitFor(() => expect(connection.isWritable).toBe(true))
    const payload = new Uint8Array(60_000)
    for (let n = 0; n < 2000 && connection.isWritable; n++) connection.publish('tm/1/sim-000000/batch', payload, n)
    expect(connection.isOpen).toBe(true)
    expect(connection.isWritable).toBe(false)
    expect(connection.inFlight.length).toBeLessThan(2000)
  })
})
