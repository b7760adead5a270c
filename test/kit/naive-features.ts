/**
 * Features computed from all readings at once, window by window, straight from the definitions (DESIGN: features): no panes, no
 * merging, nothing shared with the processor. Slow.
 */
import { durationMs, type FeatureSpec, type FlagSpec, type Profile } from '@tidemark/protocol'
import type { Cell, Row } from './flush-rows.js'

/** A value, and how far another computation of it may be off. */
export interface Expected {
  readonly value: number | null
  readonly tolerance: number
}

export interface NaiveRow {
  readonly asOfMs: number
  readonly eventCount: number
  readonly coverage: number
  readonly features: ReadonlyMap<string, Expected>
  /** 'undecided': an operand lies so near the threshold that either answer is right. */
  readonly flags: ReadonlyMap<string, boolean | null | 'undecided'>
}

/** `readings` are the archived rows of one device and profile, in any order. */
export function naiveFeatures(profile: Profile, readings: readonly Row[]): NaiveRow[] {
  const sorted = [...readings].sort(byOrder)
  const hopMs = durationMs(profile.hop)
  const ends = new Set(sorted.map(reading => Math.ceil((reading.event_time as number) / hopMs) * hopMs))
  return [...ends].sort((a, b) => a - b).map(asOfMs => naiveRow(profile, sorted, asOfMs))
}

function byOrder(a: Row, b: Row): number {
  for (const key of ['event_time', 'epoch', 'seq']) if (a[key] !== b[key]) return (a[key] as number) - (b[key] as number)
  return 0
}

function naiveRow(profile: Profile, readings: readonly Row[], asOfMs: number): NaiveRow {
  const hop = within(readings, asOfMs, durationMs(profile.hop))
  const features = new Map(profile.features.map(spec => [spec.name, naiveFeature(spec, profile, readings, asOfMs)]))
  const flags = new Map(profile.flags.map(spec => [spec.name, naiveFlag(spec, numbers(hop, spec.metric), features)]))
  return { asOfMs, eventCount: hop.length, coverage: naiveCoverage(profile, readings, asOfMs), features, flags }
}

/** The readings of (asOf - size, asOf]. */
function within(readings: readonly Row[], asOfMs: number, sizeMs: number): Row[] {
  return readings.filter(({ event_time }) => (event_time as number) > asOfMs - sizeMs && (event_time as number) <= asOfMs)
}

function endOf(spec: FeatureSpec, profile: Profile, asOfMs: number): number {
  const hopMs = durationMs(spec.hop ?? profile.hop)
  return Math.floor(asOfMs / hopMs) * hopMs
}

function naiveCoverage(profile: Profile, readings: readonly Row[], asOfMs: number): number {
  let longest: FeatureSpec | null = null
  for (const spec of profile.features) if (longest === null || durationMs(spec.window) > durationMs(longest.window)) longest = spec
  const sizeMs = longest === null ? durationMs(profile.hop) : durationMs(longest.window)
  const endMs = longest === null ? asOfMs : endOf(longest, profile, asOfMs)
  return within(readings, endMs, sizeMs).length / (sizeMs / durationMs(profile.interval))
}

function toNumber(cell: Cell): number {
  return Number(cell)
}

function numbers(readings: readonly Row[], metric: string): number[] {
  return readings.filter(reading => reading[metric] !== null).map(reading => toNumber(reading[metric]))
}

function naiveFeature(spec: FeatureSpec, profile: Profile, readings: readonly Row[], asOfMs: number): Expected {
  const inWindow = within(readings, endOf(spec, profile, asOfMs), durationMs(spec.window)).filter(reading => reading[spec.metric] !== null)
  const values = numbers(inWindow, spec.metric)
  const n = values.length
  const sum = values.reduce((total, value) => total + value, 0)
  const mean = sum / n
  const near = (value: number): Expected => ({ value, tolerance: 1e-9 * Math.max(Math.abs(value), Math.abs(mean)) })
  const exactly = (value: number): Expected => ({ value, tolerance: 0 })
  if (spec.aggregate === 'count') return exactly(n)
  if (n === 0) return { value: null, tolerance: 0 }
  switch (spec.aggregate) {
    case 'mean':
      return near(mean)
    case 'std':
      return n < 2
        ? { value: null, tolerance: 0 }
        : near(Math.sqrt(values.reduce((total, value) => total + (value - mean) ** 2, 0) / (n - 1)))
    case 'sum':
      return near(sum)
    case 'min':
      return exactly(Math.min(...values))
    case 'max':
      return exactly(Math.max(...values))
    case 'range':
      return exactly(Math.max(...values) - Math.min(...values))
    case 'last':
      return exactly(values[n - 1])
    case 'rate': {
      const elapsedMs = n < 2 ? 0 : (inWindow[n - 1].event_time as number) - (inWindow[n - 2].event_time as number)
      return elapsedMs === 0 ? { value: null, tolerance: 0 } : near(((values[n - 1] - values[n - 2]) * durationMs(spec.per)) / elapsedMs)
    }
    default:
      return spec.aggregate satisfies never
  }
}

function naiveFlag(spec: FlagSpec, inHop: readonly number[], features: ReadonlyMap<string, Expected>): boolean | null | 'undecided' {
  if (inHop.length === 0) return null
  if (spec.flag === 'exceeds') {
    const of = features.get(spec.of)!
    if (of.value === null) return null
    return any(inHop.map(x => isAbove(x, spec.factor * of.value!, spec.factor * of.tolerance)))
  }
  const [mean, std] = [features.get(spec.mean)!, features.get(spec.std)!]
  if (mean.value === null || std.value === null) return null
  const slack = mean.tolerance + spec.factor * std.tolerance
  const floor = 1e-9 * Math.max(1, Math.abs(mean.value))
  return any(inHop.map(x => isAbove(Math.abs(x - mean.value!), Math.max(spec.factor * std.value!, floor), slack)))
}

function isAbove(value: number, threshold: number, slack: number): boolean | 'undecided' {
  return Math.abs(value - threshold) <= slack && slack > 0 ? 'undecided' : value > threshold
}

function any(answers: readonly (boolean | 'undecided')[]): boolean | 'undecided' {
  if (answers.includes(true)) return true
  return answers.includes('undecided') ? 'undecided' : false
}
