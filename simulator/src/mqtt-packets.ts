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

/** A PUBLISH with QoS 1, built here: it is most of what a fleet sends, and mqtt-packet takes four times as long. */
export function publishPacket(topic: string, payload: Uint8Array, messageId: number): Buffer {
  const topicBytes = Buffer.byteLength(topic)
  const length = 2 + topicBytes + 2 + payload.length
  const header = length < 128 ? 2 : length < 16_384 ? 3 : length < 2_097_152 ? 4 : 5
  const packet = Buffer.allocUnsafe(header + length)
  packet[0] = PUBLISH_QOS_1
  let at = 1
  for (let rest = length; ; rest >>>= 7) {
    packet[at++] = rest < 128 ? rest : (rest & 127) | 128
    if (rest < 128) break
  }
  at = packet.writeUInt16BE(topicBytes, at)
  at += packet.write(topic, at)
  at = packet.writeUInt16BE(messageId, at)
  packet.set(payload, at)
  return packet
}

/** The message ID of bytes that are one PUBACK and nothing else, as most that a broker sends are; null: they are something else. */
export function loneAckOf(bytes: Uint8Array): number | null {
  return bytes.length === 4 && bytes[0] === PUBACK && bytes[1] === 2 ? bytes[2] * 256 + bytes[3] : null
}

/** Sets the DUP flag of a PUBLISH, as MQTT 3.1.1 asks of a redelivery (clause 3.3.1.1). */
export function markRedelivered(packet: Buffer): void {
  packet[0] |= DUP
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
