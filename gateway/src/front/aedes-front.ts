/**
 * The MQTT front: terminates connections with aedes, admits publishes and hands them to the log. It decodes no readings.
 *
 * aedes writes PUBACK right after `authorizePublish` calls back, before it persists or emits anything; so the hook appends to the
 * log, and "acked" means "in the log". What cannot be decoded is logged too: refusing it would make the device resend it for ever.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { type Ack, decodeStatus, isDeviceId, PAYLOAD_BYTES_MAX, type Status, topicOf } from '@tidemark/protocol'
import { Aedes, type AuthenticateError, type Client, type PublishPacket } from 'aedes'
import type { Logger } from 'pino'
import type { FrameLog } from '../log/frame-log.js'
import { admitPublish, admitSubscription, type Refusal, type UpstreamKind } from './admission.js'
import { MeteredConnection, PacketTooLargeError } from './metered-connection.js'

export interface FrontCounters {
  connections: number
  published: number
  acked: number
  /** By refusal. */
  refused: Record<Refusal | 'packet-too-large' | 'client-id' | 'log', number>
}

/** What a PUBLISH has beside its payload: fixed header, topic, message ID. */
const PACKET_OVERHEAD_BYTES = 256

/** Publishes and bytes of one client that may wait for their PUBACK before its socket is no longer read. */
const UNACKED_MAX = 256
const UNACKED_BYTES_MAX = 1024 * 1024

/** Connections of one process: below the descriptors that a process may hold. */
const CONNECTIONS_MAX = 18_000

/** Sessions remembered to tell an old session's death from that of the current one. */
const SESSIONS_MAX = 200_000

const IDENTIFIER_REJECTED = 2

interface Unacked {
  count: number
  bytes: number
  isHeld: boolean
}

export class AedesFront {
  readonly counters: FrontCounters = {
    connections: 0,
    published: 0,
    acked: 0,
    refused: { 'wrong-topic': 0, 'topic-of-another-device': 0, 'payload-too-large': 0, 'packet-too-large': 0, 'client-id': 0, log: 0 }
  }
  private readonly unacked = new WeakMap<Client, Unacked>()
  private readonly heldClients = new Set<Client>()
  private releasing: NodeJS.Immediate | null = null
  /** The session of each device's last birth. */
  private readonly sessions = new Map<string, string>()
  private readonly sockets = new Set<Socket>()
  private readonly server: Server
  /** Called with the milliseconds from the hook to its callback, one a publish. */
  onAcked: (milliseconds: number) => void = () => {}

  private constructor(
    private readonly broker: Aedes,
    private readonly log: FrameLog,
    private readonly logger: Logger
  ) {
    this.server = createServer({ noDelay: true }, socket => this.accept(socket))
    this.server.maxConnections = CONNECTIONS_MAX
    broker.preConnect = (_client, packet, done) => {
      packet.clean = true // nothing is queued for who is away
      done(null, true)
    }
    broker.authenticate = (client, _username, _password, done) => {
      if (isDeviceId(client.id)) {
        done(null, true)
        return
      }
      this.refuse('client-id', client, { message: 'the client ID is no device ID: use 1 to 64 of A-Z a-z 0-9 . _ -' })
      done(Object.assign(new Error('client ID refused'), { returnCode: IDENTIFIER_REJECTED }) as AuthenticateError, false)
    }
    broker.authorizePublish = (client, packet, done) => this.publish(client, packet, done)
    broker.authorizeSubscribe = (client, subscription, done) =>
      done(null, admitSubscription(client.id, subscription.topic) ? subscription : null)
    const onError = (client: Client, error: Error) => this.logger.debug({ client: client.id, error: error.message }, 'connection ended')
    broker.on('clientError', onError)
    broker.on('connectionError', onError)
  }

  static async create(log: FrameLog, logger: Logger): Promise<AedesFront> {
    return new AedesFront(await Aedes.createBroker({ drainTimeout: 60_000 }), log, logger)
  }

  /** Resolves with the port. Rejects where it cannot listen. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject)
      this.server.listen({ host, port, backlog: 4096 }, () => {
        this.server.off('error', reject)
        const address = this.server.address()
        resolve(typeof address === 'object' && address !== null ? address.port : port)
      })
    })
  }

  /** Tells a device something on its ack topic. */
  tell(deviceId: string, message: object): void {
    const packet = {
      cmd: 'publish' as const,
      topic: topicOf(deviceId, 'ack'),
      payload: Buffer.from(JSON.stringify(message)),
      qos: 1 as const,
      dup: false,
      retain: false
    }
    this.broker.publish(packet, () => {})
  }

  /** Stops listening, ends the connections and waits until the broker is done with them. */
  async close(): Promise<void> {
    const closed = new Promise<void>(resolve => this.server.close(() => resolve()))
    await new Promise<void>(resolve => this.broker.close(resolve))
    for (const socket of this.sockets) socket.destroy()
    await closed
  }

  private accept(socket: Socket): void {
    this.counters.connections++
    this.sockets.add(socket)
    socket.on('close', () => {
      this.counters.connections--
      this.sockets.delete(socket)
    })
    const connection = new MeteredConnection(socket, PAYLOAD_BYTES_MAX + PACKET_OVERHEAD_BYTES)
    connection.on('error', error => {
      if (error instanceof PacketTooLargeError)
        this.refuse('packet-too-large', this.clientOf(connection), { remote: connection.remote, message: error.message })
    })
    this.broker.handle(connection)
  }

  private publish(client: Client | null, packet: PublishPacket, done: (error?: Error | null) => void): void {
    if (client === null) {
      done(null) // our own
      return
    }
    const payload = packet.payload as Buffer
    const admission = admitPublish(client.id, packet.topic, payload.length)
    if (!admission.ok) {
      this.refuse(admission.refusal, client, { topic: packet.topic.slice(0, 200), bytes: payload.length })
      done(new Error(admission.refusal))
      return
    }
    if (admission.kind !== 'status') packet.retain = false
    else {
      const status = decodeStatus(payload)
      if (!this.noteSession(client.id, status)) {
        done(new Error('the death of an earlier session'))
        return
      }
      if (status?.state === 'online') this.tell(client.id, { time_ms: Date.now() } satisfies Ack)
    }
    this.append(client, admission.kind, payload, done)
  }

  private append(client: Client, kind: UpstreamKind, payload: Buffer, done: (error: Error | null) => void): void {
    const startedMs = performance.now()
    const unacked = this.unackedOf(client)
    unacked.count++
    unacked.bytes += payload.length
    this.counters.published++
    if (unacked.count >= UNACKED_MAX || unacked.bytes >= UNACKED_BYTES_MAX || this.log.isFull) this.hold(client, unacked)
    this.log.append(kind, client.id, payload, error => {
      unacked.count--
      unacked.bytes -= payload.length
      if (error === null) {
        this.counters.acked++
        this.onAcked(performance.now() - startedMs)
      } else this.counters.refused.log++
      if (this.heldClients.size > 0) this.releaseSoon()
      done(error)
    })
  }

  /** Remembers the session of a birth. False for the death of a session that is not the last one: it must not bury the birth. */
  private noteSession(deviceId: string, status: Status | null): boolean {
    if (status === null) return true // logged as it is
    if (status.state === 'offline') {
      const current = this.sessions.get(deviceId)
      return current === undefined || current === status.session
    }
    this.sessions.delete(deviceId)
    this.sessions.set(deviceId, status.session)
    if (this.sessions.size > SESSIONS_MAX) {
      const [oldest] = this.sessions.keys()
      this.sessions.delete(oldest)
    }
    return true
  }

  private refuse(
    refusal: keyof FrontCounters['refused'],
    client: Client | null,
    about: { message?: string; topic?: string; bytes?: number; remote?: string }
  ): void {
    this.counters.refused[refusal]++
    const { message = `refused a publish: ${refusal}`, ...rest } = about
    this.logger.warn({ refusal, client: client?.id?.slice(0, 64), ...rest }, message)
  }

  private unackedOf(client: Client): Unacked {
    let unacked = this.unacked.get(client)
    if (unacked === undefined) {
      unacked = { count: 0, bytes: 0, isHeld: false }
      this.unacked.set(client, unacked)
    }
    return unacked
  }

  private hold(client: Client, unacked: Unacked): void {
    if (unacked.isHeld) return
    unacked.isHeld = true
    this.heldClients.add(client)
    ;(client.conn as MeteredConnection).hold()
  }

  /** Once for all acks of a wave. */
  private releaseSoon(): void {
    this.releasing ??= setImmediate(() => {
      this.releasing = null
      if (!this.log.isFull) this.releaseHeld()
    })
  }

  private releaseHeld(): void {
    for (const client of this.heldClients) {
      const unacked = this.unackedOf(client)
      if (unacked.count >= UNACKED_MAX / 2 || unacked.bytes >= UNACKED_BYTES_MAX / 2) continue
      unacked.isHeld = false
      this.heldClients.delete(client)
      ;(client.conn as MeteredConnection).release()
    }
  }

  private clientOf(connection: MeteredConnection): Client | null {
    return (connection as MeteredConnection & { client?: Client }).client ?? null
  }
}
