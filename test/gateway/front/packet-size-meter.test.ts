import fc from 'fast-check'
import mqttPacket from 'mqtt-packet'
import { expect, test } from 'vitest'
import { PacketSizeMeter } from '../../../gateway/src/front/packet-size-meter.js'

const PACKET_BYTES_MAX = 300

function publish(payloadBytes: number): Buffer {
  return mqttPacket.generate({
    cmd: 'publish',
    topic: 't',
    payload: Buffer.alloc(payloadBytes, 0xff),
    qos: 1,
    messageId: 7,
    dup: false,
    retain: false
  })
}

/** The body of such a PUBLISH: topic and its length, message ID, payload. */
const bodyBytes = (payloadBytes: number) => 2 + 1 + 2 + payloadBytes

/** Feeds the bytes in pieces of the given sizes, over and over; false as soon as the meter says so. */
function feed(meter: PacketSizeMeter, bytes: Buffer, sizes: readonly number[]): boolean {
  for (let at = 0, piece = 0; at < bytes.length; piece++) {
    const end = Math.min(bytes.length, at + sizes[piece % sizes.length])
    if (!meter.feed(bytes.subarray(at, end))) return false
    at = end
  }
  return true
}

test('packets pass if and only if none is too large, however the stream is cut', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 8 })
  const payloads = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(payloads, sizes, (payloads, sizes) => {
      const stream = Buffer.concat(payloads.map(publish))
      const fits = payloads.every(payload => bodyBytes(payload) <= PACKET_BYTES_MAX)
      expect(feed(new PacketSizeMeter(PACKET_BYTES_MAX), stream, sizes)).toBe(fits)
    })
  )
})

test('too large a packet is noticed before its body has come', () => {
  const head = publish(1_000_000).subarray(0, 4)
  expect(new PacketSizeMeter(PACKET_BYTES_MAX).feed(head)).toBe(false)
})

test('a length of more than four bytes is malformed', () => {
  expect(new PacketSizeMeter(Number.MAX_SAFE_INTEGER).feed(Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80, 0x01]))).toBe(false)
})
