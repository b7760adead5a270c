/** Puts the parts together: lock, sources, buffer, and the agent that runs on them; salvages a buffer that turns out to be damaged. */
import { readBootId } from './boot-id.js'
import { isDamage } from './buffer-error.js'
import { lockBuffer } from './buffer-lock.js'
import { openBuffer } from './buffer-opening.js'
import { bufferOptionsOf } from './buffer-options.js'
import type { Config } from './config.js'
import { SALVAGES_MAX } from './limits.js'
import { type InUse, RunningAgent, type RunOptions } from './running-agent.js'
import { openSource } from './sources/open-source.js'
import type { SqliteBuffer } from './sqlite-buffer.js'

/**
 * Runs an agent until it is done or told to stop; what is unacked then is in the buffer. Throws `ConfigError` and
 * `BufferOpenError` for what a person must correct, and otherwise what made it impossible to go on.
 * @param started gets the agent as soon as it can take another configuration; another one after each salvage
 */
export async function runAgent(config: Config, options: RunOptions, started: (agent: RunningAgent) => void = () => {}): Promise<void> {
  const { once, log, signal } = options
  const source = await openSource(config, { once, log, stop: signal, previous: null })
  let use: InUse = { config, source, intervalMs: config.intervalMs }
  const unlock = lockBuffer(config.bufferPath)
  try {
    const [bufferOptions, bootId] = await Promise.all([bufferOptionsOf(config, source.live), readBootId()])
    for (let salvages = 0, isDamaged = false; ; salvages++) {
      const buffer = openBuffer(bufferOptions, log, isDamaged)
      isDamaged = false
      try {
        const agent = new RunningAgent(use, buffer, options, bootId)
        started(agent)
        await agent.run().finally(() => {
          use = agent.use
        })
        return
      } catch (error) {
        if (!isDamage(error) || salvages >= SALVAGES_MAX) throw error
        isDamaged = true
      } finally {
        closeBuffer(buffer, isDamaged)
      }
    }
  } finally {
    unlock()
    await use.source.close?.()
  }
}

/** A damaged one need not take what is written last: it is salvaged next. */
function closeBuffer(buffer: SqliteBuffer, isDamaged: boolean): void {
  try {
    buffer.close()
  } catch (error) {
    if (!isDamaged || !isDamage(error)) throw error
  }
}
