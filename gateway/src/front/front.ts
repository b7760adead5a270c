/**
 * The MQTT front of one process: takes connections up to its cap, serves them, and knows which of them is a device's. It decodes no
 * readings. What it appends is the core's; PUBACK is written only when the core says that the frame is durable.
 */
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import { seldom } from '../seldom.js'
import { relayMatcher } from './admission.js'
import { AedesSessions } from './aedes-sessions.js'
import type { ClientSocket } from './client-socket.js'
import type { DeviceMessage, DownstreamKind, FrontCore, FrontEnd, Will } from './core.js'
import { LightSessions } from './light-sessions.js'
import { Listener } from './listener.js'
import { emptyStats, type FrontRefusal, type FrontStats, observePuback, type ProcessStats } from './stats.js'

export interface FrontOptions {
  /** Connections at a time. */
  readonly connectionsMax: number
  /** Whether devices are served without aedes as long as they ask for no more than devices need. */
  readonly lightSessions: boolean
  /** Clients that may publish for any device, as `relayMatcher` takes them. */
  readonly relays: readonly string[]
}

/** A device's connection, however it is served. */
export interface Session {
  readonly number: number
  /** Ends it, with its will: another connection of the device holds. */
  takeOver(): void
  deliver(kind: DownstreamKind, payload: Uint8Array, isRetained: boolean): void
}

/** How long connections may take to close after the last PUBACK, ms. */
const LINGER_MS = 1000

/** What aedes has read before it was held it still publishes, a little at a time: nothing does for so many rounds. */
const QUIET_ROUNDS = 3
const QUIET_MS = 5

/** Connections that cannot be accepted come by the hundred; a line that often says enough. */
const ERROR_LINE_MS = 10_000

const LOOP_DELAY_RESOLUTION_MS = 10

export class Front implements FrontEnd {
  readonly stats: FrontStats = emptyStats()
  readonly listener: Listener
  /** Whether the client may publish for any device; aedes serves it. */
  readonly isRelay: (clientId: string) => boolean
  /** Publishes that the core has not settled. */
  unsettled = 0
  private readonly sessions = new Map<string, Session>()
  private readonly aedes: AedesSessions
  private readonly light: LightSessions | null
  private releasing: NodeJS.Immediate | null = null
  private readonly loopDelay = monitorEventLoopDelay({ resolution: LOOP_DELAY_RESOLUTION_MS })
  private numbers = 0
  private onSettled: (() => void) | null = null

  private constructor(
    readonly core: FrontCore,
    readonly logger: Logger,
    { connectionsMax, lightSessions, relays }: FrontOptions,
    aedes: AedesSessions
  ) {
    this.aedes = aedes
    this.isRelay = relayMatcher(relays)
    this.light = lightSessions ? new LightSessions(this, (socket, handover) => aedes.accept(socket, handover)) : null
    this.listener = new Listener(connectionsMax, socket => this.accept(socket))
    this.listener.onError = seldom(ERROR_LINE_MS, ({ message }, leftOut) =>
      this.logger.error({ error: message, leftOut }, 'a connection could not be accepted')
    )
    this.loopDelay.enable()
  }

  static async create(core: FrontCore, logger: Logger, options: FrontOptions): Promise<Front> {
    const aedes = await AedesSessions.create()
    const front = new Front(core, logger, options, aedes)
    aedes.serve(front)
    return front
  }

  /** Resolves with the port. Rejects where it cannot listen. */
  listen(host: string, port: number): Promise<number> {
    return this.listener.listen(host, port)
  }

  takeOver(deviceId: string, number: number): void {
    const session = this.sessions.get(deviceId)
    if (session?.number === number) session.takeOver()
  }

  deliver(deviceId: string, kind: DownstreamKind, payload: Uint8Array, isRetained: boolean): void {
    this.sessions.get(deviceId)?.deliver(kind, payload, isRetained)
  }

  relay(deviceId: string, kind: DownstreamKind, payload: Uint8Array): void {
    this.aedes.relay(deviceId, kind, payload)
  }

  showStatus(status: DeviceMessage): void {
    this.aedes.showStatus(status)
  }

  nextNumber(): number {
    return ++this.numbers
  }

  /** A device has connected; an earlier connection of it ends. */
  register(deviceId: string, session: Session, will: Will | null): void {
    const before = this.sessions.get(deviceId)
    this.sessions.set(deviceId, session)
    this.core.connected({ deviceId, number: session.number, acceptedMs: monotonicMs(), will })
    before?.takeOver()
  }

  /** A connection has ended, and its will, if it was due, is appended. */
  unregister(deviceId: string, session: Session): void {
    if (this.sessions.get(deviceId) === session) this.sessions.delete(deviceId)
    this.core.disconnected(deviceId, session.number)
  }

  notePublished(): void {
    this.stats.published++
    this.unsettled++
  }

  noteSettled(error: Error | null, appendedMs: number): void {
    this.unsettled--
    if (error === null) {
      this.stats.acked++
      observePuback(this.stats, performance.now() - appendedMs)
    } else this.stats.refused[(error as { code?: string }).code === 'STALE_DEATH' ? 'stale-death' : 'log']++
    if (this.unsettled === 0) this.onSettled?.()
    if (this.aedes.hasHeld || this.light?.hasHeld) this.releaseSoon()
  }

  refuse(
    refusal: FrontRefusal,
    deviceId: string | undefined,
    about: { message?: string; topic?: string; bytes?: number; remote?: string }
  ): void {
    this.stats.refused[refusal]++
    const { message = `refused a publish: ${refusal}`, ...rest } = about
    this.logger.warn({ refusal, client: deviceId?.slice(0, 64), ...rest }, message)
  }

  /** The counters as of now. */
  snapshot(): FrontStats {
    this.stats.connections = this.listener.connections
    this.stats.lightSessions = this.light?.size ?? 0
    return this.stats
  }

  /** What the process uses; the delay is that since the last call. */
  usage(): ProcessStats {
    const { user, system } = process.cpuUsage()
    const loopDelaySeconds = this.loopDelay.percentile(99) / 1e9
    this.loopDelay.reset()
    return { residentBytes: process.memoryUsage.rss(), cpuSeconds: (user + system) / 1e6, loopDelaySeconds }
  }

  /** Takes in no more, waits until all that was appended is settled and its PUBACKs are written, and ends the connections. */
  async close(): Promise<void> {
    this.listener.close()
    this.aedes.hold()
    this.light?.holdAll()
    await this.settled()
    this.light?.close()
    await this.aedes.close()
    await this.settled() // the wills
    await Promise.all([this.aedes.ended(LINGER_MS), this.light?.ended(LINGER_MS)])
    this.loopDelay.disable()
  }

  private accept(socket: ClientSocket): void {
    if (this.light === null) this.aedes.accept(socket)
    else this.light.accept(socket)
  }

  /** Once for all acks of a wave. */
  private releaseSoon(): void {
    this.releasing ??= setImmediate(() => {
      this.releasing = null
      if (this.core.isFull) return
      this.aedes.releaseHeld()
      this.light?.releaseHeld()
    })
  }

  /** Resolves when all is settled and nothing follows from what was read before. */
  private async settled(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_ROUNDS; quiet++) {
      while (this.unsettled > 0) {
        await new Promise<void>(resolve => (this.onSettled = resolve))
        this.onSettled = null
        quiet = 0
      }
      await pause(QUIET_MS)
    }
  }
}

/** The same clock in all processes of this machine. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}
