/**
 * What the light sessions of a front share: their sockets' listeners, one clock for keepalive and for connections that say or read
 * nothing, the PUBACKs of a wave (one write a socket), and who is held.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { FrameInPlace } from '../log/frames.js'
import { CONNECT_MS_MAX, DRAIN_MS_MAX, PACKET_BYTES_MAX, UNACKED_BYTES_MAX, UNACKED_MAX } from './bounds.js'
import type { ClientSocket } from './client-socket.js'
import type { Downstream, Will } from './core.js'
import type { Front } from './front.js'
import { LightSession } from './light-session.js'
import { PacketTooLargeError } from './metered-connection.js'

/** How often it is looked whether a connection's time is over, ms: a tick. */
const TICK_MS = 500

const CLOSE_POLL_MS = 20

/** A connection may be silent for its keepalive and a half (MQTT 3.1.1, section 3.1.2.10). */
const KEEPALIVE_FACTOR = 1.5

const SESSION = Symbol('light session')

interface LightSocket extends ClientSocket {
  [SESSION]: LightSession
}

/** What aedes is to make of a connection that was a light session. */
export interface Handover {
  /** What it has sent and aedes has not seen: its CONNECT, and what it was not served. */
  readonly seen: Buffer
  /** Whether its CONNECT was acknowledged already: aedes' own CONNACK is not sent. */
  readonly isConnected: boolean
  /** What it is subscribed to. */
  readonly subscriptions: readonly { readonly kind: 'config' | 'ack'; readonly qos: 0 | 1 }[]
  /** What has come down to it meanwhile; grows until whoever takes it says so to the front. */
  readonly missed: Downstream[]
  /** To be called if the connection is lost before aedes has registered it. */
  abandoned(): void
}

export class LightSessions {
  /** Counts up; never 0. */
  tick = 1
  /** What a session fills in to append it: one for all. */
  readonly frame: FrameInPlace = { kind: 'batch', bytes: Buffer.alloc(0), idStart: 0, idEnd: 0, payloadStart: 0, payloadEnd: 0 }
  private readonly sessions = new Set<LightSession>()
  private readonly held = new Set<LightSession>()
  private touched: LightSession[] = []
  private readonly ticking: NodeJS.Timeout
  private isClosing = false

  constructor(
    readonly front: Front,
    private readonly toAedes: (socket: ClientSocket, handover: Handover) => void
  ) {
    this.ticking = setInterval(() => this.sweep(), TICK_MS)
  }

  get size(): number {
    return this.sessions.size
  }

  get hasHeld(): boolean {
    return this.held.size > 0
  }

  accept(socket: ClientSocket): void {
    const session = new LightSession(this, socket)
    ;(socket as LightSocket)[SESSION] = session
    this.sessions.add(session)
    socket.reader = session
    socket.on('error', onError)
    socket.on('close', onClose)
    socket.resume()
  }

  appendWill(deviceId: string, { kind, payload }: Will): void {
    this.front.notePublished()
    this.front.core.appendFor(kind, deviceId, payload, { settled: (error, _entry, _token, ms) => this.front.noteSettled(error, ms) }, 0)
  }

  refuseSize({ deviceId, socket }: LightSession): void {
    const remote = `${socket.remoteAddress}:${socket.remotePort}`
    const { message } = new PacketTooLargeError(PACKET_BYTES_MAX)
    this.front.refuse('packet-too-large', deviceId === '' ? undefined : deviceId, { remote, message })
  }

  /** Reads no more of it until it has fewer unacked. */
  hold(session: LightSession): void {
    if (session.isHeld) return
    session.isHeld = true
    this.held.add(session)
    session.socket.pause()
  }

  releaseHeld(): void {
    if (this.isClosing) return
    for (const session of this.held) {
      if (session.unackedCount >= UNACKED_MAX / 2 || session.unackedBytes >= UNACKED_BYTES_MAX / 2) continue
      session.isHeld = false
      this.held.delete(session)
      this.resume(session)
    }
  }

  /** The session has PUBACKs of this wave to write: once all of the wave are told. */
  flushSoon(session: LightSession): void {
    this.touched.push(session)
    if (this.touched.length === 1) queueMicrotask(() => this.flush())
  }

  /** It does not read what it is sent: it is not read either, until it does. */
  noteClogged(session: LightSession): void {
    session.clogTick = this.tick
    session.socket.pause()
    session.socket.once('drain', onDrain)
  }

  drained(session: LightSession): void {
    session.clogTick = 0
    this.resume(session)
  }

  closed(session: LightSession): void {
    session.end(true)
    this.held.delete(session)
    this.sessions.delete(session)
    this.front.listener.ended()
  }

  handOver(session: LightSession, connectPacket: Buffer | null, unserved: Buffer): void {
    const { socket, configQos, ackQos } = session
    socket.off('error', onError)
    socket.off('close', onClose)
    socket.off('drain', onDrain)
    this.held.delete(session)
    this.sessions.delete(session)
    const subscriptions = [
      { kind: 'config' as const, qos: configQos },
      { kind: 'ack' as const, qos: ackQos }
    ].flatMap(({ kind, qos }) => (qos < 0 ? [] : [{ kind, qos: qos === 0 ? (0 as const) : (1 as const) }]))
    session.missed = []
    this.toAedes(socket, {
      seen: connectPacket === null ? unserved : Buffer.concat([connectPacket, unserved]),
      isConnected: connectPacket !== null,
      subscriptions,
      missed: session.missed,
      abandoned: () => this.abandoned(session)
    })
  }

  /** Reads no more of any connection. */
  holdAll(): void {
    this.isClosing = true
    for (const session of this.sessions) session.socket.pause()
  }

  /** Ends the connections, with their wills. */
  close(): void {
    clearInterval(this.ticking)
    for (const session of this.sessions) {
      session.end(true)
      session.socket.end()
      session.socket.resume() // what still comes is not looked at
    }
  }

  /** Resolves when all sockets are closed; destroys what is left after `ms`. */
  async ended(ms: number): Promise<void> {
    const deadlineMs = performance.now() + ms
    while (this.sessions.size > 0 && performance.now() < deadlineMs) await pause(CLOSE_POLL_MS)
    for (const { socket } of this.sessions) socket.destroy()
  }

  /** The connection was lost on its way to aedes. */
  private abandoned(session: LightSession): void {
    const { will, deviceId } = session
    if (session.number === 0) return
    if (will !== null) this.appendWill(deviceId, will)
    this.front.unregister(deviceId, session)
  }

  private resume(session: LightSession): void {
    if (this.isClosing || session.isHeld || session.clogTick > 0 || session.state === 'leaving') return
    session.socket.resume()
  }

  private flush(): void {
    const { touched } = this
    this.touched = []
    for (const session of touched) session.flushAcks()
  }

  private sweep(): void {
    this.tick++
    for (const session of this.sessions) {
      const silentMs = (this.tick - session.seenTick) * TICK_MS
      const { state, keepaliveS, clogTick } = session
      if (state === 'new' ? silentMs > CONNECT_MS_MAX : this.isSilent(session, keepaliveS, silentMs)) session.fail()
      else if (clogTick > 0 && (this.tick - clogTick) * TICK_MS > DRAIN_MS_MAX) session.fail()
    }
  }

  /** A session that is not read because of us is not silent. */
  private isSilent({ isHeld, clogTick, state }: LightSession, keepaliveS: number, silentMs: number): boolean {
    return keepaliveS > 0 && !isHeld && clogTick === 0 && state === 'connected' && silentMs > keepaliveS * 1000 * KEEPALIVE_FACTOR + TICK_MS
  }
}

function onError(): void {
  // 'close' follows
}

function onDrain(this: ClientSocket): void {
  const session = (this as LightSocket)[SESSION]
  session.shared.drained(session)
}

function onClose(this: ClientSocket): void {
  const session = (this as LightSocket)[SESSION]
  session.shared.closed(session)
}
