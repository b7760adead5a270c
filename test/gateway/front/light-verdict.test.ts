/**
 * A light session and aedes must come to the same verdict about whatever a client sends: what is appended, what is answered, whether
 * the connection lives. Both are asked, over real sockets, with a log that acks at once.
 */
import { connect, type Socket } from 'node:net'
import fc from 'fast-check'
import mqttPacket, { type Packet } from 'mqtt-packet'
import { expect, test } from 'vitest'
import { SlowLog, type StartedFront, startFront } from './kit.js'

class PromptLog extends SlowLog {
  override appendFor(...args: Parameters<SlowLog['appendFor']>): void {
    super.appendFor(...args)
    this.answer(null)
  }
}

interface Verdict {
  readonly isClosed: boolean
  readonly answers: string[]
  readonly appended: string[]
}

/** Sends CONNECT, then the rest in pieces, then PINGREQ; resolves when that is answered or the connection is closed. */
async function ask(
  front: StartedFront,
  deviceId: string,
  hello: Buffer,
  rest: readonly Buffer[],
  sizes: readonly number[]
): Promise<Verdict> {
  const before = front.log.appended.length
  const socket = connect(front.port, '127.0.0.1').setNoDelay()
  socket.on('error', () => {})
  const answers: string[] = []
  let pongs = 0
  const wanted = rest.filter(packet => packet.equals(PINGREQ)).length + 1
  const owed = rest.filter(([head]) => (head & 0xf6) === 0x34 || [6, 8, 10].includes(head >> 4)).length
  const parser = mqttPacket.parser()
  const isClosed = await new Promise<boolean>((resolve, reject) => {
    const timeout = setTimeout(
      () =>
        reject(new Error(`no verdict after ${answers}: sent ${hello.toString('hex')} ${rest.map(b => b.subarray(0, 60).toString('hex'))}`)),
      VERDICT_MS_MAX
    )
    socket.once('close', () => clearTimeout(timeout))
    const mine = () => front.log.appended.slice(before).filter(frame => frame.includes(` ${deviceId} `))
    const look = () => {
      const qos1 = mine().filter(frame => frame.includes(' q1')).length
      const others = answers.filter(answer => /^(suback|unsuback|pubrec|pubcomp)/.test(answer)).length
      if (pongs >= wanted && others >= owed && answers.filter(answer => answer.startsWith('puback')).length >= qos1) resolve(false)
    }
    parser.on('packet', packet => {
      if (packet.cmd === 'pingresp') pongs++
      else if (packet.cmd !== 'publish') answers.push(textOf(packet)) // what is delivered depends on when it subscribed
      if (packet.cmd === 'connack' && packet.returnCode === 0) sendPieces(socket, Buffer.concat([...rest, PINGREQ]), sizes)
      look()
    })
    socket.on('data', bytes => parser.parse(bytes))
    socket.on('close', () => resolve(true))
    sendPieces(socket, hello, sizes)
  })
  socket.destroy()
  const appended = front.log.appended.slice(before).filter(frame => frame.includes(` ${deviceId} `))
  return { isClosed, answers: answers.toSorted(), appended }
}

/** Each piece in a packet of its own, as far as the system does what it is asked. */
function sendPieces(socket: Socket, bytes: Buffer, sizes: readonly number[]): void {
  for (let at = 0, piece = 0; at < bytes.length; piece++) {
    const end = Math.min(bytes.length, at + sizes[piece % sizes.length])
    socket.write(bytes.subarray(at, end))
    at = end
  }
}

function textOf(packet: Packet): string {
  if (packet.cmd === 'connack') return `connack ${packet.returnCode}`
  if (packet.cmd === 'suback') return `suback ${packet.messageId} ${packet.granted}`
  return `${packet.cmd} ${packet.messageId}`
}

/** A verdict that takes longer is none. */
const VERDICT_MS_MAX = 10_000

const PINGREQ = Buffer.from([0xc0, 0])

const id = fc.integer({ min: 1, max: 65_535 })
const payload = fc.oneof(
  { weight: 5, arbitrary: fc.string({ maxLength: 30 }) },
  fc.constant('x'.repeat(300)),
  fc.constant('y'.repeat(20_000))
)

const own = (kinds: readonly string[]) => fc.constantFrom(...kinds).map(kind => (deviceId: string) => `tm/1/${deviceId}/${kind}`)
const foreign = fc
  .constantFrom('', 'a', 'tm/1/other/batch', 'tm/1/#', 'tm/1/+/status', '$SYS/x', 'tm/1/\u0000/batch', 'tm/1/é/json')
  .map(topic => () => topic)

type Piece = (deviceId: string) => Buffer

const publish = (topic: fc.Arbitrary<(deviceId: string) => string>, qos: fc.Arbitrary<0 | 1 | 2>): fc.Arbitrary<Piece> =>
  fc
    .record({ topic, qos, id, payload, dup: fc.boolean(), retain: fc.boolean() })
    .map(({ topic, qos, id, payload, dup, retain }) => deviceId => {
      const head = { cmd: 'publish' as const, qos, dup, retain, messageId: id, payload: `q${qos}${payload}` }
      return topic(deviceId) === '' ? Buffer.from([0x30, 2, 0, 0]) : mqttPacket.generate({ ...head, topic: topic(deviceId) })
    })

const valid: fc.Arbitrary<Piece> = fc.oneof(
  { weight: 6, arbitrary: publish(own(['batch', 'json', 'status']), fc.constantFrom(0, 1, 1)) },
  fc.record({ topic: own(['config', 'ack']), qos: fc.constantFrom(0 as const, 1 as const), id }).map(
    ({ topic, qos, id }) =>
      (deviceId: string) =>
        mqttPacket.generate({ cmd: 'subscribe', messageId: id, subscriptions: [{ topic: topic(deviceId), qos }] })
  ),
  fc.record({ topic: own(['config', 'ack']), id }).map(
    ({ topic, id }) =>
      (deviceId: string) =>
        mqttPacket.generate({ cmd: 'unsubscribe', messageId: id, unsubscriptions: [topic(deviceId)] })
  ),
  fc.constant(() => PINGREQ),
  id.map(id => () => mqttPacket.generate({ cmd: 'puback', messageId: id }))
)

const more: fc.Arbitrary<Piece> = fc.oneof(
  publish(own(['batch', 'status']), fc.constant(2)),
  fc
    .record({
      topic: fc.oneof(foreign, own(['config', 'ack', 'batch', 'status'])),
      qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
      id
    })
    .map(
      ({ topic, qos, id }) =>
        (deviceId: string) =>
          mqttPacket.generate({ cmd: 'subscribe', messageId: id, subscriptions: [{ topic: topic(deviceId) || 'x', qos }] })
    ),
  id.map(id => () => mqttPacket.generate({ cmd: 'pubrel', messageId: id }))
)

const wrong: fc.Arbitrary<Piece> = fc.oneof(
  publish(foreign, fc.constantFrom(0, 1)),
  publish(own(['config', 'ack', 'nonsense']), fc.constantFrom(0, 1)),
  fc.constant(() => Buffer.from([0xe0, 0])),
  fc.constant((deviceId: string) => helloOf(deviceId, {})),
  fc.constant(() => Buffer.from([0x30, 5, 0, 3, 0x74, 0xff, 0xfe])), // a topic that is no UTF-8
  fc.constant(() => Buffer.from([0x32, 4, 0, 9, 0x74, 0x6d])), // a topic longer than its packet
  fc.constant(() => Buffer.from([0x36, 3, 0, 1, 0x61])), // QoS 3
  fc.constant(() => Buffer.concat([Buffer.from([0x30, 0x81, 0x80, 0x80, 0x80, 0x01]), Buffer.alloc(300)])), // five bytes of length
  fc.constant(() => Buffer.concat([Buffer.from([0x30, 0xff, 0xff, 0x7f]), Buffer.alloc(300)])), // 2 MiB
  // any other packet: type and flags as they come, and a body
  fc
    .record({
      type: fc.constantFrom(0, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
      flags: fc.constantFrom(0, 2, 2, 0, 1, 9),
      body: fc.uint8Array({ maxLength: 24 })
    })
    .map(
      ({ type, flags, body }) =>
        () =>
          Buffer.concat([Buffer.from([(type << 4) | flags, body.length]), body])
    )
)

type Hello = Parameters<typeof mqttPacket.generate>[0] & { cmd: 'connect' }

function helloOf(deviceId: string, options: Partial<Hello>): Buffer {
  return mqttPacket.generate({
    cmd: 'connect',
    clientId: deviceId,
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    keepalive: 0,
    ...options
  })
}

const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constant(5000)), { minLength: 1, maxLength: 6 })

let devices = 0

async function compare(
  hello: (deviceId: string) => Buffer,
  pieces: readonly Piece[],
  sizes: readonly number[],
  fronts: readonly [StartedFront, StartedFront]
) {
  const deviceId = `press-${++devices}`
  const rest = pieces.map(piece => piece(deviceId))
  const [light, aedes] = await Promise.all(fronts.map(front => ask(front, deviceId, hello(deviceId), rest, sizes)))
  return { light, aedes }
}

async function startBoth(): Promise<[StartedFront, StartedFront]> {
  return [await startFront({ lightSessions: true }, new PromptLog()), await startFront({ lightSessions: false }, new PromptLog())]
}

/** What was answered to before a connection was closed depends on how far it had come: nothing is acked that was not appended. */
function expectAlike(light: Verdict, aedes: Verdict): void {
  expect(light.isClosed).toBe(aedes.isClosed)
  if (!light.isClosed) expect(light).toEqual(aedes)
  for (const { answers, appended } of [light, aedes]) {
    const acked = answers.filter(answer => answer.startsWith('puback')).length
    expect(acked).toBeLessThanOrEqual(appended.filter(frame => frame.includes(' q1')).length)
  }
}

test('what a device may send is answered and appended alike, however it is cut', async () => {
  const fronts = await startBoth()
  const pieces = fc.array(fc.oneof({ weight: 8, arbitrary: valid }, { weight: 1, arbitrary: more }), { maxLength: 14 })
  await fc.assert(
    fc.asyncProperty(pieces, sizes, async (pieces, sizes) => {
      const { light, aedes } = await compare(deviceId => helloOf(deviceId, {}), pieces, sizes, fronts)
      expectAlike(light, aedes)
    }),
    { numRuns: 150 }
  )
})

test('what nobody may send ends the connection alike, and acks nothing that was not appended', async () => {
  const fronts = await startBoth()
  const pieces = fc
    .tuple(fc.array(valid, { maxLength: 5 }), wrong, fc.array(valid, { maxLength: 2 }))
    .map(([before, bad, after]) => [...before, bad, ...after])
  await fc.assert(
    fc.asyncProperty(pieces, sizes, async (pieces, sizes) => {
      const { light, aedes } = await compare(deviceId => helloOf(deviceId, {}), pieces, sizes, fronts)
      expectAlike(light, aedes)
    }),
    { numRuns: 200 }
  )
})

test('connections are admitted alike', async () => {
  const fronts = await startBoth()
  const will = fc.record({
    topic: fc.oneof(own(['status', 'batch', 'config']), foreign),
    payload: fc.string({ maxLength: 20 }),
    qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
    retain: fc.boolean()
  })
  const hello = fc.record({
    will: fc.option(will),
    clean: fc.boolean(),
    keepalive: fc.constantFrom(0, 30, 65_535),
    username: fc.option(fc.string({ minLength: 1, maxLength: 10 })),
    password: fc.option(fc.string({ minLength: 1, maxLength: 10 })),
    clientId: fc.constantFrom('é', 'a b', null, null, null, null),
    protocol: fc.constantFrom(['MQTT', 4], ['MQTT', 4], ['MQTT', 5], ['MQIsdp', 3]),
    flip: fc.option(fc.record({ at: fc.integer({ min: 4, max: 30 }), bit: fc.nat(7) }))
  })
  await fc.assert(
    fc.asyncProperty(hello, sizes, async ({ will, username, password, clientId, protocol, flip, ...options }, sizes) => {
      const make = (deviceId: string): Buffer => {
        const willed = will === null ? {} : { will: { ...will, topic: will.topic(deviceId) || 'x', payload: Buffer.from(will.payload) } }
        const named = username === null ? {} : { username, ...(password === null ? {} : { password: Buffer.from(password) }) }
        const [protocolId, protocolVersion] = protocol as ['MQTT', 4]
        const bytes = helloOf(deviceId, {
          ...options,
          ...willed,
          ...named,
          clientId: clientId ?? deviceId,
          protocolId,
          protocolVersion
        })
        if (flip !== null && flip.at < bytes.length) bytes[flip.at] ^= 1 << flip.bit
        return bytes
      }
      const { light, aedes } = await compare(make, [], sizes, fronts)
      expectAlike(light, aedes)
    }),
    { numRuns: 300 }
  )
})
