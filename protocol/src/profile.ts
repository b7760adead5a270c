import { z } from 'zod'
import { DURATION_PATTERN, durationMs } from './duration.js'
import { DECIMALS_MAX, INTEGER_MAX, METRICS_PER_PROFILE_MAX, NAME_LENGTH_MAX } from './limits.js'

/**
 * A profile is the named, versioned list of metrics of a kind of device, and of the features computed from them.
 * Objects are checked here by zod; reading YAML is the business of whoever has a file.
 */

const name = z.string().regex(new RegExp(`^[a-z][a-z0-9_]{0,${NAME_LENGTH_MAX - 1}}$`), 'use a-z, 0-9 and _, beginning with a letter')
const profileName = z.string().regex(new RegExp(`^[a-z][a-z0-9_-]{0,${NAME_LENGTH_MAX - 1}}$`), 'use a-z, 0-9, _ and -, beginning with a letter')
const duration = z
  .string()
  .regex(DURATION_PATTERN, 'write a number and ms, s, m, h or d, like 10m')
  .refine(text => durationMs(text) > 0, 'must be more than 0')

/** Columns that every row of readings or features has; a metric or a feature may not take their names. */
const RESERVED_COLUMNS = [
  'device_id', 'event_time', 'ingest_time', 'epoch', 'seq', 'event_id', 'event_time_ms', 'late', 'clock', 'profile', 'profile_version', 'extra', 'date', 'hour',
  'as_of', 'known_at', 'computed_at', 'revision', 'provisional', 'event_count', 'coverage', 'processor_version'
]

const resolution = z
  .number()
  .refine(value => decimalsIn(value) !== null, `must be 1, 0.1, 0.01, … or 10^-${DECIMALS_MAX}`)

const metric = z.strictObject({
  name: name.refine(text => !RESERVED_COLUMNS.includes(text), 'is the name of a column that every row has'),
  unit: z.string().max(32).default(''),
  type: z.enum(['float', 'int', 'bool', 'string']).default('float'),
  /** Least valid value. For a string: its least length, in characters. */
  min: z.number().optional(),
  /** Greatest valid value. For a string: its greatest length, in characters. */
  max: z.number().optional(),
  required: z.boolean().default(false),
  /** 10^-k: values travel as multiples of it. Without one a float travels to the bit. */
  resolution: resolution.optional(),
  on_out_of_range: z.enum(['quarantine', 'null']).default('quarantine')
})

const feature = z.strictObject({
  name,
  metric: name,
  aggregate: z.enum(['mean', 'std', 'min', 'max', 'sum', 'count', 'last', 'rate', 'range']),
  window: duration,
  /** The window ends at the latest multiple of this at or before a row's `as_of`. Default: the profile's hop. */
  hop: duration.optional(),
  /** For `rate`: the time that the rate is per. */
  per: duration.default('1m')
})

const flag = z.discriminatedUnion('flag', [
  /** Some reading of the hop deviates from the feature `mean` by more than `factor` times the feature `std`. */
  z.strictObject({ name, flag: z.literal('deviates'), metric: name, mean: name, std: name, factor: z.number().positive() }),
  /** The hop's maximum of `metric` is above `factor` times the feature `of`. */
  z.strictObject({ name, flag: z.literal('exceeds'), metric: name, of: name, factor: z.number().positive() })
])

export const profileSchema = z
  .strictObject({
    name: profileName,
    version: z.int().min(1).max(65_535).default(1),
    evolution: z.enum(['strict', 'add_only', 'flexible']).default('strict'),
    /** How often a device is sampled. */
    interval: duration,
    /** A feature row is made for each hop that holds a reading. */
    hop: duration.default('1m'),
    /** How far back late readings are merged into kept panes; what is older is left to a repair from the archive. */
    corrections: duration.default('15m'),
    metrics: z.array(metric).min(1).max(METRICS_PER_PROFILE_MAX),
    features: z.array(feature).max(METRICS_PER_PROFILE_MAX).default([]),
    flags: z.array(flag).max(METRICS_PER_PROFILE_MAX).default([])
  })
  .superRefine(checkProfile)

export type Profile = z.output<typeof profileSchema>
export type Metric = Profile['metrics'][number]
export type FeatureSpec = Profile['features'][number]
export type FlagSpec = Profile['flags'][number]
export type Aggregate = FeatureSpec['aggregate']

/** The number of decimal places of a metric's resolution; 0 for an int; null where values travel as float64. */
export function decimalsOf(metric: Metric): number | null {
  if (metric.type === 'int') return 0
  return metric.resolution === undefined ? null : decimalsIn(metric.resolution)
}

/** The nearest multiple of the metric's resolution: what a value becomes on the wire. Others are returned as they are. */
export function quantize(value: number, metric: Metric): number {
  const decimals = decimalsOf(metric)
  if (decimals === null || !Number.isFinite(value)) return value
  const scale = 10 ** decimals
  const scaled = Math.round(value * scale)
  return Math.abs(scaled) <= INTEGER_MAX ? scaled / scale : value
}

/** A digest of everything in the profile: 64 bit FNV-1a of its canonical JSON, 16 hex digits. Not a defence against malice. */
export function profileDigest(profile: Profile): string {
  let hash = 0xcbf29ce484222325n
  for (const char of canonical(profile)) {
    hash = ((hash ^ BigInt(char.codePointAt(0)!)) * 0x100000001b3n) & 0xffffffffffffffffn
  }
  return hash.toString(16).padStart(16, '0')
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).filter(([, v]) => v !== undefined)
    entries.sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${entries.map(([key, v]) => `${JSON.stringify(key)}:${canonical(v)}`).join(',')}}`
  }
  return JSON.stringify(value)
}

function decimalsIn(resolution: number): number | null {
  for (let decimals = 0; decimals <= DECIMALS_MAX; decimals++) {
    if (resolution === Number(`1e-${decimals}`)) return decimals
  }
  return null
}

interface Draft {
  hop: string
  metrics: { name: string; type: string; min?: number | undefined; max?: number | undefined; resolution?: number | undefined }[]
  features: { name: string; metric: string; aggregate: string; window: string; hop?: string | undefined }[]
  flags: ({ name: string; metric: string } & ({ mean: string; std: string } | { of: string }))[]
}

function checkProfile(profile: Draft, context: z.core.$RefinementCtx): void {
  const complain = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message })
  const metrics = new Map(profile.metrics.map(m => [m.name, m]))
  if (metrics.size < profile.metrics.length) complain(['metrics'], 'two metrics have the same name')
  profile.metrics.forEach((m, i) => {
    if (m.min !== undefined && m.max !== undefined && m.min > m.max) complain(['metrics', i], `${m.name}: min is above max`)
    if (m.resolution !== undefined && m.type !== 'float') complain(['metrics', i], `${m.name}: only a float has a resolution`)
  })
  const features = new Set<string>()
  const isNumeric = (metricName: string) => ['float', 'int', 'bool'].includes(metrics.get(metricName)?.type ?? '')
  profile.features.forEach((f, i) => {
    const hopMs = durationMs(f.hop ?? profile.hop)
    if (!isNumeric(f.metric)) complain(['features', i], `${f.name}: there is no numeric metric "${f.metric}"`)
    if (durationMs(f.window) % hopMs !== 0) complain(['features', i], `${f.name}: its window is no multiple of its hop`)
    if (hopMs % durationMs(profile.hop) !== 0) complain(['features', i], `${f.name}: its hop is no multiple of the profile's hop`)
    if (features.has(f.name) || metrics.has(f.name) || RESERVED_COLUMNS.includes(f.name)) complain(['features', i], `${f.name}: the name is taken`)
    features.add(f.name)
  })
  const names = new Set(features)
  profile.flags.forEach((f, i) => {
    const operands = 'of' in f ? [f.of] : [f.mean, f.std]
    for (const operand of operands) if (!features.has(operand)) complain(['flags', i], `${f.name}: there is no feature "${operand}"`)
    if (!isNumeric(f.metric)) complain(['flags', i], `${f.name}: there is no numeric metric "${f.metric}"`)
    if (names.has(f.name) || metrics.has(f.name) || RESERVED_COLUMNS.includes(f.name)) complain(['flags', i], `${f.name}: the name is taken`)
    names.add(f.name)
  })
}
