/**
 * Keeps the agent connected: one connection after the other, with a delay of full jitter between them. It knows no batches.
 */
import type { Ack } from '@tidemark/protocol'
import type { Logger } from 'pino'
import { withoutSecrets } from './config.js'
import { type BackoffRange, fullJitterMs } from './core/backoff.js'
import { STABLE_CONNECTION_MS } from './limits.js'
import { type ConnectionOptions, MqttConnection } from './mqtt-connection.js'

export interface LinkOptions {
  readonly connection: ConnectionOptions
  readonly backoff: BackoffRange
  readonly log: Logger
  /** In [0, 1). */
  readonly random: () => number
}

export interface LinkEvents {
  readonly up: () => void
  /** Called for each connection that ends, also for one that never came up. */
  readonly down: (reason: string) => void
  readonly told: (ack: Ack) => void
}

export class MqttLink {
  private connection: MqttConnection | null = null
  private isUp = false
  private upSinceMs = 0
  private attempt = 0
  private timer: NodeJS.Timeout | undefined
  private isLeaving = false

  constructor(
    private readonly options: LinkOptions,
    private readonly events: LinkEvents
  ) {}

  /** The connection, while it is up. */
  get live(): MqttConnection | null {
    return this.isUp ? this.connection : null
  }

  connect(): void {
    const { connection: connectionOptions, log } = this.options
    const connection = new MqttConnection(connectionOptions, {
      connected: () => {
        if (this.connection !== connection) return
        this.isUp = true
        this.upSinceMs = performance.now()
        log.info({ gateway: withoutSecrets(connectionOptions.url), session: connection.session }, 'connected')
        this.events.up()
      },
      told: ack => {
        if (this.connection === connection) this.events.told(ack)
      },
      closed: reason => {
        if (this.connection === connection) this.closed(reason)
      }
    })
    this.connection = connection
  }

  /** The gateway has acked something: the next delay is short again. */
  succeeded(): void {
    this.attempt = 0
  }

  /** Gives the connection up; another follows. */
  drop(reason: string): void {
    this.connection?.drop(reason)
  }

  /** Takes no more connections, and says goodbye on the one that is up. */
  async leave(): Promise<void> {
    this.isLeaving = true
    clearTimeout(this.timer)
    const connection = this.connection
    this.connection = null
    this.isUp = false
    await connection?.leave()
  }

  private closed(reason: string): void {
    const { backoff, log, random } = this.options
    if (this.isUp && performance.now() - this.upSinceMs >= STABLE_CONNECTION_MS) this.attempt = 0
    const wasUp = this.isUp
    this.connection = null
    this.isUp = false
    const delayMs = Math.ceil(fullJitterMs(this.attempt++, backoff, random()))
    log.warn({ reason, retry_ms: delayMs }, wasUp ? 'connection lost' : 'cannot connect')
    this.timer = setTimeout(() => this.connect(), delayMs)
    this.events.down(reason)
    if (this.isLeaving) clearTimeout(this.timer)
  }
}
