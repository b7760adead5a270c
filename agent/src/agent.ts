/** Puts the parts together: lock, buffer, sources, and the agent that runs them. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { lockBuffer } from './buffer-lock.js'
import type { Config } from './config.js'
import { RunningAgent, type RunOptions } from './running-agent.js'
import { openSource } from './sources/open-source.js'
import { SqliteBuffer } from './sqlite-buffer.js'

/**
 * Runs an agent until it is done or told to stop; what is unacked then is in the buffer. Throws `ConfigError` and
 * `BufferOpenError` for what a person must correct, and otherwise what made it impossible to go on.
 * @param started gets the agent as soon as it can take another configuration
 */
export async function runAgent(config: Config, options: RunOptions, started: (agent: RunningAgent) => void = () => {}): Promise<void> {
  const { once, log, signal } = options
  const source = await openSource(config, { once, log, stop: signal, previous: null })
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
      const agent = await RunningAgent.create(config, source, buffer, options)
      started(agent)
      await agent.run()
    } finally {
      buffer.close()
    }
  } finally {
    unlock()
  }
}

/** What tells this machine from a copy of its disk; empty where the system has no such file (machine-id(5)). */
async function machineId(): Promise<string> {
  try {
    return (await readFile('/etc/machine-id', 'utf8')).trim()
  } catch {
    return ''
  }
}
