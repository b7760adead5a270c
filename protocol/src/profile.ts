import { z } from 'zod'
import { DURATION_PATTERN, durationMs } from './duration.js'
import {
  DECIMALS_MAX,
  HOPS_PER_WINDOW_MAX,
  METRICS_PER_PROFILE_MAX,
  NAME_LENGTH_MAX,
  PROFILE_DURATION_MS_MAX,
  PROFILE_VERSION_MAX,
  SCALED_MAX,
  UNIT_LENGTH_MAX
} from './limits.js'

/**
 * A profile is the named, versioned list of metrics of a kind of device, and of the features computed from them.
 * Objects are checked here by zod; reading YAML is the business of whoever has a file.
 */

const name = z.string().regex(new RegExp(`^[a-z][a-z0-9_]{0,${NAME_LENGTH_MAX - 1}}$`), 'use a-z, 0-9 and _, beginning with a letter')
const profileName = z
  .string()
  .regex(new RegExp(`^[a-z][a-z0-9_-]{0,${NAME_LENGTH_MAX - 1}}$`), 'use a-z, 0-9, _ and -, beginning with a letter')
/** `abort`: what follows, here and in `checkProfile`, computes with durations and is skipped where one cannot be read. */
const duration = z
  .string()
  .regex(DURATION_PATTERN, { error: 'write a number and ms, s, m, h or d, like 10m', abort: true })
  .refine(isProfileDuration, { error: 'must be more than 0 and at most 366d', abort: true })

/** Columns that every row of readings or features has; a metric or a feature may not take their names. */
const RESERVED_COLUMNS = [
  'device_id',
  'event_time',
  'ingest_time',
  'epoch',
  'seq',
  'event_id',
  'event_time_ms',
  'late',
  'clock',
  'profile',
  'profile_version',
  'extra',
  'date',
  'hour',
  'as_of',
  'known_at',
  'computed_at',
  'revision',
  'provisional',
  'event_count',
  'coverage',
  'processor_version'
]

/** 10^-k at index k. */
const RESOLUTIONS = Array.from({ length: DECIMALS_MAX + 1 }, (_, decimals) => Number(`1e-${decimals}`))

const resolution = z.number().refine(value => decimalsIn(value) !== null, `must be 1, 0.1, 0.01, … or 10^-${DECIMALS_MAX}`)

const metric = z.strictObject({
  name: name.refine(text => !RESERVED_COLUMNS.includes(text), 'is the name of a column that every row has'),
  unit: z.string().max(UNIT_LENGTH_MAX).default(''),
  type: z.enum(['float', 'int', 'bool', 'string']).default('float'),
  /** Least valid value. For a string: its least length, in characters. */
  min: z.number().optional(),
  /** Greatest valid value. For a string: its greatest length, in characters. */
  max: z.number().optional(),
  required: z.boolean().default(false),
  /** 10^-k: values travel as multiples of it. Without one a float travels to the bit. */
  resolution: resolution.optional(),
  /** In YAML `null` without quotes is no string, but means the same here. */
  on_out_of_range: z.preprocess(value => (value === null ? 'null' : value), z.enum(['quarantine', 'null'])).default('quarantine')
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
    version: z.int().min(1).max(PROFILE_VERSION_MAX).default(1),
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

/**
 * The nearest multiple of the metric's resolution: what a value becomes on the wire, where -0 is 0. Values without a resolution,
 * those that are not finite and those too large to be scaled (`SCALED_MAX`) are returned as they are. Doing it twice changes nothing.
 */
export function quantize(value: number, metric: Metric): number {
  const decimals = decimalsOf(metric)
  if (decimals === null) return value
  const scale = 10 ** decimals
  const scaled = Math.round(value * scale)
  return Math.abs(scaled) <= SCALED_MAX ? scaled / scale + 0 : value // NaN fails the comparison
}

/**
 * A digest of everything in the profile, defaults included: 64 bit FNV-1a of its canonical JSON (keys sorted, no spaces, UTF-8),
 * 16 hex digits. Not a defence against malice.
 */
export function profileDigest(profile: Profile): string {
  let hash = 0xcbf29ce484222325n
  for (const byte of new TextEncoder().encode(canonical(profile))) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn
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
  const decimals = RESOLUTIONS.indexOf(resolution)
  return decimals < 0 ? null : decimals
}

function isProfileDuration(text: string): boolean {
  const ms = durationMs(text)
  return ms > 0 && ms <= PROFILE_DURATION_MS_MAX
}

type Complain = (path: (string | number)[], message: string) => void

interface Draft {
  hop: string
  metrics: MetricDraft[]
  features: { name: string; metric: string; aggregate: string; window: string; hop?: string | undefined }[]
  flags: ({ name: string; metric: string } & ({ mean: string; std: string } | { of: string }))[]
}

interface MetricDraft {
  name: string
  type: string
  min?: number | undefined
  max?: number | undefined
  required: boolean
  resolution?: number | undefined
  on_out_of_range: string
}

/** What no single key shows: names that refer to each other, and times that must divide. */
function checkProfile(profile: Draft, context: z.core.$RefinementCtx): void {
  const complain: Complain = (path, message) => context.addIssue({ code: 'custom', path, message })
  const metrics = new Map(profile.metrics.map(m => [m.name, m]))
  if (metrics.size < profile.metrics.length) complain(['metrics'], 'two metrics have the same name')
  profile.metrics.forEach((m, i) => {
    checkMetric(m, message => complain(['metrics', i], `${m.name}: ${message}`))
  })
  const names = new Set([...RESERVED_COLUMNS, ...metrics.keys()])
  const isNumeric = (metricName: string) => ['float', 'int', 'bool'].includes(metrics.get(metricName)?.type ?? '')
  const takeName = (path: (string | number)[], taken: string) => {
    if (names.has(taken)) complain(path, `${taken}: the name is taken`)
    names.add(taken)
  }
  profile.features.forEach((f, i) => {
    const [hopMs, windowMs] = [durationMs(f.hop ?? profile.hop), durationMs(f.window)]
    if (!isNumeric(f.metric)) complain(['features', i], `${f.name}: there is no numeric metric "${f.metric}"`)
    if (windowMs % hopMs !== 0) complain(['features', i], `${f.name}: its window is no multiple of its hop`)
    if (windowMs / hopMs > HOPS_PER_WINDOW_MAX) complain(['features', i], `${f.name}: its window has more than ${HOPS_PER_WINDOW_MAX} hops`)
    if (hopMs % durationMs(profile.hop) !== 0) complain(['features', i], `${f.name}: its hop is no multiple of the profile's hop`)
    takeName(['features', i], f.name)
  })
  const features = new Set(profile.features.map(f => f.name))
  profile.flags.forEach((f, i) => {
    const operands = 'of' in f ? [f.of] : [f.mean, f.std]
    for (const operand of operands) if (!features.has(operand)) complain(['flags', i], `${f.name}: there is no feature "${operand}"`)
    if (!isNumeric(f.metric)) complain(['flags', i], `${f.name}: there is no numeric metric "${f.metric}"`)
    takeName(['flags', i], f.name)
  })
}

function checkMetric(metric: MetricDraft, complain: (message: string) => void): void {
  const { type, min, max } = metric
  if (min !== undefined && max !== undefined && min > max) complain('min is above max')
  if (metric.resolution !== undefined && type !== 'float') complain('only a float has a resolution')
  if (metric.required && metric.on_out_of_range === 'null') complain('what is required cannot become null when it is out of range')
  if (type === 'bool' && (min !== undefined || max !== undefined)) complain('a bool has neither min nor max')
  if (type === 'string' && ![min ?? 0, max ?? 0].every(length => Number.isInteger(length) && length >= 0)) {
    complain('min and max of a string are its lengths: whole numbers from 0')
  }
}
