/**
 * Reads the configuration file: YAML, checked whole before anything starts. Paths are relative to the file.
 * Every mistake is a `ConfigError` whose message says what to change.
 */
import { readFile } from 'node:fs/promises'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { BUILT_IN_PROFILES, durationMs, type Profile, profileSchema, type Rate } from '@tidemark/protocol'
import { parse } from 'yaml'
import type { z } from 'zod'
import { ConfigError } from './config-error.js'
import { describeProblems } from './config-problems.js'
import { type ConfigFile, configSchema } from './config-schema.js'
import { didYouMean } from './nearest.js'
import type { CsvSourceConfig, LiveSourceConfig } from './sources/source-schemas.js'

/** URLs may hold a user and a password: never log one whole. */
export interface GatewayConfig {
  /** At least one; the first that lets in is used. */
  readonly mqttUrls: readonly string[]
  /** Where batches are posted when MQTT does not get through; null: nowhere. */
  readonly httpUrl: string | null
  /** What the gateway wants there; null: user and password of the URL, if it has them. */
  readonly httpToken: string | null
  readonly httpAfterMs: number
}

export interface BufferConfig {
  /** strict: on disk before it is published. spill: published from memory, on disk when it is not acked within `commitIntervalMs`. */
  readonly durability: 'strict' | 'spill'
  readonly commitIntervalMs: number
  readonly bytesMax: number
  /** null: readings are kept however old they are. */
  readonly ageMsMax: number | null
  /** Bytes of the disk that are left to others. */
  readonly freeBytesMin: number
  readonly whenFull: 'thin' | 'drop-oldest' | 'drop-newest'
  /** What is kept in memory while the disk cannot be written. */
  readonly ringBytesMax: number
}

export interface Config {
  readonly deviceId: string
  readonly gateway: GatewayConfig
  readonly profile: Profile
  readonly bufferPath: string
  readonly buffer: BufferConfig
  /** A recording, its path absolute; null where live sources are read. */
  readonly replay: CsvSourceConfig | null
  /** The live sources; empty where a recording is replayed. */
  readonly sources: readonly LiveSourceConfig[]
  /** Between two readings of live sources, where no schedule says it. */
  readonly intervalMs: number
  /** A cron expression, UTC; null where the interval counts. */
  readonly schedule: string | null
  readonly publish: {
    readonly inFlightMax: number
    readonly batchReadingsMax: number
    readonly batchBytesMax: number
    readonly maxRate: Rate | null
    readonly backoff: { readonly minMs: number; readonly maxMs: number }
  }
  readonly logLevel: ConfigFile['log_level']
  /** What the file names and the agent reads when it starts: a profile, a token, a recording. Absolute paths. */
  readonly namedFiles: readonly string[]
}

/** @param root where the system is that the configuration is for: an absolute path of a file that it names is below it */
export async function readConfig(path: string, root = '/'): Promise<Config> {
  const file = await readYaml(path, 'configuration', configSchema)
  const folder = dirname(resolve(path))
  const named = (name: string) => (isAbsolute(name) ? join(root, name) : resolve(folder, name))
  const profileFile = file.profile_file === undefined ? null : named(file.profile_file)
  const tokenFile = file.gateway.http_token_file === undefined ? null : named(file.gateway.http_token_file)
  const replay = file.source?.type === 'csv' ? { ...file.source, path: named(file.source.path) } : null
  const profile = profileFile === null ? builtInProfile(file.profile!) : await readYaml(profileFile, 'profile', profileSchema)
  return {
    deviceId: file.device_id,
    gateway: {
      mqttUrls: file.gateway.urls ?? [file.gateway.url!],
      httpUrl: file.gateway.http ?? null,
      httpToken: tokenFile === null ? null : await readToken(tokenFile),
      httpAfterMs: file.gateway.http_after
    },
    profile,
    bufferPath: resolve(folder, file.buffer.path),
    buffer: {
      durability: file.buffer.durability,
      commitIntervalMs: file.buffer.commit_interval,
      bytesMax: file.buffer.max_bytes,
      ageMsMax: file.buffer.max_age ?? null,
      freeBytesMin: file.buffer.min_free,
      whenFull: file.buffer.when_full,
      ringBytesMax: file.buffer.ring_bytes
    },
    replay,
    sources: liveSources(file),
    intervalMs: file.interval ?? durationMs(profile.interval),
    schedule: file.schedule ?? null,
    publish: {
      inFlightMax: file.publish.in_flight,
      batchReadingsMax: file.publish.batch_readings,
      batchBytesMax: file.publish.batch_bytes,
      maxRate: file.publish.max_rate ?? null,
      backoff: { minMs: file.publish.backoff.min, maxMs: file.publish.backoff.max }
    },
    logLevel: file.log_level,
    namedFiles: [profileFile, tokenFile, replay?.path ?? null].filter(name => name !== null)
  }
}

function liveSources({ source, sources }: ConfigFile): readonly LiveSourceConfig[] {
  if (sources !== undefined) return sources
  return source === undefined || source.type === 'csv' ? [] : [source]
}

/** The URL without user and password, for logs. */
export function withoutSecrets(url: string): string {
  const parsed = new URL(url)
  parsed.username = ''
  parsed.password = ''
  return parsed.href
}

/** The header that says user and password of a URL; none where it has neither. */
export function basicAuthentication(url: string): { authorization?: string } {
  const { username, password } = new URL(url)
  if (username === '' && password === '') return {}
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` }
}

function builtInProfile(name: string): Profile {
  const names = BUILT_IN_PROFILES.map(profile => profile.name)
  const profile = BUILT_IN_PROFILES.find(candidate => candidate.name === name)
  if (profile === undefined)
    throw new ConfigError(`profile: there is no built-in profile "${name}"${didYouMean(name, names)}; use profile_file for one of your own`)
  return profile
}

/** The gateway's token is one line of ASCII without spaces; nothing of it is ever said. */
async function readToken(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(error => {
    throw new ConfigError(`gateway.http_token_file: cannot read ${path} (${error.code}): copy the gateway's http.token_file there`)
  })
  const token = text.trim()
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new ConfigError(`gateway.http_token_file: ${path} holds no token: one line of ASCII without spaces`)
  return token
}

async function readYaml<T extends z.ZodType>(path: string, what: string, schema: T): Promise<z.output<T>> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : ''
    throw new ConfigError(code === 'ENOENT' ? `there is no ${what} file ${path}` : `cannot read the ${what} file ${path}: ${String(error)}`)
  }
  let input: unknown
  try {
    input = parse(text)
  } catch (error) {
    throw new ConfigError(`${path} is no valid YAML: ${error instanceof Error ? error.message.split('\n')[0] : error}`)
  }
  const parsed = schema.safeParse(input)
  if (parsed.success) return parsed.data
  const { linesOf } = await import('./yaml-lines.js')
  throw new ConfigError(`${path}: ${describeProblems(parsed.error, schema, input, linesOf(text))}`)
}
