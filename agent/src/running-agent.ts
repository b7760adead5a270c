/**
 * A running agent: carries what its sources give into the buffer and from there to the gateway, and takes a new configuration while
 * it runs. Sources that stay as they are live on, with their connections; a reading that is being taken is finished first.
 */
import { profileDigest } from '@tidemark/protocol'
import type { Logger } from 'pino'
import { AgentClock } from './agent-clock.js'
import { readBootId } from './boot-id.js'
import { type Config, withoutSecrets } from './config.js'
import { ConfigError } from './config-error.js'
import { askKernelClock } from './kernel-clock.js'
import { LARGE_BACKLOG_READINGS } from './limits.js'
import { type LiveReport, LiveSocket, liveSocketPath } from './live-socket.js'
import { monotonicMs } from './monotonic.js'
import { MqttPublisher } from './mqtt-publisher.js'
import { Sampler } from './sampler.js'
import { letHeapGrow } from './small-heap.js'
import { LiveSources } from './sources/live-sources.js'
import { openSource } from './sources/open-source.js'
import type { Source } from './sources/source.js'
import type { SqliteBuffer } from './sqlite-buffer.js'

export interface RunOptions {
  /** Drain when the source ends, declare the end of the stream, and return. */
  readonly once: boolean
  readonly agentVersion: string
  readonly log: Logger
  /** Aborts: stop sampling, wait a little for what is in flight, and return. */
  readonly signal: AbortSignal
}

export class RunningAgent {
  private readonly failure = new AbortController()
  private readonly stop: AbortSignal
  private readonly clock: AgentClock
  private readonly live: LiveSocket
  private publisher: MqttPublisher
  private sampler: Sampler | null = null
  /** Aborts when another configuration is to be taken up. */
  private change = new AbortController()
  private next: { readonly config: Config; readonly source: Source; readonly done: () => void } | null = null
  private hasEnded = false
  private reloading: Promise<void> = Promise.resolve()
  /** A publisher that says goodbye, and its successor that starts then. */
  private replacing: Promise<void> = Promise.resolve()

  private constructor(
    private config: Config,
    private source: Source,
    private readonly buffer: SqliteBuffer,
    private readonly options: RunOptions,
    bootId: string
  ) {
    this.stop = AbortSignal.any([options.signal, this.failure.signal])
    const failed = (error: unknown) => this.failure.abort(error)
    this.clock = new AgentClock({
      buffer,
      bootId,
      log: options.log,
      monotonicMs,
      wallMs: () => Date.now(),
      askKernel: askKernelClock,
      rebased: () => this.publisher.wake(),
      failed
    })
    this.publisher = this.newPublisher()
    this.live = new LiveSocket(liveSocketPath(config.bufferPath), () => this.report())
  }

  /** @param source opened by the caller for this configuration, and closed by the agent when it ends */
  static async create(config: Config, source: Source, buffer: SqliteBuffer, options: RunOptions): Promise<RunningAgent> {
    return new RunningAgent(config, source, buffer, options, await readBootId())
  }

  /** Runs until it is done or told to stop; what is unacked then is in the buffer. Throws what made it impossible to go on. */
  async run(): Promise<void> {
    const { log } = this.options
    const { epoch, state } = this.buffer
    if (!this.source.live || state.held > LARGE_BACKLOG_READINGS) letHeapGrow()
    log.info({ epoch, buffered: state.held, gateway: withoutSecrets(this.config.gatewayUrl) }, 'agent started')
    await this.live
      .listen()
      .catch(error => log.warn({ error: String(error) }, 'status and tail will not see this agent: no socket beside the buffer'))
    this.publisher.start()
    try {
      await this.clock.start()
      while (!(await this.sample())) await this.takeUp()
    } finally {
      this.live.close()
      this.clock.stop()
      this.hasEnded = true
      this.next?.done()
      await this.reloading
      await this.replacing
      await this.publisher.stop()
      await this.source.close?.()
      await this.next?.source.close?.()
    }
    if (this.failure.signal.aborted) throw this.failure.signal.reason
    log.info({ sampled: this.buffer.facts().highestSampledSeq, buffered: this.buffer.state.held }, 'agent stopped')
  }

  /** Takes up another configuration. Never rejects: one that cannot be used is logged, and the old one goes on. */
  reload(read: () => Promise<Config>): Promise<void> {
    const { log } = this.options
    this.reloading = this.reloading.then(async () => {
      try {
        const config = this.fitting(await read())
        const previous = this.source instanceof LiveSources ? this.source : null
        const source = await openSource(config, { ...this.sourceOptions, previous })
        await new Promise<void>(resolve => {
          this.next = { config, source, done: resolve }
          if (this.hasEnded) resolve()
          this.change.abort()
        })
      } catch (error) {
        log.error(
          { error: error instanceof Error ? error.message : String(error) },
          'the new configuration is refused: the old one goes on'
        )
      }
    })
    return this.reloading
  }

  /** Samples until the agent is done (true), or another configuration is to be taken up (false). */
  private async sample(): Promise<boolean> {
    const { buffer, stop } = this
    const { log, once } = this.options
    const { profile } = this.config
    const end = AbortSignal.any([stop, this.change.signal])
    this.sampler = new Sampler({
      source: this.source,
      profile,
      buffer,
      clock: this.clock,
      log,
      committed: (sampled, isHeld) => {
        this.publisher.wake()
        this.live.tell(profile, sampled, isHeld)
      }
    })
    const ended = await this.sampler.run(end)
    if (ended) log.info({ sampled: buffer.facts().highestSampledSeq, buffered: buffer.state.held }, 'the source has ended')
    if (ended && once) {
      await this.replacing
      const drained = await Promise.race([this.publisher.endStream().then(() => true), aborted(end).then(() => false)])
      if (drained) return true
    } else await aborted(end)
    return stop.aborted
  }

  private async takeUp(): Promise<void> {
    const { config, source, done } = this.next!
    const { log } = this.options
    const [oldConfig, oldSource] = [this.config, this.source]
    this.change = new AbortController()
    this.next = null
    this.config = config
    this.source = source
    log.level = config.logLevel
    if (oldSource instanceof LiveSources && source instanceof LiveSources) await oldSource.closeAllBut(source)
    else await oldSource.close?.()
    if (publishing(config) !== publishing(oldConfig)) this.replacing = this.replacePublisher()
    log.info('the new configuration is taken up')
    done()
  }

  /** Sampling goes on meanwhile. */
  private async replacePublisher(): Promise<void> {
    await this.publisher.stop()
    this.publisher = this.newPublisher()
    if (!this.stop.aborted && !this.hasEnded) this.publisher.start()
  }

  /** Refuses what cannot change while the agent runs. */
  private fitting(config: Config): Config {
    const { deviceId, bufferPath, bufferBytesMax, profile } = this.config
    for (const [key, isSame] of [
      ['device_id', config.deviceId === deviceId],
      ['buffer', config.bufferPath === bufferPath && config.bufferBytesMax === bufferBytesMax]
    ] as const)
      if (!isSame) throw new ConfigError(`${key} cannot change while the agent runs: restart it for that`)
    return profileDigest(config.profile) === profileDigest(profile) ? { ...config, profile } : config
  }

  private get sourceOptions() {
    return { once: this.options.once, log: this.options.log, stop: this.stop }
  }

  private newPublisher(): MqttPublisher {
    const { agentVersion, log } = this.options
    return new MqttPublisher({
      config: this.config,
      buffer: this.buffer,
      clock: this.clock,
      log,
      agentVersion,
      random: Math.random,
      freed: () => this.sampler?.freed(),
      failed: error => this.failure.abort(error)
    })
  }

  private report(): LiveReport {
    const iso = (ms: number) => new Date(Date.now() - (monotonicMs() - ms)).toISOString()
    const states = this.source instanceof LiveSources ? this.source.states() : []
    return {
      type: 'report',
      clock: this.clock.report(),
      sources: states.map(({ key, metrics, state, sinceMs, failures, failuresTotal, error }) => {
        return { source: key, metrics, state, since: iso(sinceMs), failures, failures_total: failuresTotal, last_error: error }
      })
    }
  }
}

/** What the publisher is made from, to see whether it changed. */
function publishing({ gatewayUrl, publish, profile }: Config): string {
  return JSON.stringify([gatewayUrl, publish, profileDigest(profile)])
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
