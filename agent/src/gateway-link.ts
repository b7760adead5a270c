/**
 * Keeps the agent connected: one MQTT connection after the other, over the configured addresses in their order, with a delay of
 * full jitter between them; and HTTP, where it is configured, while MQTT does not get through. It knows no batches.
 *
 * At most one way is live. MQTT is tried on while HTTP serves, and takes over as soon as it is up.
 */
import type { Ack } from '@tidemark/protocol'
import type { Logger } from 'pino'
import { type GatewayConfig, withoutSecrets } from './config.js'
import { type BackoffRange, fullJitterMs } from './core/backoff.js'
import type { HttpConnection } from './http-connection.js'
import { STABLE_CONNECTION_MS } from './limits.js'
import { monotonicMs } from './monotonic.js'
import { type ConnectionOptions, MqttConnection } from './mqtt-connection.js'

export interface LinkOptions {
  readonly connection: Omit<ConnectionOptions, 'url'>
  readonly gateway: GatewayConfig
  readonly backoff: BackoffRange
  readonly log: Logger
  /** In [0, 1). */
  readonly random: () => number
}

export interface LinkEvents {
  readonly up: () => void
  /** What was live is gone. `mayBeRefusal`: perhaps for what was sent on it. */
  readonly down: (mayBeRefusal: boolean) => void
  /** Called for each connection that ends, also for one that never came up. */
  readonly failed: (reason: string) => void
  readonly told: (ack: Ack) => void
  readonly configured: (payload: Uint8Array) => void
}

export class GatewayLink {
  private mqtt: MqttConnection | null = null
  private isUp = false
  private wasGivenUp = false
  private upSinceMs = 0
  private attempt = 0
  /** Which of the addresses is tried next. */
  private address = 0
  private timer: NodeJS.Timeout | undefined
  private http: HttpConnection | null = null
  private httpTimer: NodeJS.Timeout | undefined
  private httpAttempt = 0
  private isLeaving = false

  constructor(
    private readonly options: LinkOptions,
    private readonly events: LinkEvents
  ) {}

  get isLive(): boolean {
    return this.isUp || this.http !== null
  }

  start(): void {
    this.connect()
    this.awaitHttp()
  }

  publish(payload: Uint8Array, acked: () => void): void {
    if (this.isUp) this.mqtt?.publish(payload, acked)
    else this.http?.publish(payload, acked)
  }

  /** Publishes the birth again, where that is possible. */
  announce(): void {
    if (this.isUp) this.mqtt?.announce()
  }

  /** The gateway has acked something: the next delay is short again. */
  succeeded(): void {
    if (this.isUp) this.attempt = 0
    else this.httpAttempt = 0
  }

  /** Gives up what is live; another follows. */
  drop(reason: string): void {
    this.wasGivenUp = true
    if (this.isUp) this.mqtt?.drop(reason)
    else this.httpClosed(reason, false, 0)
  }

  /** Takes no more connections, and says goodbye on the one that is up. */
  async leave(): Promise<void> {
    this.isLeaving = true
    clearTimeout(this.timer)
    clearTimeout(this.httpTimer)
    this.http?.drop()
    this.http = null
    const connection = this.mqtt
    this.mqtt = null
    this.isUp = false
    await connection?.leave()
  }

  private connect(): void {
    const { connection: connectionOptions, gateway } = this.options
    const url = gateway.mqttUrls[this.address]
    const connection = new MqttConnection(
      { ...connectionOptions, url },
      {
        connected: () => {
          if (this.mqtt === connection) this.connected(url, connection)
        },
        told: ack => {
          if (this.mqtt === connection) this.events.told(ack)
        },
        configured: payload => {
          if (this.mqtt === connection) this.events.configured(payload)
        },
        closed: reason => {
          if (this.mqtt === connection) this.closed(reason)
        }
      }
    )
    this.mqtt = connection
  }

  private connected(url: string, connection: MqttConnection): void {
    clearTimeout(this.httpTimer)
    if (this.http !== null) {
      this.http.drop()
      this.http = null
      this.events.down(false)
    }
    this.isUp = true
    this.wasGivenUp = false
    this.upSinceMs = monotonicMs()
    this.options.log.info({ gateway: withoutSecrets(url), session: connection.session }, 'connected')
    this.events.up()
  }

  private closed(reason: string): void {
    const { backoff, gateway, log, random } = this.options
    const { mqttUrls } = gateway
    const wasUp = this.isUp
    const wasGood = wasUp && !this.wasGivenUp && (this.attempt === 0 || monotonicMs() - this.upSinceMs >= STABLE_CONNECTION_MS)
    if (wasGood) this.attempt = 0
    // A good one may come back, and stands first again; one that takes nothing, however long it stood, makes way for the next.
    this.address = wasGood ? 0 : (this.address + 1) % mqttUrls.length
    this.mqtt = null
    this.isUp = false
    const round = Math.floor(this.attempt++ / mqttUrls.length)
    const delayMs = Math.ceil(fullJitterMs(round, backoff, random()))
    log.warn({ reason, retry_ms: delayMs }, wasUp ? 'connection lost' : 'cannot connect')
    if (!this.isLeaving) this.timer = setTimeout(() => this.connect(), delayMs)
    if (wasUp) {
      this.events.down(!this.wasGivenUp)
      this.awaitHttp(this.wasGivenUp)
    }
    this.events.failed(reason)
  }

  /** @param isStalled MQTT has been up for long, and acked nothing */
  private awaitHttp(isStalled = false): void {
    const { httpUrl, httpAfterMs } = this.options.gateway
    if (httpUrl === null || this.isLeaving) return
    clearTimeout(this.httpTimer)
    this.httpTimer = setTimeout(() => this.openHttp(httpUrl), isStalled ? 0 : httpAfterMs)
  }

  private async openHttp(url: string): Promise<void> {
    const { HttpConnection } = await import('./http-connection.js')
    if (this.isLive || this.isLeaving) return
    const { connection, gateway, log } = this.options
    this.http = new HttpConnection(url, connection.deviceId, gateway.httpToken, {
      closed: (reason, mayBeRefusal, retryAfterMs) => this.httpClosed(reason, mayBeRefusal, retryAfterMs)
    })
    this.wasGivenUp = false
    log.info({ gateway: withoutSecrets(url) }, 'MQTT does not get through: posting batches over HTTP')
    this.events.up()
  }

  private httpClosed(reason: string, mayBeRefusal: boolean, retryAfterMs: number): void {
    const { backoff, gateway, log, random } = this.options
    if (this.http === null) return
    this.http.drop()
    this.http = null
    const delayMs = retryAfterMs + Math.ceil(fullJitterMs(this.httpAttempt++, backoff, random()))
    log.warn({ reason, retry_ms: delayMs }, 'cannot post')
    if (!this.isLeaving) this.httpTimer = setTimeout(() => this.openHttp(gateway.httpUrl!), delayMs)
    this.events.down(mayBeRefusal && !this.wasGivenUp)
    this.events.failed(reason)
  }
}
