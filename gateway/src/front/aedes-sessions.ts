/**
 * The connections that aedes serves. aedes writes PUBACK right after `authorizePublish` calls back, before it persists or emits
 * anything; so the hook appends to the log, and "acked" means "in the log". What cannot be decoded is logged too: refusing it would
 * make the device resend it for ever.
 *
 * aedes keeps and forwards nothing that clients publish: statuses come back from the core once they are durable, whoever sent them.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { isDeviceId, topicOf } from '@tidemark/protocol'
import { Aedes, type AuthenticateError, type Client, type PublishPacket, type Subscription } from 'aedes'
import { type Admitted, admitPublish, admitSubscription, downstreamOf, isStatusFilter } from './admission.js'
import { CONNECT_MS_MAX, DRAIN_MS_MAX, PACKET_BYTES_MAX, UNACKED_BYTES_MAX, UNACKED_MAX } from './bounds.js'
import type { ClientSocket } from './client-socket.js'
import type { DeviceMessage, Downstream, DownstreamKind, Will } from './core.js'
import type { Front, Session } from './front.js'
import { CONNACK } from './light-packets.js'
import type { Handover } from './light-sessions.js'
import { MeteredConnection, PacketTooLargeError } from './metered-connection.js'

const IDENTIFIER_REJECTED = 2

const CLOSE_POLL_MS = 20

/** A client of aedes and what of it is not acked. */
class AedesSession implements Session {
  unackedCount = 0
  unackedBytes = 0
  isHeld = false
  isRegistered = false
  will: Will | null = null
  handover: Handover | null = null
  /** Topics that it was subscribed to before aedes had it: what is kept for them it has had. */
  readonly restored = new Set<string>()
  /** What comes down until those subscriptions hold again; null: they do. */
  missed: Downstream[] | null = null

  constructor(
    readonly client: Client,
    private readonly broker: Aedes,
    readonly number: number
  ) {}

  takeOver(): void {
    this.client.close()
  }

  deliver(kind: DownstreamKind, payload: Uint8Array, isRetained: boolean): void {
    const { client } = this
    if (this.missed !== null) {
      this.missed.push({ kind, payload })
      return
    }
    const topic = topicOf(client.id, kind)
    const packet = { cmd: 'publish' as const, topic, payload: Buffer.from(payload), qos: 1 as const, dup: false, retain: isRetained }
    if (isRetained) client.publish(packet, () => {})
    else this.broker.publish(packet, () => {})
  }

  /** Its subscriptions hold again. */
  restore(): void {
    const missed = this.missed ?? []
    this.missed = null
    for (const { kind, payload } of missed) this.deliver(kind, payload, false)
  }
}

export class AedesSessions {
  private front!: Front
  private readonly sessions = new Map<Client, AedesSession>()
  private readonly heldSessions = new Set<AedesSession>()
  private readonly sockets = new Set<ClientSocket>()
  private readonly handovers = new WeakMap<Client, Handover>()
  private isHeld = false

  private constructor(private readonly broker: Aedes) {}

  static async create(): Promise<AedesSessions> {
    return new AedesSessions(await Aedes.createBroker({ drainTimeout: DRAIN_MS_MAX, connectTimeout: CONNECT_MS_MAX }))
  }

  /** Serves connections for the front: once, before the first is accepted. */
  serve(front: Front): void {
    this.front = front
    const { broker } = this
    broker.preConnect = (client, packet, done) => {
      packet.clean = true // nothing is queued for who is away
      const session = new AedesSession(client, broker, front.nextNumber())
      if (packet.will !== undefined) session.will = willOf(packet.clientId, packet.will.topic, packet.will.payload as Buffer)
      session.handover = this.handovers.get(client) ?? null
      this.sessions.set(client, session)
      done(null, true)
    }
    broker.authenticate = (client, _username, _password, done) => {
      if (isDeviceId(client.id)) {
        done(null, true)
        return
      }
      front.refuse('client-id', client.id, { message: 'the client ID is no device ID: use 1 to 64 of A-Z a-z 0-9 . _ -' })
      done(Object.assign(new Error('client ID refused'), { returnCode: IDENTIFIER_REJECTED }) as AuthenticateError, false)
    }
    broker.authorizePublish = (client, packet, done) => this.publish(client, packet, done)
    broker.authorizeForward = (_client, packet) => ('clientId' in packet ? null : packet)
    broker.authorizeSubscribe = (client, subscription, done) =>
      done(null, this.admitsSubscription(client, subscription.topic) ? subscription : null)
    broker.on('client', client => this.register(client))
    broker.on('clientDisconnect', client => this.unregister(client))
    broker.on('subscribe', (subscriptions, client) => this.sendRetained(client, subscriptions))
    const onError = (client: Client, error: Error) => front.logger.debug({ client: client.id, error: error.message }, 'connection ended')
    broker.on('clientError', onError)
    broker.on('connectionError', onError)
  }

  /** Serves a connection, from its beginning or from where a light session has left it. */
  accept(socket: ClientSocket, handover: Handover | null = null): void {
    const connection = new MeteredConnection(socket, PACKET_BYTES_MAX, handover?.seen, handover?.isConnected ? CONNACK.length : 0)
    let client: Client | null = null
    this.sockets.add(socket)
    socket.on('close', () => {
      this.sockets.delete(socket)
      if (client !== null && !this.sessions.get(client)?.isRegistered) this.sessions.delete(client)
      if (client !== null && this.handovers.delete(client)) handover?.abandoned()
      this.front.listener.ended()
    })
    connection.on('error', error => {
      if (error instanceof PacketTooLargeError)
        this.front.refuse('packet-too-large', client?.id, { remote: connection.remote, message: error.message })
    })
    if (this.isHeld) connection.hold()
    client = this.broker.handle(connection)
    if (handover !== null) this.handovers.set(client, handover)
  }

  showStatus({ deviceId, payload }: DeviceMessage): void {
    const packet = { topic: topicOf(deviceId, 'status'), payload: Buffer.from(payload), qos: 1 as const, dup: false, retain: false }
    this.broker.publish({ cmd: 'publish', ...packet }, () => {})
  }

  relay(deviceId: string, kind: DownstreamKind, payload: Uint8Array): void {
    const packet = { topic: topicOf(deviceId, kind), payload: Buffer.from(payload), qos: 1 as const, dup: false, retain: false }
    this.broker.publish({ cmd: 'publish', ...packet }, () => {})
  }

  get hasHeld(): boolean {
    return this.heldSessions.size > 0
  }

  /** Reads no more of any connection. */
  hold(): void {
    this.isHeld = true
    for (const session of this.sessions.values()) this.holdSession(session)
  }

  /** Ends the connections, with their wills. */
  close(): Promise<void> {
    return new Promise(resolve => this.broker.close(resolve))
  }

  /** Resolves when all sockets are closed; destroys what is left after `ms`. */
  async ended(ms: number): Promise<void> {
    const deadlineMs = performance.now() + ms
    while (this.sockets.size > 0 && performance.now() < deadlineMs) await pause(CLOSE_POLL_MS)
    for (const socket of this.sockets) socket.destroy()
  }

  private register(client: Client): void {
    const session = this.sessions.get(client)
    if (session === undefined) return
    session.isRegistered = true
    this.handovers.delete(client)
    const subscriptions = session.handover?.subscriptions.map(({ kind, qos }) => ({ topic: topicOf(client.id, kind), qos })) ?? []
    for (const { topic } of subscriptions) session.restored.add(topic)
    session.missed = session.handover?.missed ?? null
    this.front.register(client.id, session, session.will)
    if (subscriptions.length === 0) session.restore()
    else client.subscribe(subscriptions, () => session.restore())
  }

  private admitsSubscription(client: Client, filter: string): boolean {
    return admitSubscription(client.id, filter, this.front.isRelay(client.id))
  }

  private unregister(client: Client): void {
    const session = this.sessions.get(client)
    if (session === undefined) return
    this.sessions.delete(client)
    this.heldSessions.delete(session)
    this.front.unregister(client.id, session)
  }

  private publish(client: Client | null, packet: PublishPacket, done: (error?: Error | null) => void): void {
    if (client === null) {
      done(null) // our own
      return
    }
    const payload = packet.payload as Buffer
    const admission = admitPublish(client.id, packet.topic, payload.length, this.front.isRelay(client.id))
    if (!admission.ok) {
      this.front.refuse(admission.refusal, client.id, { topic: packet.topic.slice(0, 200), bytes: payload.length })
      done(new Error(admission.refusal))
      return
    }
    packet.retain = false
    this.append(client, admission, payload, done)
  }

  private append(client: Client, { kind, deviceId }: Admitted, payload: Buffer, done: (error: Error | null) => void): void {
    const { front } = this
    const session = this.sessions.get(client)
    front.notePublished()
    if (session !== undefined) {
      session.unackedCount++
      session.unackedBytes += payload.length
      if (session.unackedCount >= UNACKED_MAX || session.unackedBytes >= UNACKED_BYTES_MAX || front.core.isFull) this.holdSession(session)
    }
    const settled = (error: Error | null, _entry: number, _token: number, appendedMs: number): void => {
      if (session !== undefined) {
        session.unackedCount--
        session.unackedBytes -= payload.length
      }
      done(error)
      front.noteSettled(error, appendedMs)
    }
    front.core.appendFor(kind, deviceId, payload, { settled }, 0)
  }

  private holdSession(session: AedesSession): void {
    if (session.isHeld) return
    session.isHeld = true
    this.heldSessions.add(session)
    ;(session.client.conn as MeteredConnection).hold()
  }

  releaseHeld(): void {
    if (this.isHeld) return
    for (const session of this.heldSessions) {
      if (session.unackedCount >= UNACKED_MAX / 2 || session.unackedBytes >= UNACKED_BYTES_MAX / 2) continue
      session.isHeld = false
      this.heldSessions.delete(session)
      ;(session.client.conn as MeteredConnection).release()
    }
  }

  /** What is kept for whoever subscribes. */
  private sendRetained(client: Client, subscriptions: readonly Subscription[]): void {
    const session = this.sessions.get(client)
    for (const { topic, qos } of subscriptions) {
      if (!this.admitsSubscription(client, topic) || session?.restored.delete(topic)) continue
      const { core } = this.front
      const downstream = downstreamOf(topic)
      if (isStatusFilter(topic)) {
        core.watchStatuses()
        this.sendKept(client, topic, 'status', qos === 0 ? 0 : 1)
      } else if (downstream !== null && topic !== topicOf(client.id, downstream)) {
        core.watchDevices()
        if (downstream === 'config') this.sendKept(client, topic, 'config', qos === 0 ? 0 : 1)
      } else if (downstream === 'config' && session !== undefined) core.requestConfig(client.id)
    }
  }

  private async sendKept(client: Client, filter: string, kind: 'status' | 'config', qos: 0 | 1): Promise<void> {
    for await (const { deviceId, payload } of this.front.core.kept(filter)) {
      if (client.closed) return
      const topic = topicOf(deviceId, kind)
      const packet = { cmd: 'publish' as const, topic, payload: Buffer.from(payload), qos, dup: false, retain: true }
      await new Promise<void>(resolve => client.publish(packet, () => resolve()))
    }
  }
}

/** null: it will be refused when it is due. */
function willOf(deviceId: string, topic: string, payload: Uint8Array): Will | null {
  const admission = admitPublish(deviceId, topic, payload.length)
  return admission.ok ? { kind: admission.kind, payload } : null
}
