/** A broker for tests: aedes on a free port, which remembers what it took in and can be told to lose connections. */
import { createServer, type Socket } from 'node:net'
import { Aedes } from 'aedes'

export interface Received {
  readonly deviceId: string
  readonly payload: Uint8Array
  readonly isRedelivery: boolean
}

/** What to do with the n-th PUBLISH (from 1): ack it, take it in but lose its PUBACK, or lose it with its connection. */
export type Verdict = 'ack' | 'lose-ack' | 'lose'

export interface TestBroker {
  readonly url: string
  readonly port: number
  readonly received: Received[]
  readonly sockets: Set<Socket>
  /** Loses all connections, and new ones at once, until it is up again. */
  setUp(isUp: boolean): void
  close(): Promise<void>
}

export async function startBroker(judge: (n: number) => Verdict = () => 'ack', refuses = false): Promise<TestBroker> {
  const broker = await Aedes.createBroker()
  const received: Received[] = []
  const sockets = new Set<Socket>()
  let publishes = 0
  let isUp = true
  broker.authenticate = (_client, _name, _password, done) => done(null, !refuses)
  broker.authorizePublish = (client, packet, done) => {
    const verdict = judge(++publishes)
    if (verdict !== 'lose') {
      const [, , deviceId] = packet.topic.split('/')
      received.push({ deviceId, payload: Uint8Array.from(packet.payload as Buffer), isRedelivery: packet.dup })
    }
    if (verdict === 'ack') return done(null)
    client?.conn.destroy()
    done(new Error('lost'))
  }
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    if (isUp) broker.handle(socket)
    else socket.destroy()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the broker has no port')
  return {
    url: `mqtt://127.0.0.1:${address.port}`,
    port: address.port,
    received,
    sockets,
    setUp: up => {
      isUp = up
      if (!up) for (const socket of sockets) socket.destroy()
    },
    close: async () => {
      const closed = new Promise(resolve => server.close(resolve))
      await new Promise<void>(resolve => broker.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    }
  }
}
