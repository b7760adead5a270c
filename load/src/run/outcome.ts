/** From what was seen of a scenario to its figures. Pure. */
import type { Quantiles } from '@tidemark/simulator'
import type { Machine } from './machine.js'
import type { Point } from './meter.js'
import type { Played } from './play.js'
import { isWhole, judge, type Result } from './result.js'

/** Memory is flat when it no longer grows behind the first 10 minutes; behind a third of a shorter run. */
const SETTLING_S = 600

export function resultOf(played: Played, machine: Machine): Result {
  const { scenario, reports, verified, steps, points, disk, cpuS } = played
  const sum = (of: (report: Played['reports'][number]) => number) => reports.reduce((total, report) => total + of(report), 0)
  const acked = sum(report => report.readingsAcked)
  const seconds = sum(report => report.sampledMs) / 1000
  const [first] = reports
  const best = steps.filter(({ held }) => held).at(-1)
  const pubackMs: Quantiles = steps.length === 0 ? first.pubackMs : (best ?? steps[0]).puback_ms
  const memory = (point: Point) => point.rssMb.gateway + point.rssMb.front
  const top = points.reduce((most, point) => (memory(point) > memory(most) ? point : most), points[0])
  const figures = {
    scenario: scenario.name,
    seconds: rounded(seconds, 1),
    devices: first.devices,
    connections: first.connections,
    connect_s: rounded(first.connectMs / 1000, 1),
    readings_sent: sum(report => report.sampled),
    readings_acked: acked,
    rate: steps.length === 0 ? first.rate : (best?.acked_per_s ?? 0),
    messages_acked: sum(report => report.acked),
    puback_ms: pubackMs,
    backlog_ms: scenario.fleet.backlog === undefined ? null : first.backlogMs,
    archive_ms: played.archiveMs,
    archive_from: played.archiveFrom,
    cpu_s_per_million: rounded(best?.cpu_s_per_million ?? (cpuS.gateway * 1e6) / Math.max(1, acked), 2),
    simulator_cpu_s_per_million: rounded((cpuS.simulator * 1e6) / Math.max(1, acked), 2),
    rss_mb: Math.round(memory(top)),
    rss_mb_by_role: {
      gateway: Math.round(top.rssMb.gateway),
      front: Math.round(top.rssMb.front),
      simulator: Math.round(top.rssMb.simulator)
    },
    rss_growth_percent: rounded(growthPercent(points, memory), 2),
    event_loop_delay_p99_ms: rounded(Math.max(0, ...played.loopDelaysMs), 1),
    gc_share: rounded(played.gcS / Math.max(1, points.at(-1)?.atS ?? 1), 4),
    group_commits: played.groupCommits,
    wire_bytes_per_reading: rounded(sum(report => report.wireSentBytes) / Math.max(1, acked), 1),
    payload_bytes_per_reading: rounded(sum(report => report.payloadBytes) / Math.max(1, acked), 1),
    written_bytes_per_reading: rounded(played.writtenBytes / Math.max(1, acked), 1),
    processed_bytes_per_reading: rounded(disk.processed / Math.max(1, verified.archived), 2),
    disk_bytes: disk,
    redelivered: sum(report => report.redelivered),
    disconnects: sum(report => report.disconnects),
    recover_s: played.recoverS,
    steps,
    missing: verified.missing,
    doubled: verified.doubled,
    different: verified.different,
    unexpected: verified.unexpected,
    quarantine_wrong: verified.quarantineMissing + verified.quarantineUnexpected,
    verify_readings_per_s: Math.round((1000 * verified.expected) / Math.max(1, played.verifyMs))
  }
  const limits = judge(scenario.want, figures)
  return { ...figures, limits, ok: isWhole(figures) && verified.ok && limits.every(({ held }) => held), machine }
}

/**
 * By how much memory grew once it had settled, along the straight line that fits best: garbage that is collected now and then, a flush
 * more or less at either end, is no growth.
 */
function growthPercent(points: readonly Point[], memory: (point: Point) => number): number {
  const sampling = points.filter(({ phase }) => phase === 'sampling')
  if (sampling.length < 6) return 0
  const [beganS, endedS] = [sampling[0].atS, sampling[sampling.length - 1].atS]
  const settledS = beganS + Math.min(SETTLING_S, (endedS - beganS) / 3)
  const settled = sampling.filter(({ atS }) => atS >= settledS)
  const meanS = mean(settled.map(({ atS }) => atS))
  const meanMb = mean(settled.map(memory))
  const squares = settled.reduce((sum, { atS }) => sum + (atS - meanS) ** 2, 0)
  const slope = settled.reduce((sum, point) => sum + (point.atS - meanS) * (memory(point) - meanMb), 0) / squares
  const before = meanMb - slope * (meanS - settledS)
  return before > 0 ? (100 * slope * (endedS - settledS)) / before : 0
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function rounded(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits
}
