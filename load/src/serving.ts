/** How it is told that a gateway serves, and where. */
import type { Child } from './child.js'
import { UsageError } from './replay/replay-error.js'

/** Where a gateway listens, host:port. */
export interface Serving {
  readonly mqtt: string
  readonly http: string
}

/** Of the line that says that a gateway serves; null for others. */
export function servingOf(line: string): Serving | null {
  if (!line.startsWith('{')) return null
  const { msg, mqtt, http } = JSON.parse(line) as { msg?: unknown; mqtt?: unknown; http?: unknown }
  return msg === 'ready' && typeof mqtt === 'string' && typeof http === 'string' ? { mqtt, http } : null
}

/** Resolves once a gateway that was just started serves. Rejects where it ends before, with a `UsageError` for a wrong configuration. */
export async function serving(gateway: Child): Promise<Serving> {
  const ready = new Promise<Serving>(resolve => {
    gateway.onLine(line => {
      const found = servingOf(line)
      if (found !== null) resolve(found)
    })
  })
  const ended = gateway.exited.then(exit => {
    if (exit.code === 2) throw new UsageError(`the gateway does not start: ${gateway.lastLines()}`)
    throw gateway.unexpected(exit)
  })
  ended.catch(() => {})
  return await Promise.race([ready, ended])
}
