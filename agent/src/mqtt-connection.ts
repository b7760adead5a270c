/**
 * One MQTT connection to the gateway, from CONNECT to close. It is never reused: mqtt.js would send what it still holds again,
 * behind the back of the publisher, which alone decides what goes out and in which order. And each connection needs a will with
 * a session of its own, so that the death of an old one cannot bury the birth of a new one.
 */
import { randomBytes } from 'node:crypto'
import { type Ack, decodeAck, type Profile, profileDigest, STATUS_PROBLEM_LENGTH_MAX, type Status, topicOf } from '@tidemark/protocol'
import { withoutSecrets } from './config.js'
import { crashPointAfterWrites } from './crash-point.js'
import { CONNECT_MS_MAX, FAREWELL_MS_MAX, KEEP_ALIVE_S } from './limits.js'
import { monotonicMs } from './monotonic.js'
import mqtt, { type MqttClient } from './mqtt-client.js'

export interface ConnectionOptions {
  readonly url: string
  readonly deviceId: string
  /** What is asked anew for each birth. */
  readonly self: () => DeviceSelf
  readonly agentVersion: string
  readonly profiles: readonly Profile[]
  /** Told when the gateway is there, and what its clock says. */
  readonly clock: GatewayClockListener
}

/** All times are monotonic ms, but for `timeMs`: the gateway's, Unix ms. */
export interface GatewayClockListener {
  connected(): void
  disconnected(): void
  heard(timeMs: number, askedMs: number, receivedMs: number): void
}

/** What a birth says of the device beside its profiles. */
export interface DeviceSelf {
  readonly epoch: number
  /** The last configuration that came down, and why it was refused; null where none came. */
  readonly config: { readonly revision: number; readonly refused: string | null } | null
  /** What is wrong with the device; null where all is well. */
  readonly problem: string | null
}

export interface ConnectionEvents {
  readonly connected: () => void
  /** Called once, whether or not it was ever connected. */
  readonly closed: (reason: string) => void
  readonly told: (ack: Ack) => void
  /** The gateway's configuration of this device came, undecoded. */
  readonly configured: (payload: Uint8Array) => void
}

export class MqttConnection {
  readonly session = randomBytes(8).toString('hex')
  private readonly client: MqttClient
  private error: string | null = null
  private isClosed = false
  /** Message IDs of batches without PUBACK: mqtt.js does not say DISCONNECT while it has some. */
  private readonly unacked = new Set<number>()
  /** When the oldest birth was sent that the gateway has not answered with its time, monotonic ms; null where there is none. */
  private bornMs: number | null = null

  constructor(
    private readonly options: ConnectionOptions,
    events: ConnectionEvents
  ) {
    const { deviceId, url } = options
    this.client = mqtt.connect(url, {
      clientId: deviceId,
      protocolVersion: 4,
      clean: true,
      keepalive: KEEP_ALIVE_S,
      connectTimeout: CONNECT_MS_MAX,
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      will: { topic: topicOf(deviceId, 'status'), payload: Buffer.from(JSON.stringify(this.death())), qos: 1, retain: true }
    })
    this.client.on('error', error => {
      this.error ??= describeError(error, url)
      this.client.end(true) // what mqtt.js calls an error ends a connection, but not always at once
    })
    this.client.on('connect', () => {
      this.client.subscribe([topicOf(deviceId, 'ack'), topicOf(deviceId, 'config')], { qos: 1 }, ignore)
      this.announce()
      options.clock.connected()
      events.connected()
    })
    this.client.on('message', (topic, payload) => {
      if (topic === topicOf(deviceId, 'config')) events.configured(payload)
      const ack = topic === topicOf(deviceId, 'ack') ? decodeAck(payload) : null
      if (ack === null) return
      if (ack.time_ms !== undefined) this.heard(ack.time_ms)
      events.told(ack)
    })
    this.client.on('close', () => {
      if (this.isClosed) return
      this.isClosed = true
      this.client.end(true)
      options.clock.disconnected()
      events.closed(this.error ?? 'the gateway closed the connection')
    })
  }

  /** Sends a batch; `acked` is called at its PUBACK, and never where the connection closes before. */
  publish(payload: Uint8Array, acked: () => void): void {
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length)
    this.client.publish(topicOf(this.options.deviceId, 'batch'), bytes, { qos: 1 }, (error, packet) => {
      if (packet?.messageId !== undefined) this.unacked.delete(packet.messageId)
      if (!error) acked()
    })
    this.unacked.add(this.client.getLastMessageId())
    crashPointAfterWrites('publish')
  }

  /** Publishes the birth. */
  announce(): void {
    const { deviceId, self, agentVersion, profiles } = this.options
    const { epoch, config, problem } = self()
    const birth: Status = {
      state: 'online',
      session: this.session,
      epoch,
      agent: agentVersion,
      profiles: profiles.map(profile => ({ name: profile.name, version: profile.version, digest: profileDigest(profile) })),
      ...(config !== null && { config: { revision: config.revision, ...(config.refused !== null && { refused: config.refused }) } }),
      ...(problem !== null && { problem: problem.slice(0, STATUS_PROBLEM_LENGTH_MAX) })
    }
    this.bornMs ??= monotonicMs()
    this.client.publish(topicOf(deviceId, 'status'), JSON.stringify(birth), { qos: 1, retain: true }, ignore)
  }

  /** Gives the connection up at once; the gateway publishes the will. */
  drop(reason: string): void {
    this.error = reason
    this.client.end(true)
  }

  /** Says that the device goes offline of its own will, and disconnects, so that there is no death to publish. */
  async leave(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    this.options.clock.disconnected()
    if (this.client.connected) await this.farewell()
    this.client.end(true)
    this.client.stream.destroy() // where `end` is already under way, it waits for the gateway
  }

  private heard(timeMs: number): void {
    if (this.bornMs !== null) this.options.clock.heard(timeMs, this.bornMs, monotonicMs())
    this.bornMs = null
  }

  private async farewell(): Promise<void> {
    for (const messageId of this.unacked) this.client.removeOutgoingMessage(messageId)
    const { promise: tooLate, cancel } = timeout(FAREWELL_MS_MAX)
    const ended = this.client
      .publishAsync(topicOf(this.options.deviceId, 'status'), JSON.stringify(this.death()), { qos: 1, retain: true })
      .then(() => this.client.endAsync(false))
      .catch(() => undefined) // the connection broke: the will says the same
    await Promise.race([ended, tooLate])
    cancel()
  }

  private death(): Status {
    return { state: 'offline', session: this.session }
  }
}

/** A connection that breaks before an answer is followed by another, which asks again. */
function ignore(): void {}

function describeError(error: Error, url: string): string {
  const code = 'code' in error ? error.code : undefined
  const where = withoutSecrets(url)
  if (code === 'ECONNREFUSED') return `nothing listens at ${where}: start the gateway, or correct gateway.url`
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `the host of ${where} is not known`
  if (code === 4 || code === 5) return `the gateway refuses user or password (${error.message})`
  return error.message === '' ? String(code ?? error.name) : error.message
}

function timeout(ms: number): { promise: Promise<void>; cancel: () => void } {
  let cancel = () => {}
  const promise = new Promise<void>(resolve => {
    const timer = setTimeout(resolve, ms)
    cancel = () => {
      clearTimeout(timer)
      resolve()
    }
  })
  return { promise, cancel }
}
