/**
 * Plays a scenario: a real gateway, a simulated fleet, and what measures both; then the drain, the verification and the verdict. A ramp
 * is one fleet after the other against the same gateway, each faster.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type FleetOptions, type FleetProgress, type FleetReport, runFleet, type VerifyResult, verifyArchive } from '@tidemark/simulator'
import { ReplayError } from '../replay/replay-error.js'
import { ArchiveWatch } from './archive-latency.js'
import { type DiskBytes, diskBytes } from './disk.js'
import { GatewayProcess } from './gateway-process.js'
import { Kills } from './kills.js'
import { Meter, type Point } from './meter.js'
import type { Role } from './proc.js'
import type { Step } from './result.js'
import type { Scenario } from './scenario.js'

/** What was seen of a scenario, before it is put into figures. */
export interface Played {
  readonly scenario: Scenario
  readonly reports: readonly FleetReport[]
  readonly steps: readonly Step[]
  readonly verified: VerifyResult
  readonly verifyMs: number
  readonly archiveMs: { readonly p50: number; readonly p99: number }
  readonly archiveFrom: 'event_time' | 'ingest_time'
  readonly recoverS: readonly (number | null)[]
  readonly points: readonly Point[]
  /** Of the gateway's processes and of the simulator's, since sampling began. */
  readonly cpuS: { readonly gateway: number; readonly simulator: number }
  readonly writtenBytes: number
  readonly disk: DiskBytes
  readonly loopDelaysMs: readonly number[]
  readonly gcS: number
  readonly groupCommits: number
}

export interface PlayEvents {
  /** What is going on, in a few words. */
  onStage(stage: string): void
  onPoint(point: Point, progress: FleetProgress | null): void
  onVerified(share: number): void
}

export async function play(scenario: Scenario, dir: string, events: PlayEvents, signal: AbortSignal): Promise<Played> {
  const { fleet } = scenario
  events.onStage('starting a gateway')
  const gateway = await GatewayProcess.start(dir, scenario.gateway, {
    connections: fleet.connections ?? fleet.devices,
    hasRelays: (fleet.connections ?? fleet.devices) < fleet.devices
  })
  try {
    const archive = new ArchiveWatch(join(gateway.dataDir, 'archive/processed/rotating-machine'))
    const meter = new Meter(
      (commandLine, pid) => roleOf(commandLine, pid, gateway),
      archive,
      (point, progress) => events.onPoint(point, progress)
    )
    meter.start(gateway.httpUrl)
    const kills = new Kills(scenario.kill, gateway, stage => events.onStage(stage))
    const fleets = new Fleets(scenario, gateway, meter, kills, events, signal)
    const { reports, steps } = await Promise.race([fleets.play(), gateway.death])
    await kills.settled()
    await meter.endMetrics()
    events.onStage('draining the gateway')
    const drainedMs = Date.now()
    await gateway.stop()
    meter.note(null)
    meter.stop()
    const cpuS = {
      gateway: meter.usage('gateway').cpuS + meter.usage('front').cpuS - fleets.cpuBefore.gateway,
      simulator: meter.usage('simulator').cpuS - fleets.cpuBefore.simulator
    }
    events.onStage('measuring the way to the archive')
    const archiveFrom = (fleet.faults?.skew ?? 0) > 0 ? 'ingest_time' : 'event_time'
    const archiveMs = await archive.measure(reports[0].run.plan.startMs, drainedMs, archiveFrom)
    if (scenario.compact) await compact(gateway.dataDir, events)
    events.onStage('comparing the archive with what the fleet must have sent')
    const verifyBeganMs = performance.now()
    const verified = await verifyAll(join(gateway.dataDir, 'archive'), reports, events)
    return {
      ...{ scenario, reports, steps, verified, archiveMs, archiveFrom, cpuS },
      verifyMs: performance.now() - verifyBeganMs,
      recoverS: kills.recoverS,
      points: meter.points,
      writtenBytes: meter.usage('gateway').writtenBytes + meter.usage('front').writtenBytes,
      disk: diskBytes(gateway.dataDir),
      loopDelaysMs: meter.loopDelaysMs,
      gcS: meter.gcS,
      groupCommits: meter.groupCommits
    }
  } finally {
    await gateway.abandon()
  }
}

/** Runs fleets against the gateway, one after the other. */
class Fleets {
  /** CPU time of the gateway and of the simulator when the first sampling began. */
  readonly cpuBefore = { gateway: 0, simulator: 0 }
  private hasSampled = false

  constructor(
    private readonly scenario: Scenario,
    private readonly gateway: GatewayProcess,
    private readonly meter: Meter,
    private readonly kills: Kills,
    private readonly events: PlayEvents,
    private readonly signal: AbortSignal
  ) {}

  async play(): Promise<{ reports: FleetReport[]; steps: Step[] }> {
    const { ramp } = this.scenario
    return ramp === undefined ? { reports: [await this.run(0, null)], steps: [] } : this.climb(ramp)
  }

  private async run(step: number, paced: { readonly intervalMs: number; readonly forMs: number } | null): Promise<FleetReport> {
    this.events.onStage('connecting')
    const options = fleetOptions(this.scenario, this.gateway.mqttUrl, step, this.signal)
    let phase = ''
    const report = await runFleet(paced === null ? options : { ...options, ...paced }, progress => {
      if (progress.phase !== phase) {
        phase = progress.phase
        if (phase === 'sampling' && step === 0) this.kills.plan()
        if (phase === 'sampling') this.markBegin()
        if (phase !== 'done') this.events.onStage(phase)
      }
      this.kills.note(progress)
      this.meter.note(progress)
    })
    this.meter.note(null)
    return report
  }

  /** A step that does not hold has a second try: something else may have been going on. */
  private async climb(ramp: NonNullable<Scenario['ramp']>): Promise<{ reports: FleetReport[]; steps: Step[] }> {
    const reports: FleetReport[] = []
    const steps: Step[] = []
    const { devices } = this.scenario.fleet
    let intervalMs = Number.POSITIVE_INFINITY
    for (let n = 0; n < ramp.steps && !this.signal.aborted; n++) {
      const next = Math.max(1, Math.round((devices * 1000) / (ramp.from * ramp.factor ** n)))
      if (next === intervalMs) continue // an interval is whole ms
      intervalMs = next
      for (let tries = 0; tries < 2 && !this.signal.aborted && (tries === 0 || !steps[steps.length - 1].held); tries++) {
        const before = this.gatewayCpuS()
        const report = await this.run(reports.length, { intervalMs, forMs: ramp.step })
        reports.push(report)
        steps.push(stepOf(report, ramp.until_p99, this.gatewayCpuS() - before))
      }
      if (!steps[steps.length - 1].held) break
    }
    if (reports.length === 0) throw new ReplayError('the ramp was stopped before its first step')
    return { reports, steps }
  }

  private markBegin(): void {
    if (this.hasSampled) return
    this.hasSampled = true
    this.cpuBefore.gateway = this.gatewayCpuS()
    this.cpuBefore.simulator = this.meter.usage('simulator').cpuS
  }

  private gatewayCpuS(): number {
    return this.meter.usage('gateway').cpuS + this.meter.usage('front').cpuS
  }
}

function stepOf(report: FleetReport, p99MsMax: number, cpuS: number): Step {
  const { run, sampledMs, readingsAcked, unacked, pubackMs } = report
  return {
    offered_per_s: Math.round((run.plan.devices * 1000) / run.plan.intervalMs),
    acked_per_s: Math.round((1000 * readingsAcked) / Math.max(1, sampledMs)),
    puback_ms: pubackMs,
    cpu_s_per_million: (cpuS * 1e6) / Math.max(1, readingsAcked),
    held: pubackMs.p99 < p99MsMax && unacked === 0
  }
}

function fleetOptions({ fleet }: Scenario, url: string, step: number, signal: AbortSignal): FleetOptions {
  const { faults, backlog } = fleet
  return {
    ...{ url, signal, devices: fleet.devices, readingsPerMessage: fleet.batch, connectPerS: fleet.connect_rate, drainMsMax: fleet.drain },
    seed: fleet.seed + step,
    intervalMs: fleet.interval,
    forMs: fleet.for,
    // Never in this process, which has other things to do.
    processes: fleet.processes ?? Math.ceil((fleet.connections ?? fleet.devices) / 17_000),
    ...(fleet.connections === undefined ? {} : { connections: fleet.connections }),
    ...(backlog === undefined ? {} : { backlog: { devices: backlog.devices, ms: backlog.length, atMs: backlog.at } }),
    ...(faults === undefined
      ? {}
      : {
          rates: { duplicates: faults.duplicates, late: faults.late, poison: faults.poison },
          troubles: { disconnects: faults.disconnects, delays: faults.delays, silence: faults.silence, skew: faults.skew }
        })
  }
}

/** The gateway's main process, those that it has started, and the simulator's. */
function roleOf(commandLine: string, pid: number, gateway: GatewayProcess): Role | null {
  if (pid === gateway.pid) return 'gateway'
  if (commandLine.includes('fleet-process')) return 'simulator'
  return commandLine.includes('gateway/dist') ? 'front' : null
}

async function compact(dataDir: string, events: PlayEvents): Promise<void> {
  events.onStage('compacting the archive')
  const cli = fileURLToPath(new URL('../../../gateway/dist/cli.js', import.meta.url))
  await promisify(execFile)(process.execPath, [cli, 'compact', '--now', '--data-dir', dataDir]).catch(cause => {
    throw new ReplayError(`tidemark-gateway compact failed: ${cause instanceof Error ? cause.message : cause}`, { cause })
  })
}

/** The counts of all runs together. */
async function verifyAll(archiveDir: string, reports: readonly FleetReport[], events: PlayEvents): Promise<VerifyResult> {
  let sum: VerifyResult | null = null
  for (const [n, { run }] of reports.entries()) {
    const onProgress = (share: number) => events.onVerified((n + share) / reports.length)
    const result = await verifyArchive({ archiveDir, run, onProgress })
    sum = sum === null ? result : addResults(sum, result)
  }
  if (sum === null) throw new ReplayError('there is nothing to verify')
  return sum
}

function addResults(a: VerifyResult, b: VerifyResult): VerifyResult {
  const sum: Record<string, number | boolean> = {}
  for (const [key, value] of Object.entries(a)) {
    const other = b[key as keyof VerifyResult]
    sum[key] = typeof value === 'number' && typeof other === 'number' ? value + other : value === true && other === true
  }
  return { ...a, ...sum }
}
