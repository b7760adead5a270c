import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { received, WireSocket } from '../../simulator/src/wire-socket.js'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

async function serverOf(onSocket: (socket: Socket) => void): Promise<number> {
  const server = createServer(onSocket)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => new Promise(resolve => server.close(resolve)))
  return (server.address() as AddressInfo).port
}

async function connected(port: number, onReceived: (length: number) => void = () => {}): Promise<WireSocket> {
  const socket = new WireSocket({ onReceived })
  cleanups.unshift(async () => socket.destroy())
  socket.connect({ host: '127.0.0.1', port, noDelay: true })
  await once(socket, 'connect')
  return socket
}

describe('a socket on the wire', () => {
  test('sends everything in order, though the kernel now and then takes only a part', async () => {
    const taken: Buffer[] = []
    let peer: Socket | undefined
    const port = await serverOf(socket => {
      peer = socket
      socket.pause().on('data', bytes => taken.push(Buffer.from(bytes)))
    })
    const socket = await connected(port)
    const sent: Buffer[] = []
    let congested = 0
    for (let n = 0; n < 3; n++) {
      for (let isFull = false; !isFull; ) {
        const bytes = Buffer.alloc(50_000 + sent.length, sent.length)
        sent.push(bytes)
        isFull = !socket.send(bytes, 0, bytes.length)
      }
      congested++
      const drained = once(socket, 'drain')
      await vi.waitFor(() => expect(peer).toBeDefined())
      peer!.resume()
      await drained
      peer!.pause()
    }
    socket.send(Buffer.from('<<the end>>'), 2, 9)
    peer!.resume()
    const all = Buffer.concat([...sent, Buffer.from('the end')])
    await vi.waitFor(() => expect(taken.reduce((sum, { length }) => sum + length, 0)).toBe(all.length), 10_000)
    expect(Buffer.concat(taken).equals(all)).toBe(true)
    expect(congested).toBe(3)
  })

  test('sends nothing past what still waits in the stream', async () => {
    const taken: Buffer[] = []
    const more = Array.from({ length: 200 }, (_, n) => Buffer.alloc(10, n))
    let next = 0
    let socket: WireSocket
    const port = await serverOf(peer =>
      peer.on('data', bytes => {
        taken.push(Buffer.from(bytes))
        if (next < more.length) socket.send(more[next++], 0, 10) // its kernel has room by now, but not for long
      })
    )
    socket = await connected(port)
    const large = Buffer.alloc(20_000_000, 255)
    socket.send(large, 0, large.length)
    const all = Buffer.concat([large, ...more])
    await vi.waitFor(() => expect(taken.reduce((sum, { length }) => sum + length, 0)).toBe(all.length), 10_000)
    expect(Buffer.concat(taken).equals(all)).toBe(true)
  })

  test('leaves the stream out where the kernel takes all, and comes back to that', async () => {
    const port = await serverOf(socket => socket.resume())
    const socket = await connected(port)
    const write = vi.spyOn(socket, 'write')
    expect(socket.send(Buffer.from('abc'), 0, 3)).toBe(true)
    expect(write).not.toHaveBeenCalled()
    const large = Buffer.alloc(20_000_000)
    expect(socket.send(large, 0, large.length)).toBe(false)
    expect(write).toHaveBeenCalledOnce()
    await once(socket, 'drain')
    await vi.waitFor(() => {
      write.mockClear()
      socket.send(Buffer.from('abc'), 0, 3)
      expect(write).not.toHaveBeenCalled()
    })
  })

  test('writes nothing to the socket that has got its descriptor once it is closed', async () => {
    const heard: string[] = []
    const port = await serverOf(socket => socket.on('error', () => {}).on('data', bytes => heard.push(bytes.toString())))
    const closed = await connected(port)
    closed.on('error', () => {})
    const fdOf = (socket: Socket) => (socket as unknown as { _handle: { fd: number } })._handle.fd
    const fd = fdOf(closed)
    closed.destroy()
    const others: WireSocket[] = []
    while (!others.some(other => fdOf(other) === fd)) {
      expect(others.length).toBeLessThan(50)
      others.push(await connected(port))
    }
    closed.send(Buffer.from('stray'), 0, 5)
    for (const other of others) other.send(Buffer.from('meant'), 0, 5)
    await vi.waitFor(() => expect(heard.length).toBe(others.length))
    expect(new Set(heard)).toEqual(new Set(['meant']))
  })

  test('says how much of the buffer of all sockets has come', async () => {
    const port = await serverOf(socket => socket.end('hello'))
    let text = ''
    const socket = await connected(port, length => {
      text += received.toString('latin1', 0, length)
    })
    await once(socket, 'close')
    expect(text).toBe('hello')
  })
})
