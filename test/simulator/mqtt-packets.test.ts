import fc from 'fast-check'
import { generate, type Packet } from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import { PACKET_BYTES_MAX } from '../../simulator/src/limits.js'
import { loneAckOf, publishPacket, readPackets } from '../../simulator/src/mqtt-packets.js'

const acks = Array.from({ length: 40 }, (_, i) => generate({ cmd: 'puback', messageId: 1000 + i }))
const stream = Buffer.concat([generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }), ...acks, generate({ cmd: 'pingresp' })])

describe('reading packets', () => {
  test('gives the same packets however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), cuts => {
        const ids: (number | undefined)[] = []
        let rest = Buffer.alloc(0)
        for (let at = 0, n = 0; at < stream.length; n++) {
          const piece = stream.subarray(at, at + cuts[n % cuts.length])
          at += piece.length
          rest = Buffer.concat([rest, piece])
          rest = rest.subarray(readPackets(rest, packet => ids.push(packet.messageId)))
        }
        expect(rest.length).toBe(0)
        expect(ids.filter(id => id !== undefined)).toEqual(acks.map((_, i) => 1000 + i))
        expect(ids.length).toBe(42)
      })
    )
  })

  test('refuses what is no MQTT, and reads on for others afterwards', () => {
    expect(() => readPackets(Buffer.from([0, 0]), () => {})).toThrow(/no MQTT/)
    const packets: Packet[] = []
    expect(readPackets(acks[0], packet => packets.push(packet))).toBe(acks[0].length)
    expect(packets[0]).toMatchObject({ cmd: 'puback', messageId: 1000 })
  })

  test('refuses a packet that would take too much memory before it has arrived', () => {
    const [a, b, c] = [0x80 | (PACKET_BYTES_MAX & 127), 0x80 | ((PACKET_BYTES_MAX >> 7) & 127), (PACKET_BYTES_MAX >> 14) + 1]
    expect(() => readPackets(Buffer.from([0x30, a, b, c]), () => {})).toThrow(/more than/)
    expect(() => readPackets(Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80, 1]), () => {})).toThrow(/more than/)
  })
})

describe('what is built and read here for speed', () => {
  test('a PUBLISH is, to the byte, what mqtt-packet makes', () => {
    const property = fc.property(
      fc.string({ minLength: 1, maxLength: 40 }),
      fc.nat(20_000),
      fc.integer({ min: 1, max: 65_535 }),
      (topic, bytes, messageId) => {
        const payload = Buffer.alloc(bytes, 7)
        const wanted = generate({ cmd: 'publish', qos: 1, dup: false, retain: false, topic, payload, messageId })
        expect(publishPacket(topic, payload, messageId).equals(wanted)).toBe(true)
      }
    )
    fc.assert(property, { numRuns: 200 })
  })

  test('a PUBACK that comes alone is known, and nothing else is taken for one', () => {
    for (const [i, ack] of acks.entries()) expect(loneAckOf(ack, ack.length)).toBe(1000 + i)
    for (const other of [Buffer.concat([acks[0], acks[1]]), acks[0].subarray(0, 3), stream.subarray(0, 4), generate({ cmd: 'pingresp' })])
      expect(loneAckOf(other, other.length)).toBe(-1)
    expect(loneAckOf(acks[0], 2)).toBe(-1) // what lies behind is of an earlier read
  })
})
