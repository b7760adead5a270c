/** What a scenario found: the figures, the limits that it set, and the verdict. The JSON's keys are stable. */
import type { Quantiles } from '@tidemark/simulator'
import type { DiskBytes } from './disk.js'
import type { Machine } from './machine.js'
import type { Role } from './proc.js'
import type { Want } from './scenario.js'

export interface Result {
  readonly scenario: string
  /** Of the sampling. */
  readonly seconds: number
  readonly devices: number
  readonly connections: number
  readonly connect_s: number
  readonly readings_sent: number
  readonly readings_acked: number
  /** Readings sampled a second; of a ramp: the knee. */
  readonly rate: number
  readonly messages_acked: number
  readonly puback_ms: Quantiles
  /** Of devices that came back with a backlog, from their return; null: there were none. */
  readonly backlog_ms: Quantiles | null
  readonly archive_ms: { readonly p50: number; readonly p99: number }
  readonly archive_from: 'event_time' | 'ingest_time'
  /** Of all processes of the gateway, from the beginning of the sampling to its end. */
  readonly cpu_s_per_million: number
  readonly simulator_cpu_s_per_million: number
  /** Most memory of all processes of the gateway together. */
  readonly rss_mb: number
  readonly rss_mb_by_role: Readonly<Partial<Record<Role, number>>>
  /** From 10 minutes after the start (or a third of it) to the end, by the medians of a minute each. */
  readonly rss_growth_percent: number
  readonly event_loop_delay_p99_ms: number
  readonly gc_share: number
  readonly group_commits: number
  readonly wire_bytes_per_reading: number
  readonly payload_bytes_per_reading: number
  readonly written_bytes_per_reading: number
  readonly processed_bytes_per_reading: number
  readonly disk_bytes: DiskBytes
  readonly redelivered: number
  readonly disconnects: number
  /** From each kill until all were back and p99 below 1 s; null: that did not come. */
  readonly recover_s: readonly (number | null)[]
  readonly steps: readonly Step[]
  readonly missing: number
  readonly doubled: number
  readonly different: number
  readonly unexpected: number
  readonly quarantine_wrong: number
  readonly verify_readings_per_s: number
  readonly limits: readonly Limit[]
  readonly ok: boolean
  readonly machine: Machine
}

/** A step of a ramp. */
export interface Step {
  readonly offered_per_s: number
  readonly acked_per_s: number
  readonly puback_ms: Quantiles
  readonly cpu_s_per_million: number
  readonly held: boolean
}

/** A figure and what the scenario wants of it. */
export interface Limit {
  readonly name: keyof Want
  readonly want: number
  readonly got: number | null
  readonly held: boolean
}

/** Judges the figures by what is wanted. All but the rate are upper limits. */
export function judge(want: Want, result: Omit<Result, 'limits' | 'ok' | 'machine'>): Limit[] {
  const worstRecovery = result.recover_s.includes(null) ? null : Math.max(0, ...result.recover_s.map(Number))
  const got: Record<keyof Want, number | null> = {
    puback_p50_ms: result.puback_ms.p50,
    puback_p99_ms: result.puback_ms.p99,
    puback_p999_ms: result.puback_ms.p999,
    archive_p99_s: result.archive_ms.p99 / 1000,
    connect_s: result.connect_s,
    rss_mb: result.rss_mb,
    rss_growth_percent: result.rss_growth_percent,
    cpu_s_per_million: result.cpu_s_per_million,
    recover_s: worstRecovery,
    readings_per_s: result.rate
  }
  return (Object.keys(got) as (keyof Want)[]).flatMap(name => {
    const limit = want[name]
    const value = got[name]
    if (limit === undefined) return []
    const held = value !== null && (name === 'readings_per_s' ? value >= limit : value <= limit)
    return [{ name, want: limit, got: value, held }]
  })
}

/** Whether all that was sent is in the archive, once and as it was. */
export function isWhole(
  result: Pick<Result, 'missing' | 'doubled' | 'different' | 'unexpected' | 'quarantine_wrong' | 'readings_sent' | 'readings_acked'>
): boolean {
  const wrong = result.missing + result.doubled + result.different + result.unexpected + result.quarantine_wrong
  return wrong === 0 && result.readings_acked === result.readings_sent
}
