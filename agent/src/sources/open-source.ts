import type { Config } from '../config.js'
import { ConfigError } from '../config-error.js'
import { didYouMean } from '../nearest.js'
import type { Source } from './source.js'

/**
 * Opens the configured source. Each is loaded only when used: an agent on a small machine pays for no other.
 * @param once live sources without an end of their own end after one reading
 */
export async function openSource({ source, profile, intervalMs }: Config, once: boolean): Promise<Source> {
  switch (source.type) {
    case 'system': {
      const { openSystem, SYSTEM_METRICS } = await import('./system.js')
      checkMetrics(source.type, profile, SYSTEM_METRICS)
      return openSystem({ intervalMs, root: source.root, disk: source.disk, once }, profile)
    }
    case 'csv': {
      const { openCsv } = await import('./csv.js')
      return openCsv(source, profile)
    }
    case 'simulated': {
      const { openSimulated, SIMULATED_METRICS } = await import('./simulated.js')
      checkMetrics(source.type, profile, SIMULATED_METRICS)
      const readings = source.readings ?? null
      return openSimulated({ seed: source.seed, intervalMs, readings, once: once && readings === null }, profile)
    }
    default:
      return source satisfies never
  }
}

function checkMetrics(type: string, profile: Config['profile'], given: readonly string[]): void {
  if (!profile.metrics.some(metric => given.includes(metric.name))) {
    throw new ConfigError(`the ${type} source gives no metric of profile ${profile.name}; it gives: ${given.join(', ')}`)
  }
  for (const { name, required } of profile.metrics) {
    if (required && !given.includes(name)) {
      throw new ConfigError(`profile ${profile.name} requires ${name}, which the ${type} source does not give${didYouMean(name, given)}`)
    }
  }
}
