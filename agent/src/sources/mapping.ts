/** Turns what a sensor, a register or a JSON field says into the value of a metric. */
import type { Metric, Profile, Value } from '@tidemark/protocol'
import { ConfigError } from '../config-error.js'
import { didYouMean } from '../nearest.js'
import type { Measured } from './source.js'

/** value = raw * scale + offset, for numbers. */
export interface Scaling {
  readonly scale: number
  readonly offset: number
}

const TRUE = new Set(['true', 'on', '1'])
const FALSE = new Set(['false', 'off', '0'])

/** The value that `raw` means for a metric; null where it means none. */
export function convert(raw: unknown, metric: Metric, { scale, offset }: Scaling): Value {
  switch (metric.type) {
    case 'float':
    case 'int': {
      const number = numberOf(raw)
      return number === null ? null : number * scale + offset
    }
    case 'bool':
      return boolOf(raw)
    case 'string':
      return typeof raw === 'string' ? raw : typeof raw === 'number' || typeof raw === 'boolean' ? String(raw) : null
    default:
      return metric.type satisfies never
  }
}

function numberOf(raw: unknown): number | null {
  if (typeof raw === 'boolean') return raw ? 1 : 0
  const number = typeof raw === 'number' ? raw : typeof raw === 'string' && raw.trim() !== '' ? Number(raw) : Number.NaN
  return Number.isFinite(number) ? number : null
}

function boolOf(raw: unknown): boolean | null {
  if (typeof raw === 'boolean') return raw
  const word = String(raw).trim().toLowerCase()
  return TRUE.has(word) ? true : FALSE.has(word) ? false : null
}

/** The metrics of a profile that a mapping names. Throws a `ConfigError` where the profile has no such metric. */
export function mappedMetrics(type: string, profile: Profile, names: readonly string[]): Map<string, Metric> {
  const known = profile.metrics.map(metric => metric.name)
  return new Map(
    names.map(name => {
      const metric = profile.metrics.find(candidate => candidate.name === name)
      if (metric === undefined)
        throw new ConfigError(`the ${type} source names ${name}: profile ${profile.name} has no such metric${didYouMean(name, known)}`)
      return [name, metric]
    })
  )
}

/** Gathers what one measurement gives. */
export class Measurement {
  private readonly values = new Map<string, Value>()
  private readonly problems: string[] = []

  constructor(private readonly metrics: ReadonlyMap<string, Metric>) {}

  /** Takes what was read for a metric. */
  put(name: string, raw: unknown, scaling: Scaling): void {
    const value = convert(raw, this.metrics.get(name)!, scaling)
    if (value === null) this.fail(name, `${excerpt(raw)} is no ${this.metrics.get(name)!.type}`)
    else this.values.set(name, value)
  }

  /** The metric is null this time. */
  fail(name: string, why: string): void {
    this.problems.push(`${name}: ${why}`)
  }

  done(): Measured {
    return { values: this.values, problems: this.problems }
  }
}

function excerpt(raw: unknown): string {
  if (raw === undefined) return 'what is not there'
  const text = JSON.stringify(raw) ?? String(raw)
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}

/** The message of what was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error && error.message !== '' ? error.message : String(error)
}
