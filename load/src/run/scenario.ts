/** A scenario: YAML, checked by zod. What a person wrote wrong is named, with what they may have meant. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DURATION_PATTERN, durationMs } from '@tidemark/protocol'
import { closest, distance } from 'fastest-levenshtein'
import { parse } from 'yaml'
import { z } from 'zod'
import { UsageError } from '../replay/replay-error.js'

const FOLDER = fileURLToPath(new URL('../../scenarios', import.meta.url))

const duration = z.string().regex(DURATION_PATTERN, 'write a number and ms, s, m, h or d, like 10m').transform(durationMs)
const rate = z.number().min(0).max(1)
const limit = z.number().positive()

const faults = z.strictObject({
  duplicates: rate.default(0),
  late: rate.default(0),
  poison: rate.default(0),
  disconnects: rate.default(0),
  delays: rate.default(0),
  silence: rate.default(0),
  skew: rate.default(0)
})

const backlog = z.strictObject({ devices: z.int().positive(), length: duration, at: duration })

const fleet = z.strictObject({
  devices: z.int().positive(),
  interval: duration.prefault('5s'),
  for: duration,
  batch: z.int().positive().default(1),
  seed: z.int().nonnegative().default(1),
  connect_rate: z.int().positive().default(2000),
  connections: z.int().positive().optional(),
  processes: z.int().positive().optional(),
  drain: duration.prefault('2m'),
  faults: faults.optional(),
  backlog: backlog.optional()
})

/** The rate is raised step by step until PUBACK's p99 passes `until_p99`, or less than `share` of what is offered is acked in its time. */
const ramp = z.strictObject({
  from: z.int().positive(),
  factor: z.number().gt(1).max(10).default(1.2),
  step: duration.prefault('15s'),
  steps: z.int().positive().max(100).default(20),
  until_p99: duration.prefault('1s')
})

/** Limits that make the verdict, beside nothing lost, doubled or different. */
const want = z.strictObject({
  puback_p50_ms: limit.optional(),
  puback_p99_ms: limit.optional(),
  puback_p999_ms: limit.optional(),
  archive_p99_s: limit.optional(),
  connect_s: limit.optional(),
  rss_mb: limit.optional(),
  rss_growth_percent: limit.optional(),
  cpu_s_per_million: limit.optional(),
  recover_s: limit.optional(),
  readings_per_s: limit.optional()
})

const schema = z.strictObject({
  about: z.string().min(1),
  fleet,
  /** The gateway's configuration: what is said here stands over the runner's own. */
  gateway: z.record(z.string(), z.unknown()).default({}),
  /** The gateway is killed (SIGKILL) so long after the start, and started again at once. */
  kill: z.array(duration).default([]),
  ramp: ramp.optional(),
  /** Whether the archive is compacted in the end, before its size is taken. */
  compact: z.boolean().default(false),
  want: want.prefault({})
})

export type Scenario = z.output<typeof schema> & { readonly name: string }
export type Want = Scenario['want']

/** What the command line says over the file. */
export interface ScenarioOverrides {
  readonly forMs?: number
  readonly devices?: number
  readonly seed?: number
}

export function scenarioNames(): string[] {
  return readdirSync(FOLDER)
    .filter(file => file.endsWith('.yaml'))
    .map(file => basename(file, '.yaml'))
    .sort()
}

/** Reads a scenario by its name, or a file. Throws a `UsageError` that says what to change. */
export function readScenario(nameOrPath: string, { forMs, devices, seed }: ScenarioOverrides = {}): Scenario {
  const named = join(FOLDER, `${nameOrPath}.yaml`)
  const path = /^[\w.-]+$/.test(nameOrPath) && existsSync(named) ? named : nameOrPath
  if (!existsSync(path)) throw new UsageError(`there is no scenario ${nameOrPath}: give a file, or one of ${scenarioNames().join(', ')}`)
  const scenario = { ...parseScenario(readFileSync(path, 'utf8'), path), name: basename(path).replace(/\.ya?ml$/, '') }
  const fleet = {
    ...scenario.fleet,
    ...(forMs === undefined ? {} : { for: forMs }),
    ...(seed === undefined ? {} : { seed }),
    ...(devices === undefined ? {} : { devices })
  }
  // A share of the devices, whatever their number.
  if (devices !== undefined && fleet.backlog !== undefined)
    fleet.backlog = { ...fleet.backlog, devices: Math.max(1, Math.round((fleet.backlog.devices * devices) / scenario.fleet.devices)) }
  if (fleet.connections !== undefined) fleet.connections = Math.min(fleet.connections, fleet.devices)
  const missed = scenario.kill.find(atMs => atMs >= fleet.for)
  if (missed !== undefined)
    throw new UsageError(`${path}: it kills the gateway ${missed / 1000} s after the start, but plays for ${fleet.for / 1000} s`)
  const { ramp } = scenario
  // A ramp plays its steps.
  return { ...scenario, fleet, ...(ramp === undefined || forMs === undefined ? {} : { ramp: { ...ramp, step: forMs } }) }
}

function parseScenario(text: string, path: string): z.output<typeof schema> {
  let yaml: unknown
  try {
    yaml = parse(text)
  } catch (cause) {
    throw new UsageError(`${path}: ${cause instanceof Error ? cause.message.split('\n')[0] : cause}`, { cause })
  }
  const checked = schema.safeParse(yaml)
  if (!checked.success) throw new UsageError(`${path}: ${describe(checked.error.issues[0])}`)
  return checked.data
}

const KNOWN_KEYS = [schema, fleet, faults, backlog, ramp, want].flatMap(({ shape }) => Object.keys(shape))

function describe(issue: z.core.$ZodIssue): string {
  const where = issue.path.join('.')
  if (issue.code !== 'unrecognized_keys') return where === '' ? issue.message : `${where}: ${issue.message}`
  const [key] = issue.keys
  const nearest = closest(key, KNOWN_KEYS)
  const hint = distance(key, nearest) <= 3 ? `; did you mean "${nearest}"?` : ''
  return `unknown key "${[...issue.path, key].join('.')}"${hint}`
}
