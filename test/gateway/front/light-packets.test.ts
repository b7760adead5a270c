import fc from 'fast-check'
import mqttPacket, { type Packet } from 'mqtt-packet'
import { expect, test } from 'vitest'
import { admitPublish } from '../../../gateway/src/front/admission.js'
import { bodyStart, ownTopicKind, packetBytes, publishBytes, readConnect, readSubscribe } from '../../../gateway/src/front/light-packets.js'
import { PartialPacket } from '../../../gateway/src/front/partial-packet.js'

const REMAINING_MAX = 131_328

function parse(bytes: Buffer): Packet {
  let found: Packet | null = null
  const parser = mqttPacket.parser()
  parser.on('packet', packet => (found = packet))
  parser.parse(bytes)
  return found!
}

function publish(topic: string, payload: Buffer): Buffer {
  return mqttPacket.generate({ cmd: 'publish', topic, payload, qos: 1, messageId: 7, dup: false, retain: false })
}

test('a packet is whole at its last byte, and no byte before', () => {
  fc.assert(
    fc.property(fc.constantFrom(0, 1, 120, 121, 122, 127, 128, 300, 16_380, 20_000, 120_000), fc.nat(), (payloadBytes, cut) => {
      const packet = publish('tm/1/a/batch', Buffer.alloc(payloadBytes))
      const at = cut % packet.length
      const seen = packetBytes(packet, 0, at, REMAINING_MAX)
      expect(seen === 0 || seen === packet.length).toBe(true)
      expect(packetBytes(packet, 0, packet.length, REMAINING_MAX)).toBe(packet.length)
      expect(packet.length - bodyStart(packet, 0)).toBe(parse(packet).length)
    })
  )
})

test('a length of five bytes, or above the bound, is refused before anything of the body has come', () => {
  expect(packetBytes(Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80]), 0, 5, Number.MAX_SAFE_INTEGER)).toBe(-1)
  expect(packetBytes(Buffer.from([0x30, 0xff, 0xff, 0x7f]), 0, 4, REMAINING_MAX)).toBe(-1)
  expect(packetBytes(Buffer.from([0x30, 0xff, 0xff]), 0, 3, REMAINING_MAX)).toBe(0)
})

test('a packet in pieces is put together, and takes no byte of the next one', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(fc.constantFrom(0, 5, 200, 300, 5000), sizes, (payloadBytes, sizes) => {
      const packet = publish('tm/1/a/batch', Buffer.alloc(payloadBytes, 'x'))
      const stream = Buffer.concat([packet, publish('tm/1/a/json', Buffer.from('next'))])
      const partial = new PartialPacket(stream.subarray(0, 1), 0, REMAINING_MAX)
      let at = 1
      for (let piece = 0; !partial.isWhole; piece++) {
        const end = Math.min(stream.length, at + sizes[piece % sizes.length])
        at += partial.complete(stream.subarray(at, end))
      }
      expect(at).toBe(packet.length)
      expect(partial.bytes.subarray(0, partial.used)).toEqual(packet)
    })
  )
})

test('a length that is only announced costs no memory', () => {
  const head = publish('tm/1/a/batch', Buffer.alloc(120_000)).subarray(0, 10)
  const partial = new PartialPacket(head, 0, REMAINING_MAX)
  expect(partial.complete(Buffer.alloc(10))).toBe(10)
  expect(partial.bytes.length).toBeLessThan(1000)
})

test('a topic is the device’s own exactly where it may publish on it', () => {
  const device = fc.constantFrom('a', 'ab', 'press-1')
  const kind = fc.constantFrom('batch', 'json', 'status', 'config', 'ack', 'batc', 'batchx', '')
  const prefix = fc.constantFrom('tm/1/', 'tm/2/', 'tm/1', '')
  fc.assert(
    fc.property(device, device, kind, prefix, fc.string({ maxLength: 3 }), (client, named, kind, prefix, tail) => {
      const topic = `${prefix}${named}/${kind}${tail}`
      const bytes = Buffer.concat([Buffer.from('??'), Buffer.from(topic), Buffer.from('batch')])
      const admission = admitPublish(client, topic, 0)
      expect(ownTopicKind(bytes, 2, 2 + Buffer.byteLength(topic), client)).toBe(admission.ok ? admission.kind : null)
    }),
    { numRuns: 1000 }
  )
})

test('a CONNECT that is read says what mqtt-packet says', () => {
  const hello = fc.record({
    clientId: fc.constantFrom('a', 'press-1', 'x'.repeat(64)),
    keepalive: fc.nat(65_535),
    clean: fc.boolean(),
    will: fc.option(
      fc.record({ payload: fc.string({ maxLength: 200 }), qos: fc.constantFrom(0 as const, 1 as const, 2 as const), retain: fc.boolean() })
    ),
    username: fc.option(fc.string({ minLength: 1, maxLength: 20 }))
  })
  fc.assert(
    fc.property(hello, ({ clientId, will, username, ...rest }) => {
      const bytes = mqttPacket.generate({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clientId,
        ...rest,
        ...(will !== null && { will: { ...will, topic: `tm/1/${clientId}/status`, payload: Buffer.from(will.payload) } }),
        ...(username !== null && { username, password: Buffer.from('secret') })
      })
      const read = readConnect(bytes, bodyStart(bytes, 0), bytes.length)!
      expect({ clientId: read.deviceId, keepalive: read.keepaliveS }).toEqual({ clientId, keepalive: rest.keepalive })
      expect(read.willKind).toBe(will === null ? null : 'status')
      if (will !== null) expect(bytes.toString('utf8', read.willStart, read.willEnd)).toBe(will.payload)
      for (let end = bodyStart(bytes, 0); end < bytes.length; end++) expect(readConnect(bytes, bodyStart(bytes, 0), end)).toBeNull()
    })
  )
})

test('a SUBSCRIBE is read only where it asks for no more than the device’s own, and whole', () => {
  const subscribe = (...topics: string[]) =>
    mqttPacket.generate({ cmd: 'subscribe', messageId: 9, subscriptions: topics.map(topic => ({ topic, qos: 1 as const })) })
  const read = (bytes: Buffer, end = bytes.length) => readSubscribe(bytes, bodyStart(bytes, 0), end, 'a')
  const both = subscribe('tm/1/a/config', 'tm/1/a/ack')
  expect(read(both)).toEqual({
    messageId: 9,
    wanted: [
      { kind: 'config', qos: 1 },
      { kind: 'ack', qos: 1 }
    ]
  })
  expect(read(both, both.length - 1)).toBeNull()
  for (const topics of [['tm/1/b/config'], ['tm/1/a/config', 'tm/1/+/status'], ['tm/1/a/ack', 'tm/1/a/ack'], ['#']])
    expect(read(subscribe(...topics))).toBeNull()
})

test('what is delivered to a device is what mqtt-packet reads', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(0 as const, 1 as const),
      fc.boolean(),
      fc.integer({ min: 1, max: 65_535 }),
      fc.uint8Array({ maxLength: 300 }),
      (qos, isRetained, messageId, payload) => {
        const packet = parse(publishBytes('press-1', 'config', payload, { qos, isRetained, messageId }))
        expect(packet).toMatchObject({ cmd: 'publish', topic: 'tm/1/press-1/config', qos, retain: isRetained })
        if (packet.cmd === 'publish') expect(Buffer.compare(packet.payload as Buffer, payload)).toBe(0)
        if (qos === 1) expect(packet.messageId).toBe(messageId)
      }
    )
  )
})
