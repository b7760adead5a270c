/**
 * Measures a run once a second: what the fleet tells, what /proc says of each role's processes, what the gateway says on /metrics.
 * The points make the report's charts. It starts and ends no processes.
 */
import type { FleetProgress } from '@tidemark/simulator'
import { type GatewayMetrics, readMetrics } from '../gateway-metrics.js'
import type { ArchiveWatch } from './archive-latency.js'
import { ProcessMeter, type Role, type Usage } from './proc.js'

/** One second of a run. */
export interface Point {
  /** Seconds since the meter began. */
  readonly atS: number
  readonly phase: string
  readonly connected: number
  readonly inFlight: number
  /** Readings acked a second, since the point before. */
  readonly readingsPerS: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  /** By role: memory in MB, and how many cores were busy since the point before. */
  readonly rssMb: Readonly<Record<Role, number>>
  readonly cores: Readonly<Record<Role, number>>
}

export const ROLES: readonly Role[] = ['gateway', 'front', 'simulator', 'runner', 'peer']

const POINT_MS = 1000
/** /metrics costs the gateway some ms. */
const METRICS_MS = 2000
const MB = 1024 * 1024

export class Meter {
  readonly points: Point[] = []
  /** Event loop delay's p99 at each reading of /metrics, ms. */
  readonly loopDelaysMs: number[] = []
  /** Of the main process's garbage collections, over all lives of the gateway; s. */
  gcS = 0
  /** Group commits of the log: one fsync each. */
  groupCommits = 0
  private readonly processes: ProcessMeter
  private readonly beganMs = performance.now()
  private timers: NodeJS.Timeout[] = []
  private metrics: GatewayMetrics = new Map()
  private httpUrl: string | null = null
  private progress: FleetProgress | null = null
  private lastMs = this.beganMs
  private lastAcked = 0
  private lastCpuS = new Map<Role, number>()

  constructor(
    roleOf: (commandLine: string, pid: number) => Role | null,
    private readonly archive: ArchiveWatch | null,
    private readonly onPoint: (point: Point, progress: FleetProgress | null) => void = () => {}
  ) {
    this.processes = new ProcessMeter(roleOf)
  }

  start(httpUrl: string | null): void {
    this.httpUrl = httpUrl
    this.look()
    this.timers = [setInterval(() => this.look(), POINT_MS), setInterval(() => void this.ask(), METRICS_MS)]
  }

  /** What the fleet has told last; null: there is none. */
  note(progress: FleetProgress | null): void {
    this.progress = progress
    if (progress === null) this.lastAcked = 0
  }

  /** The usage of a role up to now. */
  usage(role: Role): Usage {
    this.processes.look()
    return this.processes.usage(role)
  }

  count(role: Role): number {
    return this.processes.count(role)
  }

  secondsSinceStart(): number {
    return (performance.now() - this.beganMs) / 1000
  }

  /** Asks the gateway once more, and stops asking. */
  async endMetrics(): Promise<void> {
    await this.ask()
    this.httpUrl = null
  }

  stop(): void {
    for (const timer of this.timers) clearInterval(timer)
    this.look()
  }

  private look(): void {
    const nowMs = performance.now()
    this.processes.look()
    this.archive?.look()
    const seconds = Math.max(0.001, (nowMs - this.lastMs) / 1000)
    const usages = ROLES.map(role => [role, this.processes.usage(role)] as const)
    const acked = this.progress?.readingsAcked ?? 0
    const point: Point = {
      atS: (nowMs - this.beganMs) / 1000,
      phase: this.progress?.phase ?? 'idle',
      connected: this.progress?.connected ?? 0,
      inFlight: this.progress?.inFlight ?? 0,
      readingsPerS: Math.max(0, acked - this.lastAcked) / seconds,
      p50Ms: this.progress?.recentMs.p50 ?? 0,
      p99Ms: this.progress?.recentMs.p99 ?? 0,
      p999Ms: this.progress?.recentMs.p999 ?? 0,
      rssMb: byRole(usages, ({ rssBytes }) => rssBytes / MB),
      cores: byRole(usages, ({ cpuS }, role) => Math.max(0, cpuS - (this.lastCpuS.get(role) ?? cpuS)) / seconds)
    }
    this.lastMs = nowMs
    this.lastAcked = acked
    for (const [role, { cpuS }] of usages) this.lastCpuS.set(role, cpuS)
    this.points.push(point)
    this.onPoint(point, this.progress)
  }

  private async ask(): Promise<void> {
    if (this.httpUrl === null) return
    try {
      const read = await readMetrics(this.httpUrl)
      const before = this.metrics
      this.metrics = read
      this.gcS += grown(before, read, 'nodejs_gc_duration_seconds_sum')
      this.groupCommits += grown(before, read, 'tidemark_log_entries_total')
      this.loopDelaysMs.push((read.get('nodejs_eventloop_lag_p99_seconds') ?? 0) * 1000)
    } catch {
      // It is being started again; the next one will tell.
    }
  }
}

/** By how much a counter has grown; it begins at 0 with each process. */
function grown(before: GatewayMetrics, now: GatewayMetrics, name: string): number {
  const [then, value] = [before.get(name) ?? 0, now.get(name) ?? 0]
  return value >= then ? value - then : value
}

function byRole(usages: readonly (readonly [Role, Usage])[], of: (usage: Usage, role: Role) => number): Record<Role, number> {
  const values: Record<Role, number> = { gateway: 0, front: 0, simulator: 0, runner: 0, peer: 0 }
  for (const [role, usage] of usages) values[role] = of(usage, role)
  return values
}
