/** Adds up what the processes of a fleet tell: the progress while it runs, the report when it is over. */
import type { RunPlan } from './device.js'
import type { ShareReport, Telling } from './fleet.js'
import type { FleetPhase, FleetProgress, FleetReport } from './fleet-options.js'
import { Latency } from './latency.js'
import { RATE_TELLINGS } from './limits.js'
import { placeOf } from './schedule.js'
import { addCounts } from './tally.js'

const PHASES: readonly FleetPhase[] = ['connecting', 'sampling', 'draining', 'done']

export class Scoreboard {
  /** Of the whole run: readings sampled while it ran, and those of a backlog. */
  readonly live = new Latency()
  readonly backlog = new Latency()
  /** Live ones since the last progress. */
  private readonly recent = new Latency()
  private readonly tellings: (Telling | null)[]
  /** How many readings had been acked at the latest times of telling, oldest first. */
  private told: { readonly atMs: number; readonly readingsAcked: number }[] = []

  /** `shares`: how many processes tell. */
  constructor(
    shares: number,
    private readonly devices: number,
    private readonly connections: number
  ) {
    this.tellings = new Array<Telling | null>(shares).fill(null)
  }

  take(share: number, telling: Telling, live: Latency, backlog: Latency): void {
    this.tellings[share] = telling
    this.live.add(live)
    this.recent.add(live)
    this.backlog.add(backlog)
  }

  /** Of all; begins a new interval for what is recent. `nowMs`: performance.now(). */
  progress(nowMs: number): FleetProgress {
    const tellings = this.tellings.filter(telling => telling !== null)
    const { sampled, published, acked, readingsAcked, disconnects } = addCounts(tellings.map(({ counts }) => counts))
    const recentMs = this.recent.quantiles()
    this.recent.reset()
    return {
      phase: PHASES[tellings.length < this.tellings.length ? 0 : Math.min(...tellings.map(({ phase }) => PHASES.indexOf(phase)))],
      share: tellings.length === 0 ? 0 : Math.min(...tellings.map(({ share }) => share)),
      devices: this.devices,
      connected: tellings.reduce((sum, { connected }) => sum + connected, 0),
      connections: this.connections,
      ...{ sampled, published, acked, readingsAcked, disconnects },
      inFlight: published - acked,
      readingsPerS: Math.round(this.rate(nowMs, readingsAcked)),
      pubackMs: this.live.quantiles(),
      recentMs
    }
  }

  /** `reports` in the order of the shares. */
  report(plan: RunPlan, reports: readonly ShareReport[], connectMs: number): FleetReport {
    const counts = addCounts(reports.map(report => report.counts))
    const seqs = new Array<number>(plan.devices).fill(0)
    for (const [index, report] of reports.entries())
      for (const [j, seq] of report.seqs.entries()) seqs[placeOf({ index, of: reports.length }, j)] = seq
    const sampledMs = Math.max(...reports.map(report => report.sampledMs))
    const { backlog, intervalMs } = plan
    const taken = counts.sampled - (backlog === undefined ? 0 : backlog.devices * Math.floor(backlog.ms / intervalMs))
    return {
      ...counts,
      devices: plan.devices,
      connections: this.connections,
      connectedAtStart: reports.reduce((sum, { connectedAtStart }) => sum + connectedAtStart, 0),
      connectMs: Math.round(connectMs),
      unacked: counts.sampled - counts.readingsAcked,
      pubackMs: this.live.quantiles(),
      backlogMs: this.backlog.quantiles(),
      rate: sampledMs === 0 ? 0 : Math.round((1000 * taken) / sampledMs),
      sampledMs: Math.round(sampledMs),
      drainMs: Math.round(Math.max(...reports.map(report => report.drainMs))),
      run: { plan, seqs }
    }
  }

  private rate(nowMs: number, readingsAcked: number): number {
    this.told.push({ atMs: nowMs, readingsAcked })
    if (this.told.length > RATE_TELLINGS) this.told.shift()
    const [oldest] = this.told
    return nowMs > oldest.atMs ? (1000 * (readingsAcked - oldest.readingsAcked)) / (nowMs - oldest.atMs) : 0
  }
}
