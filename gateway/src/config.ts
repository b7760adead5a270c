/** The gateway's configuration: YAML, checked by zod. What a person wrote wrong is named, with what they may have meant. */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { BUILT_IN_PROFILES, DURATION_PATTERN, durationMs, type Profile, profileSchema } from '@tidemark/protocol'
import { closest, distance } from 'fastest-levenshtein'
import { parse } from 'yaml'
import { z } from 'zod'
import { type DrainConfig, drainConfig, drainSchema } from './drain/config.js'
import type { FrontConfig } from './front/fronts.js'
import { HttpTokenError, readHttpToken, TOKEN_VARIABLE } from './http/http-token.js'
import { compactionSchema, type MaintenanceConfig, maintenanceConfig, retentionSchema } from './maintenance/config.js'
import type { Settings } from './processor/control.js'

/** The person's mistake; the message says what to change. The CLI exits with 2. */
export class ConfigError extends Error {
  readonly code = 'CONFIG'
}

export interface Address {
  readonly host: string
  readonly port: number
}

export interface Config {
  readonly dataDir: string
  readonly mqtt: Address
  readonly http: Address
  /** What requests over HTTP must bear; null: nothing, on loopback only. */
  readonly httpToken: string | null
  /** The file that it is from; null: from none. */
  readonly httpTokenFile: string | null
  readonly front: FrontConfig
  /** null: no device is granted a drain. */
  readonly drain: DrainConfig | null
  readonly settings: Settings
  /** Repairs of features are ordered at most this often. */
  readonly repairIntervalMs: number
  readonly profiles: readonly Profile[]
  readonly maintenance: MaintenanceConfig
  readonly logLevel: string
}

const duration = z.string().regex(DURATION_PATTERN, 'write a number and ms, s, m, h or d, like 10m').transform(durationMs)
const address = z.string().transform((text, context) => {
  const parsed = parseAddress(text)
  if (parsed === null) context.addIssue({ code: 'custom', message: `"${text}" is no HOST:PORT, like 127.0.0.1:1883` })
  return parsed ?? z.NEVER
})

const relay = z.string().regex(/^[A-Za-z0-9._-]{1,64}\*?$/, 'write a client ID, or the beginning of some and a *, like relay-*')

const flush = z.strictObject({
  interval: duration.prefault('60s'),
  rows: z.int().positive().default(2_000_000),
  small_hour_rows: z.int().nonnegative().default(5000),
  small_hour_wait: duration.prefault('10m'),
  snapshot_every: z.int().positive().default(5)
})

const front = z.strictObject({
  processes: z.union([z.literal('auto'), z.int().min(1).max(64)], 'write a number from 1 to 64, or auto').default(1),
  connections_expected: z.int().positive().default(10_000),
  connections_max: z.int().positive().default(18_000),
  light_sessions: z.boolean().default(true)
})

const schema = z.strictObject({
  data_dir: z.string().min(1).default('./data'),
  mqtt: z.strictObject({ listen: address.prefault('127.0.0.1:1883'), relays: z.array(relay).default([]) }).prefault({}),
  http: z.strictObject({ listen: address.prefault('127.0.0.1:8080'), token_file: z.string().min(1).optional() }).prefault({}),
  front: front.prefault({}),
  drain: drainSchema.prefault({}),
  flush: flush.prefault({}),
  compaction: compactionSchema.prefault({}),
  retention: retentionSchema.prefault({}),
  idle_timeout: duration.prefault('10m'),
  gap_timeout: duration.prefault('60s'),
  allowed_lateness: duration.prefault('10m'),
  correction_interval: duration.prefault('60s'),
  repair_interval: duration.prefault('10m'),
  devices_max: z.int().positive().default(200_000),
  event_id_bytes_max: z
    .int()
    .positive()
    .default(8 * 1024 ** 3),
  profiles: z.array(z.string()).default([]),
  log_level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info')
})

/** What the command line says over the file. */
export interface Overrides {
  readonly dataDir?: string
  readonly mqtt?: string
  readonly http?: string
}

/** Reads the file (none: the defaults) and what overrides it. Throws a `ConfigError`. */
export function loadConfig(path: string | undefined, overrides: Overrides): Config {
  const file = path === undefined ? {} : (readYaml(path) ?? {})
  const base = path === undefined ? process.cwd() : dirname(resolve(path))
  const checked = schema.safeParse(file)
  if (!checked.success) throw new ConfigError(`${path}: ${describe(checked.error.issues[0])}`)
  const { data } = checked
  return {
    dataDir: overrides.dataDir === undefined ? resolve(base, data.data_dir) : resolve(overrides.dataDir),
    mqtt: overrides.mqtt === undefined ? data.mqtt.listen : addressOf('--mqtt', overrides.mqtt),
    http: overrides.http === undefined ? data.http.listen : addressOf('--http', overrides.http),
    ...httpTokenOf(data.http.token_file === undefined ? null : resolve(base, data.http.token_file)),
    front: {
      processes: data.front.processes,
      connectionsExpected: data.front.connections_expected,
      connectionsMax: data.front.connections_max,
      lightSessions: data.front.light_sessions,
      relays: data.mqtt.relays
    },
    drain: drainConfig(data.drain),
    profiles: [...BUILT_IN_PROFILES, ...data.profiles.map(file => readProfile(resolve(base, file)))],
    maintenance: maintenanceConfig(data.compaction, data.retention),
    logLevel: data.log_level,
    repairIntervalMs: data.repair_interval,
    settings: {
      flushIntervalMs: data.flush.interval,
      flushRows: data.flush.rows,
      smallHourRows: data.flush.small_hour_rows,
      smallHourWaitMs: data.flush.small_hour_wait,
      snapshotEvery: data.flush.snapshot_every,
      idleTimeoutMs: data.idle_timeout,
      gapTimeoutMs: data.gap_timeout,
      allowedLatenessMs: data.allowed_lateness,
      correctionIntervalMs: data.correction_interval,
      devicesMax: data.devices_max,
      eventIdBytesMax: data.event_id_bytes_max
    }
  }
}

/** HOST:PORT, [IPv6]:PORT; null where it is neither. */
export function parseAddress(text: string): Address | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  return match && port <= 65_535 ? { host: match[1] ?? match[2], port } : null
}

/** Whether only this machine can reach the address. */
export function isLoopback({ host }: Address): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host)
}

function httpTokenOf(file: string | null): Pick<Config, 'httpToken' | 'httpTokenFile'> {
  try {
    return { httpToken: readHttpToken(file, process.env[TOKEN_VARIABLE]), httpTokenFile: file }
  } catch (error) {
    throw error instanceof HttpTokenError ? new ConfigError(error.message, { cause: error }) : error
  }
}

function addressOf(option: string, text: string): Address {
  const parsed = parseAddress(text)
  if (parsed === null) throw new ConfigError(`${option}: "${text}" is no HOST:PORT, like 127.0.0.1:1883`)
  return parsed
}

/** Reads a profile from a YAML file. Throws a `ConfigError`. */
export function readProfile(path: string): Profile {
  const checked = profileSchema.safeParse(readYaml(path))
  if (!checked.success) throw new ConfigError(`${path}: ${describe(checked.error.issues[0])}`)
  return checked.data
}

function readYaml(path: string): unknown {
  try {
    return parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new ConfigError(`cannot read ${path}: ${cause instanceof Error ? cause.message.split('\n')[0] : cause}`, { cause })
  }
}

const KNOWN_KEYS = [schema, flush, front, drainSchema, compactionSchema, retentionSchema]
  .flatMap(({ shape }) => Object.keys(shape))
  .concat('listen', 'relays', 'token_file')

function describe(issue: z.core.$ZodIssue): string {
  const where = issue.path.join('.')
  if (issue.code !== 'unrecognized_keys') return where === '' ? issue.message : `${where}: ${issue.message}`
  const [key] = issue.keys
  const nearest = closest(key, KNOWN_KEYS)
  const hint = distance(key, nearest) <= 3 ? `; did you mean "${nearest}"?` : ''
  return `unknown key "${[...issue.path, key].join('.')}"${hint}`
}
