/** Puts the parts together and runs them: lock, buffer, source, sampler, publisher. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Logger } from 'pino'
import { lockBuffer } from './buffer-lock.js'
import { type Config, withoutSecrets } from './config.js'
import { MqttPublisher } from './mqtt-publisher.js'
import { Sampler } from './sampler.js'
import { openSource } from './sources/open-source.js'
import type { Source } from './sources/source.js'
import { SqliteBuffer } from './sqlite-buffer.js'

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
  const source = await openSource(config, { once, log, stop: signal })
  const unlock = lockBuffer(config.bufferPath)
  try {
    const buffer = new SqliteBuffer({
      path: config.bufferPath,
      deviceId: config.deviceId,
      machineId: await machineId(),
      bytesMax: config.bufferBytesMax,
      randomBytes: () => randomBytes(7),
      wallMs: () => Date.now()
    })
    try {
      await runParts(config, source, buffer, options)
    } finally {
      buffer.close()
    }
  } finally {
    unlock()
    await source.close?.()
  }
}

async function runParts(
  config: Config,
  source: Source,
  buffer: SqliteBuffer,
  { once, agentVersion, log, signal }: RunOptions
): Promise<void> {
  const failure = new AbortController()
  const stop = AbortSignal.any([signal, failure.signal])
  const publisher = new MqttPublisher({
    config,
    buffer,
    log,
    agentVersion,
    random: Math.random,
    freed: () => sampler.freed(),
    failed: error => failure.abort(error)
  })
  const sampler = new Sampler({ source, profile: config.profile, buffer, log, committed: () => publisher.wake() })
  const { epoch, state } = buffer
  log.info({ epoch, buffered: state.held, gateway: withoutSecrets(config.gatewayUrl) }, 'agent started')
  publisher.start()
  try {
    const ended = await sampler.run(stop)
    if (ended) log.info({ sampled: buffer.facts().highestSampledSeq, buffered: buffer.state.held }, 'the source has ended')
    if (ended && once) await Promise.race([publisher.endStream(), aborted(stop)])
    else await aborted(stop)
  } finally {
    await publisher.stop()
  }
  if (failure.signal.aborted) throw failure.signal.reason
  log.info({ sampled: buffer.facts().highestSampledSeq, buffered: buffer.state.held }, 'agent stopped')
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** What tells this machine from a copy of its disk; empty where the system has no such file (machine-id(5)). */
async function machineId(): Promise<string> {
  try {
    return (await readFile('/etc/machine-id', 'utf8')).trim()
  } catch {
    return ''
  }
}
