/**
 * One run over an open buffer: carries what the sources give into it and from there to the gateway, and takes a new configuration while
 * it runs, from its file and from the gateway, whose settings go before the file's. Sources that stay as they are live on, with their
 * connections; a reading that is being taken is finished first.
 */
import { profileDigest } from '@tidemark/protocol'
import type { Logger } from 'pino'
import { AgentClock } from './agent-clock.js'
import { type Config, withoutSecrets } from './config.js'
import { ConfigError } from './config-error.js'
import { askKernelClock } from './kernel-clock.js'
import { LARGE_BACKLOG_READINGS } from './limits.js'
import { type LiveReport, LiveSocket, liveSocketPath } from './live-socket.js'
import { monotonicMs } from './monotonic.js'
import { Publisher } from './publisher.js'
import { RemoteConfig, type RemoteSettings } from './remote-config.js'
import { Sampler } from './sampler.js'
import type { Health } from './service-notifier.js'
import { letHeapGrow } from './small-heap.js'
import { LiveSources } from './sources/live-sources.js'
import { openSource } from './sources/open-source.js'
import type { Source } from './sources/source.js'
import type { SqliteBuffer } from './sqlite-buffer.js'
import { Upkeep } from './upkeep.js'

export interface RunOptions {
  /** Drain when the source ends, declare the end of the stream, and return. */
  readonly once: boolean
  readonly agentVersion: string
  readonly log: Logger
  /** Told when it samples into its buffer; again after a salvage. */
  readonly sampling?: (agent: RunningAgent) => void
  /** Aborts: stop sampling, wait a little for what is in flight, and return. */
  readonly signal: AbortSignal
}

/** What an agent runs by. It outlives a buffer that had to be salvaged. */
export interface InUse {
  /** As its file has it. */
  readonly config: Config
  readonly source: Source
  /** That the source was opened with: the file's, or the gateway's. */
  readonly intervalMs: number
}

export class RunningAgent {
  private readonly failure = new AbortController()
  private readonly stop: AbortSignal
  private readonly clock: AgentClock
  private readonly live: LiveSocket
  private readonly remote: RemoteConfig
  private readonly upkeep: Upkeep
  private publisher: Publisher
  /** What is wrong with the disk; null where nothing is. */
  private problem: string | null = null
  private sampler: Sampler | null = null
  /** Aborts when another configuration is to be taken up. */
  private change = new AbortController()
  private next: { readonly use: InUse; readonly done: () => void } | null = null
  private hasEnded = false
  private reloading: Promise<void> = Promise.resolve()
  /** A publisher that says goodbye, and its successor that starts then. */
  private replacing: Promise<void> = Promise.resolve()

  /** @param use the source stays the caller's to close, that of `use` when the run has ended */
  constructor(
    private inUse: InUse,
    private readonly buffer: SqliteBuffer,
    private readonly options: RunOptions,
    bootId: string
  ) {
    const { config } = inUse
    const { log } = options
    this.stop = AbortSignal.any([options.signal, this.failure.signal])
    const failed = (error: unknown) => this.failure.abort(error)
    this.clock = new AgentClock({
      buffer,
      bootId,
      log,
      monotonicMs,
      wallMs: () => Date.now(),
      askKernel: askKernelClock,
      rebased: () => this.publisher.wake(),
      failed
    })
    this.remote = new RemoteConfig(config, log, {
      apply: settings => this.apply(settings),
      answered: () => this.publisher.announce()
    })
    this.upkeep = new Upkeep(buffer, config.buffer, log, {
      changed: () => this.publisher.wake(),
      problem: problem => {
        this.problem = problem
        this.publisher.announce()
      },
      failed
    })
    this.publisher = this.newPublisher()
    this.live = new LiveSocket(liveSocketPath(config.bufferPath), () => this.report())
  }

  /** What it runs by now. */
  get use(): InUse {
    return this.inUse
  }

  /** Runs until it is done or told to stop; what is unacked then is in the buffer. Throws what made it impossible to go on. */
  async run(): Promise<void> {
    const { log } = this.options
    const { config, source } = this.inUse
    const { epoch, state } = this.buffer
    if (!source.live || state.held > LARGE_BACKLOG_READINGS) letHeapGrow()
    if (this.buffer.wasDamaged)
      log.warn({ epoch }, 'the buffer has lost commits, perhaps with its -wal file: they are declared as shed (damaged)')
    log.info({ epoch, buffered: state.held, gateway: config.gateway.mqttUrls.map(withoutSecrets).join(' ') }, 'agent started')
    await this.live
      .listen()
      .catch(error => log.warn({ error: String(error) }, 'status and tail will not see this agent: no socket beside the buffer'))
    this.publisher.start()
    this.upkeep.start()
    try {
      await this.clock.start()
      this.options.sampling?.(this)
      while (!(await this.sample())) await this.takeUp()
    } finally {
      this.live.close()
      this.clock.stop()
      this.upkeep.stop()
      this.hasEnded = true
      this.next?.done()
      await this.reloading
      await this.replacing
      await this.publisher.stop()
      if (this.next !== null) await this.replaceUse(this.next.use)
    }
    if (this.failure.signal.aborted) throw this.failure.signal.reason
    log.info({ sampled: this.buffer.facts().highestSampledSeq, buffered: this.buffer.state.held }, 'agent stopped')
  }

  /** How it does, for the service manager. */
  health(): Health {
    const { source } = this.inUse
    const states = source instanceof LiveSources ? source.states() : []
    return {
      isHung: source instanceof LiveSources && source.isHung(monotonicMs()),
      sampled: this.buffer.facts().highestSampledSeq,
      buffered: this.buffer.state.held,
      problem: this.problem,
      failing: states.filter(({ state }) => state === 'failing').map(({ key }) => key),
      sources: states.length
    }
  }

  /** Takes up another configuration. Never rejects: one that cannot be used is logged, and the old one goes on. */
  reload(read: () => Promise<Config>): Promise<void> {
    return this.changeTo(read, error => this.options.log.error({ error }, 'the new configuration is refused: the old one goes on'))
  }

  /** One change after the other. Resolves when it is taken up, or refused. */
  private changeTo(read: () => Promise<Config>, refused: (reason: string) => void): Promise<void> {
    const { once, log, signal: stop } = this.options
    this.reloading = this.reloading.then(async () => {
      if (this.hasEnded) return
      try {
        const config = this.fitting(await read())
        const { intervalMs } = this.remote.settingsWith(config)
        const previous = this.inUse.source instanceof LiveSources ? this.inUse.source : null
        const source = await openSource({ ...config, intervalMs }, { once, log, stop, previous })
        await new Promise<void>(resolve => {
          this.next = { use: { config, source, intervalMs }, done: resolve }
          if (this.hasEnded) resolve()
          this.change.abort()
        })
      } catch (error) {
        refused(error instanceof Error ? error.message : String(error))
      }
    })
    return this.reloading
  }

  /** Takes what holds now of the gateway's configuration and the file's. A new interval opens the sources anew, where they were. */
  private apply({ intervalMs, commitIntervalMs, maxRate }: RemoteSettings): void {
    this.publisher.setRate('configured', maxRate)
    this.publisher.wake()
    this.upkeep.setCommitInterval(commitIntervalMs)
    if (intervalMs === this.inUse.intervalMs) return
    void this.changeTo(
      async () => this.inUse.config,
      reason => this.remote.withdraw(reason)
    )
  }

  /** Samples until the agent is done (true), or another configuration is to be taken up (false). */
  private async sample(): Promise<boolean> {
    const { buffer, stop } = this
    const { log, once } = this.options
    const { source, config } = this.inUse
    const { profile } = config
    const end = AbortSignal.any([stop, this.change.signal])
    this.sampler = new Sampler({
      source,
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
    const { use, done } = this.next!
    const { config: before } = this.inUse
    this.change = new AbortController()
    this.next = null
    await this.replaceUse(use)
    this.remote.configure(use.config)
    if (publishing(use.config) !== publishing(before)) this.replacing = this.replacePublisher()
    this.options.log.info('the new configuration is taken up')
    done()
  }

  private async replaceUse(use: InUse): Promise<void> {
    const { source: before } = this.inUse
    this.inUse = use
    if (before instanceof LiveSources && use.source instanceof LiveSources) await before.closeAllBut(use.source)
    else await before.close?.()
  }

  /** Sampling goes on meanwhile. */
  private async replacePublisher(): Promise<void> {
    await this.publisher.stop()
    this.publisher = this.newPublisher()
    if (!this.stop.aborted && !this.hasEnded) this.publisher.start()
  }

  /** Refuses what cannot change while the agent runs. */
  private fitting(config: Config): Config {
    const { deviceId, bufferPath, buffer, replay, profile } = this.inUse.config
    for (const [key, isSame] of [
      ['device_id', config.deviceId === deviceId],
      ['buffer', config.bufferPath === bufferPath && JSON.stringify(config.buffer) === JSON.stringify(buffer)],
      ['whether a recording is replayed or live sources are read', (config.replay === null) === (replay === null)]
    ] as const)
      if (!isSame) throw new ConfigError(`${key} cannot change while the agent runs: restart it for that`)
    return profileDigest(config.profile) === profileDigest(profile) ? { ...config, profile } : config
  }

  private newPublisher(): Publisher {
    const { agentVersion, log } = this.options
    const { buffer, clock, remote } = this
    const { config } = this.inUse
    const publisher = new Publisher({
      config,
      buffer,
      clock,
      log,
      agentVersion,
      random: Math.random,
      self: () => ({ epoch: buffer.epoch, config: remote.answer, problem: this.problem }),
      freed: () => this.sampler?.freed(),
      configured: payload => remote.receive(payload),
      failed: error => this.failure.abort(error)
    })
    publisher.setRate('configured', remote.settingsWith(config).maxRate)
    return publisher
  }

  private report(): LiveReport {
    const iso = (ms: number) => new Date(Date.now() - (monotonicMs() - ms)).toISOString()
    const { source } = this.inUse
    const states = source instanceof LiveSources ? source.states() : []
    return {
      type: 'report',
      problem: this.problem,
      clock: this.clock.report(),
      sources: states.map(({ key, metrics, state, sinceMs, failures, failuresTotal, error }) => {
        return { source: key, metrics, state, since: iso(sinceMs), failures, failures_total: failuresTotal, last_error: error }
      })
    }
  }
}

/** What the publisher is made from, to see whether it changed. */
function publishing({ gateway, publish, profile }: Config): string {
  return JSON.stringify([gateway, { ...publish, maxRate: null }, profileDigest(profile)])
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
