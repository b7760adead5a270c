import { once } from 'node:events'
import { connect, type Server } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { Listener } from '../../../gateway/src/front/listener.js'

test('each connection that cannot be accepted is told, and the next one is taken', async () => {
  const told: string[] = []
  const listener = new Listener(10, socket => {
    socket.reader = { feed: chunk => socket.end(Buffer.from(chunk)) }
    socket.on('close', () => listener.ended())
    socket.resume()
  })
  listener.onError = ({ message }) => told.push(message)
  const port = await listener.listen('127.0.0.1', 0)
  onTestFinished(() => listener.close())
  // what Node does where accept(2) fails; no test can make the kernel do so
  const { server } = listener as unknown as { server: Server }
  for (const code of ['EPROTO', 'ENOBUFS']) server.emit('error', new Error(`accept ${code}`))
  expect(told).toEqual(['accept EPROTO', 'accept ENOBUFS'])
  const socket = connect(port, '127.0.0.1').end('hello')
  const [answer] = await once(socket, 'data')
  expect([String(answer), listener.isListening]).toEqual(['hello', true])
})
