/** What a front sends its clients past Node's stream. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, onTestFinished, test, vi } from 'vitest'
import { ClientSocket } from '../../../gateway/src/front/client-socket.js'

interface Pair {
  /** The front's end. */
  readonly socket: ClientSocket
  readonly client: Socket
}

/** A server's way to a further client. */
async function host(): Promise<() => Promise<Pair>> {
  const server = createServer({ pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close()) // it would wait for the sockets whose handles were taken
  return async () => {
    const accepted = once(server, 'connection')
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const socket = new ClientSocket(((await accepted) as [Socket])[0])
    socket.reader = { feed: () => {} }
    socket.on('error', () => {})
    socket.resume()
    onTestFinished(() => {
      client.destroy()
      socket.destroy()
    })
    return { socket, client }
  }
}

test('all of it comes in order, though the kernel now and then takes only a part, and bytes are used again at once', async () => {
  const { socket, client } = await (await host())()
  const taken: Buffer[] = []
  client.pause().on('data', bytes => taken.push(Buffer.from(bytes)))
  const sent: Buffer[] = []
  const bytes = Buffer.alloc(50_000)
  let refused = 0
  for (let round = 0; round < 3; round++) {
    for (let isFull = false; !isFull; ) {
      bytes.fill(sent.length)
      sent.push(Buffer.from(bytes))
      isFull = !socket.send(bytes)
    }
    refused++
    bytes.fill(255)
    sent.push(Buffer.from(bytes))
    expect(socket.send(bytes)).toBe(false) // behind what waits
    const drained = once(socket, 'drain')
    client.resume()
    await drained
    client.pause()
  }
  client.resume()
  const all = Buffer.concat(sent)
  await vi.waitFor(() => expect(taken.reduce((sum, { length }) => sum + length, 0)).toBe(all.length), 10_000)
  expect(Buffer.concat(taken).equals(all)).toBe(true)
  expect(refused).toBe(3)
})

test('nothing overtakes what waits, though the kernel has room again by then', async () => {
  const { socket, client } = await (await host())()
  const taken: Buffer[] = []
  const more = Array.from({ length: 200 }, (_, n) => Buffer.alloc(10, n))
  let next = 0
  client.on('data', bytes => {
    taken.push(Buffer.from(bytes))
    if (next < more.length) socket.send(more[next++])
  })
  const large = Buffer.alloc(20_000_000, 255)
  expect(socket.send(large)).toBe(false)
  const all = Buffer.concat([large, ...more])
  await vi.waitFor(() => expect(taken.reduce((sum, { length }) => sum + length, 0)).toBe(all.length), 10_000)
  expect(Buffer.concat(taken).equals(all)).toBe(true)
})

test('the stream is left out while the kernel takes all, and again when it has caught up', async () => {
  const { socket, client } = await (await host())()
  client.resume()
  const write = vi.spyOn(socket, 'write')
  expect(socket.send(Buffer.from('abc'))).toBe(true)
  expect(write).not.toHaveBeenCalled()
  expect(socket.send(Buffer.alloc(20_000_000))).toBe(false)
  expect(write).toHaveBeenCalledOnce()
  await vi.waitFor(() => expect(socket.send(Buffer.from('abc'))).toBe(true), 10_000)
})

test('nothing goes to whoever has got the descriptor of a client that has gone', async () => {
  const fdOf = (socket: Socket) => (socket as unknown as { _handle: { fd: number } })._handle.fd
  const admit = await host()
  const gone = await admit()
  const fd = fdOf(gone.socket)
  gone.socket.destroy()
  const others: Pair[] = []
  while (!others.some(({ socket, client }) => fdOf(socket) === fd || fdOf(client) === fd)) {
    expect(others.length).toBeLessThan(50)
    others.push(await admit())
  }
  const heard: string[] = []
  for (const { client, socket } of others) {
    client.on('data', bytes => heard.push(bytes.toString()))
    socket.reader = { feed: bytes => heard.push(bytes.toString()) }
  }
  gone.socket.send(Buffer.from('stray'))
  for (const { client, socket } of others) {
    socket.send(Buffer.from('meant'))
    client.write('meant')
  }
  await vi.waitFor(() => expect(heard.length).toBe(2 * others.length))
  expect(new Set(heard)).toEqual(new Set(['meant']))
})
