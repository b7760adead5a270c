import { type Profile, profileDigest } from '@tidemark/protocol'
import type { Logger } from 'pino'
import type { Config } from '../config.js'
import { ConfigError } from '../config-error.js'
import { SOURCE_TIMEOUT_MS, SOURCE_TIMEOUT_MS_LEAST } from '../limits.js'
import { didYouMean } from '../nearest.js'
import { everyInterval, onSchedule } from './cadence.js'
import { LiveSources, type Member, type OpenLiveSource } from './live-sources.js'
import type { LiveSource, Source } from './source.js'
import type { LiveSourceConfig } from './source-schemas.js'

export interface OpenOptions {
  /** Live sources without an end of their own end after one reading. */
  readonly once: boolean
  readonly log: Logger
  /** Aborts: what is being measured is given up. */
  readonly stop: AbortSignal
  /** What is open already: sources that are the same go on, and so does the cadence. */
  readonly previous: LiveSources | null
}

/**
 * Opens what is configured. Each kind of source is loaded only when used: an agent on a small machine pays for no other.
 * Throws a `ConfigError` where the configuration does not fit the profile or the machine.
 */
export async function openSource(config: Config, options: OpenOptions): Promise<Source> {
  if (config.replay !== null) {
    const { openCsv } = await import('./csv.js')
    return openCsv(config.replay, config.profile)
  }
  const { schedule, intervalMs, sources } = config
  const { previous } = options
  const opened = schedule === null ? everyInterval(intervalMs) : await onSchedule(schedule)
  const cadence = previous?.cadence.key === opened.key ? previous.cadence : opened
  const members: (OpenLiveSource | Member)[] = []
  try {
    for (const source of sources) members.push(previous?.find(identityOf(source, config)) ?? (await openMember(source, config)))
    checkMetrics(config, members)
  } catch (error) {
    await Promise.all(members.filter(member => previous?.find(member.identity) !== member).map(member => member.source.close()))
    throw error
  }
  const endsItself = sources.some(source => source.type === 'simulated' && source.readings !== undefined)
  return new LiveSources({ ...options, members, profile: config.profile, cadence, once: options.once && !endsItself })
}

async function openMember(source: LiveSourceConfig, config: Config): Promise<OpenLiveSource> {
  const { intervalMs, schedule } = config
  const longestMs = schedule === null ? intervalMs : Number.POSITIVE_INFINITY
  const timeoutMs =
    ('timeout' in source ? source.timeout : undefined) ?? Math.min(SOURCE_TIMEOUT_MS, Math.max(longestMs, SOURCE_TIMEOUT_MS_LEAST))
  if (timeoutMs > Math.max(longestMs, SOURCE_TIMEOUT_MS_LEAST))
    throw new ConfigError(`the ${source.type} source: timeout must not be above the interval, ${longestMs} ms: the others would wait`)
  return { identity: identityOf(source, config), source: await openLive(source, config), timeoutMs }
}

function identityOf(source: LiveSourceConfig, { profile, intervalMs, schedule }: Config): string {
  return JSON.stringify([source, profileDigest(profile), schedule === null ? intervalMs : schedule])
}

async function openLive(source: LiveSourceConfig, { profile, intervalMs }: Config): Promise<LiveSource> {
  switch (source.type) {
    case 'system': {
      const { openSystem, SYSTEM_METRICS } = await import('./system.js')
      return openSystem(source, chosenMetrics(source, SYSTEM_METRICS, profile))
    }
    case 'simulated': {
      const { openSimulated, SIMULATED_METRICS } = await import('./simulated.js')
      const metrics = chosenMetrics(source, SIMULATED_METRICS, profile)
      return openSimulated({ seed: source.seed, intervalMs, readings: source.readings ?? null }, metrics)
    }
    case 'iio':
      return (await import('./iio.js')).openIio(source, profile)
    case 'hwmon':
      return (await import('./hwmon.js')).openHwmon(source, profile)
    case 'thermal':
      return (await import('./thermal.js')).openThermal(source, profile)
    case 'w1':
      return (await import('./w1.js')).openW1(source, profile)
    case 'modbus':
      return (await import('./modbus.js')).openModbus(source, profile)
    case 'mqtt':
      return (await import('./mqtt.js')).openMqtt(source, profile)
    case 'http':
      return (await import('./http.js')).openHttp(source, profile)
    case 'exec':
      return (await import('./exec.js')).openExec(source, profile)
    default:
      return source satisfies never
  }
}

/** What a source that knows its metrics by name is to give: those that are asked for, or all that the profile has. */
function chosenMetrics(
  { type, metrics: asked }: { readonly type: string; readonly metrics?: readonly string[] | undefined },
  given: readonly string[],
  profile: Profile
): string[] {
  const unknown = asked?.find(name => !given.includes(name))
  if (unknown !== undefined) throw new ConfigError(`the ${type} source gives no ${unknown}${didYouMean(unknown, given)}`)
  const chosen = (asked ?? given).filter(name => profile.metrics.some(metric => metric.name === name))
  if (chosen.length === 0)
    throw new ConfigError(`the ${type} source gives no metric of profile ${profile.name}; it gives: ${given.join(', ')}`)
  return chosen
}

/** Each metric comes from one source, and each required one from some. */
function checkMetrics({ profile }: Config, members: readonly OpenLiveSource[]): void {
  const givers = new Map<string, string>()
  const keys = new Set<string>()
  for (const { source } of members) {
    if (keys.has(source.key)) throw new ConfigError(`there are two sources ${source.key}: put their metrics into one`)
    keys.add(source.key)
    for (const metric of source.metrics) {
      const other = givers.get(metric)
      if (other !== undefined) throw new ConfigError(`both ${other} and ${source.key} give ${metric}: leave it to one of them`)
      givers.set(metric, source.key)
    }
  }
  for (const { name, required } of profile.metrics) {
    if (required && !givers.has(name)) {
      throw new ConfigError(`profile ${profile.name} requires ${name}, which no source gives${didYouMean(name, [...givers.keys()])}`)
    }
  }
}
