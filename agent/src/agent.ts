/** Puts the parts together and runs them: lock, buffer, source, sampler, publisher. */
import type { Logger } from 'pino'
import { isDamage } from './buffer-error.js'
import { lockBuffer } from './buffer-lock.js'
import { openBuffer } from './buffer-opening.js'
import { bufferOptionsOf } from './buffer-options.js'
import { type Config, withoutSecrets } from './config.js'
import { SALVAGES_MAX } from './limits.js'
import { Publisher } from './publisher.js'
import { RemoteConfig, type RemoteSettings } from './remote-config.js'
import { Sampler } from './sampler.js'
import { openSource } from './sources/open-source.js'
import type { Source } from './sources/source.js'
import type { SqliteBuffer } from './sqlite-buffer.js'
import { Upkeep } from './upkeep.js'

export interface RunOptions {
  /** Drain when the source ends, declare the end of the stream, and return. */
  readonly once: boolean
  readonly agentVersion: string
  readonly log: Logger
  /** Aborts: stop sampling, wait a little for what is in flight, and return. */
  readonly signal: AbortSignal
}

/**
 * Runs an agent until it is done or told to stop; what is unacked then is in the buffer. Throws `ConfigError` and
 * `BufferOpenError` for what a person must correct, and otherwise what made it impossible to go on.
 */
export async function runAgent(config: Config, options: RunOptions): Promise<void> {
  const { once, log, signal } = options
  let source = await openSource(config, { once, log, stop: signal })
  const reopen = async (intervalMs: number) => {
    await source.close?.()
    source = await openSource({ ...config, intervalMs }, { once, log, stop: signal })
    return source
  }
  const unlock = lockBuffer(config.bufferPath)
  try {
    const bufferOptions = await bufferOptionsOf(config, source.live)
    for (let salvages = 0, isDamaged = false; ; salvages++) {
      const buffer = openBuffer(bufferOptions, options.log, isDamaged)
      try {
        await new Agent(config, { source, reopen }, buffer, options).run()
        return
      } catch (error) {
        if (!isDamage(error) || salvages >= SALVAGES_MAX) throw error
        isDamaged = true
      } finally {
        buffer.close()
      }
    }
  } finally {
    unlock()
    await source.close?.()
  }
}

/** What is sampled, and how it is opened anew with another interval; `reopen` closes what was open. */
interface Sampling {
  readonly source: Source
  reopen(intervalMs: number): Promise<Source>
}

/** One run over an open buffer. */
class Agent {
  private readonly failure = new AbortController()
  private readonly publisher: Publisher
  private readonly upkeep: Upkeep
  private readonly remote: RemoteConfig
  private sampler: Sampler | null = null
  /** Ends the sampler's run when it is to go on otherwise. */
  private restart = new AbortController()
  private intervalMs: number
  private problem: string | null = null

  constructor(
    private readonly config: Config,
    private readonly sampling: Sampling,
    private readonly buffer: SqliteBuffer,
    private readonly options: RunOptions
  ) {
    const { log, agentVersion } = options
    const failed = (error: unknown) => this.failure.abort(error)
    this.intervalMs = config.intervalMs
    this.remote = new RemoteConfig(config, log, {
      apply: settings => this.apply(settings),
      answered: () => this.publisher.announce()
    })
    this.publisher = new Publisher({
      config,
      buffer,
      log,
      agentVersion,
      random: Math.random,
      self: () => ({ epoch: buffer.epoch, config: this.remote.answer, problem: this.problem }),
      freed: () => this.sampler?.freed(),
      configured: payload => this.remote.receive(payload),
      failed
    })
    this.upkeep = new Upkeep(buffer, config.buffer, log, {
      changed: () => this.publisher.wake(),
      problem: problem => {
        this.problem = problem
        this.publisher.announce()
      },
      failed
    })
  }

  async run(): Promise<void> {
    const { buffer, config, failure } = this
    const { log, once, signal } = this.options
    const stop = AbortSignal.any([signal, failure.signal])
    const { epoch, state } = buffer
    if (buffer.wasDamaged)
      log.warn({ epoch }, 'the buffer has lost commits, perhaps with its -wal file: they are declared as shed (damaged)')
    log.info({ epoch, buffered: state.held, gateway: config.gateway.mqttUrls.map(withoutSecrets).join(' ') }, 'agent started')
    this.publisher.start()
    this.upkeep.start()
    try {
      const ended = await this.sample(stop)
      if (ended) log.info({ sampled: buffer.facts().highestSampledSeq, buffered: buffer.state.held }, 'the source has ended')
      if (ended && once) await Promise.race([this.publisher.endStream(), aborted(stop)])
      else await aborted(stop)
    } finally {
      this.upkeep.stop()
      await this.publisher.stop()
    }
    if (failure.signal.aborted) throw failure.signal.reason
    log.info({ sampled: buffer.facts().highestSampledSeq, buffered: buffer.state.held }, 'agent stopped')
  }

  /** Samples until the source ends (true) or `stop` aborts (false). A new interval opens the source anew, where it was. */
  private async sample(stop: AbortSignal): Promise<boolean> {
    const { buffer, config } = this
    const { log } = this.options
    let { source } = this.sampling
    for (;;) {
      this.restart = new AbortController()
      this.sampler = new Sampler({ source, profile: config.profile, buffer, log, committed: () => this.publisher.wake() })
      const ended = await this.sampler.run(AbortSignal.any([stop, this.restart.signal]))
      if (ended || stop.aborted) return ended
      source = await this.sampling.reopen(this.intervalMs)
    }
  }

  private apply({ intervalMs, commitIntervalMs, maxRate }: RemoteSettings): void {
    this.publisher.setRate('configured', maxRate)
    this.publisher.wake()
    this.upkeep.setCommitInterval(commitIntervalMs)
    if (intervalMs === this.intervalMs) return
    this.intervalMs = intervalMs
    this.restart.abort()
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
