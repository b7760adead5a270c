/**
 * A broker that does as little as one can: it takes any client, reads PUBLISHes with QoS 1 and acks them, those of 10 ms at a time, as a
 * gateway acks what one commit of its log has taken in. In a process of its own, for the bench of the fleet.
 */
import { createServer, type Socket } from 'node:net'

export type FromSink = { readonly type: 'ready'; readonly port: number } | { readonly type: 'acked'; readonly messages: number }

const WAVE_MS = 10
const CONNACK = Buffer.from([0x20, 2, 0, 0])
const PINGRESP = Buffer.from([0xd0, 0])

let messages = 0
let wave = new Map<Socket, number[]>()

function take(socket: Socket, bytes: Buffer): Buffer {
  let start = 0
  for (;;) {
    let length = 0
    let at = start + 1
    for (let shift = 0; ; shift += 7) {
      if (at >= bytes.length) return bytes.subarray(start)
      length += (bytes[at] & 127) << shift
      if (bytes[at++] < 128) break
    }
    if (at + length > bytes.length) return bytes.subarray(start)
    const kind = bytes[start] >> 4
    if (kind === 1) socket.write(CONNACK)
    else if (kind === 3) {
      const id = bytes.readUInt16BE(at + 2 + bytes.readUInt16BE(at))
      const ids = wave.get(socket)
      if (ids === undefined) wave.set(socket, [id])
      else ids.push(id)
    } else if (kind === 12) socket.write(PINGRESP)
    else if (kind === 14) socket.end()
    start = at + length
  }
}

setInterval(() => {
  const full = wave
  wave = new Map()
  for (const [socket, ids] of full) {
    messages += ids.length
    const acks = Buffer.allocUnsafe(4 * ids.length)
    for (const [i, id] of ids.entries()) acks.writeUInt32BE(0x4002_0000 + id, 4 * i)
    socket.write(acks)
  }
}, WAVE_MS)

const server = createServer({ noDelay: true }, socket => {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', bytes => {
    rest = take(socket, rest.length === 0 ? bytes : Buffer.concat([rest, bytes]))
  })
  socket.on('error', () => socket.destroy())
})
const say = (message: FromSink): boolean => process.send!(message)
server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
  const address = server.address()
  if (address !== null && typeof address !== 'string') say({ type: 'ready', port: address.port })
})
process.on('message', () => say({ type: 'acked', messages }))
process.on('disconnect', () => process.exit())
