/**
 * MQTT 3.1.1 packets as bytes, through mqtt-packet. One parser serves all connections: it is only ever given whole packets, so it
 * carries nothing from one connection to the next (a parser each would cost as much memory as all the rest of a device).
 */
import { generate, parser as newParser, type Packet, writeToStream } from 'mqtt-packet'
import { PACKET_BYTES_MAX } from './limits.js'

writeToStream.cacheNumbers = false // the cache is 65,536 Buffers

const DUP = 0x08
const PUBLISH_QOS_1 = 0x32
const PUBACK = 0x40

export const PINGREQ = generate({ cmd: 'pingreq' })
export const DISCONNECT = generate({ cmd: 'disconnect' })

export function connectPacket(clientId: string, keepaliveS: number): Buffer {
  return generate({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId, clean: true, keepalive: keepaliveS })
}

/** How far a PUBLISH's topic lies behind the beginning of the packet, at most: type, remaining length, the topic's own length. */
export const PUBLISH_HEAD_BYTES = 7

/** A PUBLISH with QoS 1, built here: it is most of what a fleet sends, and mqtt-packet takes four times as long. */
export function publishPacket(topic: string, payload: Uint8Array, messageId: number): Buffer {
  const topicBytes = Buffer.byteLength(topic)
  const bytes = Buffer.allocUnsafe(PUBLISH_HEAD_BYTES + topicBytes + 2 + payload.length)
  bytes.write(topic, PUBLISH_HEAD_BYTES)
  bytes.set(payload, writeUint16(bytes, PUBLISH_HEAD_BYTES + topicBytes, messageId))
  return bytes.subarray(writePublishHead(bytes, PUBLISH_HEAD_BYTES, topicBytes, bytes.length))
}

/**
 * Writes what stands before the topic of a PUBLISH that ends at `end`: so the rest can be written before its length is known. Returns
 * where the packet begins: at most `PUBLISH_HEAD_BYTES` before `topicAt`.
 */
export function writePublishHead(into: Uint8Array, topicAt: number, topicBytes: number, end: number): number {
  writeUint16(into, topicAt - 2, topicBytes)
  const length = end - topicAt + 2
  const start = topicAt - (length < 128 ? 4 : length < 16_384 ? 5 : length < 2_097_152 ? 6 : 7)
  into[start] = PUBLISH_QOS_1
  let at = start + 1
  for (let rest = length; ; rest >>>= 7) {
    into[at++] = rest < 128 ? rest : (rest & 127) | 128
    if (rest < 128) return start
  }
}

/** Big-endian, as all of MQTT. Returns where the next value begins. */
export function writeUint16(into: Uint8Array, at: number, value: number): number {
  into[at] = value >>> 8
  into[at + 1] = value
  return at + 2
}

/**
 * The message ID of the first `length` bytes where they are one PUBACK and nothing else, as most that a broker sends are; -1: they are
 * something else.
 */
export function loneAckOf(bytes: Uint8Array, length: number): number {
  return length === 4 && bytes[0] === PUBACK && bytes[1] === 2 ? bytes[2] * 256 + bytes[3] : -1
}

/** Sets the DUP flag of the PUBLISH that begins at `start`, as MQTT 3.1.1 asks of a redelivery (clause 3.3.1.1). */
export function markRedelivered(bytes: Buffer, start: number): void {
  bytes[start] |= DUP
}

/** Why a broker refused a connection: the return codes of MQTT 3.1.1, clause 3.2.2.3. */
export function refusalOf(returnCode: number): string {
  const reasons = [
    '',
    'unacceptable protocol version',
    'client ID rejected',
    'server unavailable',
    'bad user name or password',
    'not authorised'
  ]
  return reasons[returnCode] ?? `return code ${returnCode}`
}

let parser = newParser({ protocolVersion: 4 })
let receive: ((packet: Packet) => void) | null = null
let failure: Error | null = null

function listen(): void {
  parser.on('packet', packet => receive?.(packet))
  parser.on('error', (error: Error) => {
    failure = error
  })
}
listen()

/**
 * Calls `onPacket` for each whole packet in `bytes` and returns how many bytes those took; the rest is to be given again with what
 * follows. Throws an Error for what is no MQTT. `bytes` is not kept.
 */
export function readPackets(bytes: Buffer, onPacket: (packet: Packet) => void): number {
  const end = endOfWholePackets(bytes)
  if (end === 0) return 0
  receive = onPacket
  failure = null
  const left = parser.parse(bytes.subarray(0, end))
  receive = null
  if (failure !== null || left !== 0) {
    const cause = failure
    parser = newParser({ protocolVersion: 4 })
    listen()
    throw new Error('the broker sent bytes that are no MQTT 3.1.1', { cause })
  }
  return end
}

/** Fixed header: a byte of type and flags, then the remaining length, 7 bits a byte (clause 2.2.3). */
function endOfWholePackets(bytes: Buffer): number {
  let start = 0
  for (;;) {
    let length = 0
    let at = start + 1
    for (let shift = 0; ; shift += 7) {
      if (at >= bytes.length) return start
      length += (bytes[at] & 127) * 2 ** shift
      if (length > PACKET_BYTES_MAX || shift > 21) throw new Error(`the broker sent a packet of more than ${PACKET_BYTES_MAX} bytes`)
      if (bytes[at++] < 128) break
    }
    if (at + length > bytes.length) return start
    start = at + length
  }
}
