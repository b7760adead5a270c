/**
 * Replays a recording through a real agent and a real gateway, each of which is killed with SIGKILL so many times, and started
 * again, until all is acked and the gateway has drained. The agent's kills cut the replay into stretches; between two of them
 * some batches are delivered twice, and mostly the gateway is given the time to flush, which is where it is killed.
 * It judges nothing but that the processes end as they should.
 */
import type { Profile } from '@tidemark/protocol'
import { Child, type Exit } from '../child.js'
import { type AgentDisk, readAgentDisk } from './agent-disk.js'
import type { Draw } from './draw.js'
import { readLoggedBatches } from './gateway-disk.js'
import { type GatewayKill, GatewayUnderKill } from './gateway-under-kill.js'
import { type AgentPoint, type Crash, KillPlan } from './kill-plan.js'
import type { Recording } from './recording.js'
import { redeliver } from './redelivery.js'
import { ReplayError } from './replay-error.js'
import type { Stage } from './stage.js'
import { until, whileItMoves } from './waiting.js'

export interface AgentKill {
  readonly crash: Crash<AgentPoint>
  /** The buffer still held readings that were published. */
  readonly isUnacked: boolean
}

export interface Replayed {
  readonly agentKills: readonly AgentKill[]
  readonly gatewayKills: readonly GatewayKill[]
  /** Readings that were acked once more. */
  readonly duplicatesDelivered: number
}

export interface ReplayEvents {
  agentKilled(kill: AgentKill, number: number, disk: AgentDisk): void
  gatewayKilled(kill: GatewayKill, number: number): void
  redelivered(batches: number, readings: number): void
  /** Rows acked and deleted by the agent. */
  progress(settled: number): void
}

export interface ReplayOptions {
  readonly stage: Stage
  readonly recording: Recording
  readonly profile: Profile
  readonly kills: number
  readonly draw: Draw
  readonly events: ReplayEvents
  /** Aborts: both processes are killed, and the replay rejects. */
  readonly signal: AbortSignal
}

/** Rows in one commit of the agent's csv source, about. */
const COMMIT_READINGS = 500
const READY_MS_MAX = 60_000
const FLUSH_MS_MAX = 60_000
const REDELIVERED_BATCHES_MAX = 3
/** How often an agent that is done without having been killed is started again to be killed at its last mark. */
const DONE_TRIES_MAX = 3
/** How often batches are delivered again so that a gateway with nothing to do reaches its crash point. */
const NEWS_MAX = 50
const PROGRESS_MS = 200

export async function replay(options: ReplayOptions): Promise<Replayed> {
  const run = new Replay(options)
  return await run.run()
}

class Replay {
  private readonly plan: KillPlan
  private readonly gateway: GatewayUnderKill
  private readonly agentKills: AgentKill[] = []
  private agent: Child | null = null
  private agentStarts = 0
  private duplicatesDelivered = 0

  constructor(private readonly options: ReplayOptions) {
    const { stage, profile, kills, draw, events } = options
    this.plan = new KillPlan(draw, kills)
    this.gateway = new GatewayUnderKill({
      stage,
      profile,
      kills,
      nextCrash: () => this.plan.nextGateway(Math.ceil(this.batches / (kills + 1) / stage.inFlight)),
      onKill: kill => events.gatewayKilled(kill, this.gateway.kills.length)
    })
  }

  async run(): Promise<Replayed> {
    const { stage, kills, draw } = this.options
    const ticking = setInterval(() => this.options.events.progress(this.disk.settled), PROGRESS_MS)
    try {
      this.gateway.start()
      await this.gatewayReady()
      stage.writeAgentConfig(this.gateway.mqttPort)
      while (this.agentKills.length < kills) {
        await this.runAgentUntilKilled()
        if (draw.chance(0.6)) await this.deliverAgain()
        // Else the agent is back before the gateway has flushed, and their kills may overlap.
        if (!draw.chance(0.8)) continue
        this.gateway.hold()
        await this.gatewayDone()
      }
      const exit = await this.runAgent(null)
      if (exit.code !== 0) throw this.agent!.unexpected(exit)
      await this.killGatewayEnough()
      await this.deliverAgain()
      if (this.duplicatesDelivered === 0) throw new ReplayError('no batch could be delivered twice')
      await this.within(this.gateway.stop())
      this.options.events.progress(this.disk.settled)
    } finally {
      clearInterval(ticking)
      this.agent?.end('SIGKILL')
      await Promise.all([this.agent?.exited, this.gateway.abandon()])
    }
    return { agentKills: this.agentKills, gatewayKills: this.gateway.kills, duplicatesDelivered: this.duplicatesDelivered }
  }

  private get batches(): number {
    return Math.ceil(this.options.recording.rows.length / this.options.stage.batchReadings)
  }

  private get disk(): AgentDisk {
    return readAgentDisk(this.options.stage.buffer)
  }

  private async runAgentUntilKilled(): Promise<void> {
    for (let done = 0; done < DONE_TRIES_MAX; done++) {
      const crash = done === 0 ? this.nextAgentCrash() : { point: 'publish' as const, count: 1 }
      const exit = await this.runAgent(crash)
      if (exit.signal === 'SIGKILL') {
        const { disk } = this
        const kill = { crash, isUnacked: disk.held > 0 && (crash.point === 'publish' || crash.point === 'puback') }
        this.agentKills.push(kill)
        this.options.events.agentKilled(kill, this.agentKills.length, disk)
        return
      }
      if (exit.code !== 0) throw this.agent!.unexpected(exit)
    }
    throw new ReplayError('the agent is done with the recording and reaches no crash point any more: it has too few rows for so many kills')
  }

  private nextAgentCrash(): Crash<AgentPoint> {
    const { stage, recording, kills } = this.options
    const { settled, sampled } = this.disk
    return this.plan.nextAgent({
      batches: Math.ceil((recording.rows.length - settled) / stage.batchReadings),
      commits: Math.ceil((recording.rows.length - sampled) / COMMIT_READINGS),
      kills: kills - this.agentKills.length,
      inFlight: stage.inFlight
    })
  }

  private async runAgent(crash: Crash<AgentPoint> | null): Promise<Exit> {
    const { stage } = this.options
    this.gateway.release()
    this.agent = new Child('agent', ['start', '--config', stage.agentConfig, '--once'], stage.logPath(`agent-${++this.agentStarts}`), crash)
    return await this.within(whileItMoves(this.agent.exited, 'the agent', () => this.disk.settled + this.disk.sampled))
  }

  /** While the agent is dead. */
  private async deliverAgain(): Promise<void> {
    const { stage, profile, draw, events } = this.options
    await this.gatewayReady()
    const batches = readLoggedBatches(stage.gatewayData, profile, 0)
    if (batches.length === 0) return
    const chosen = Array.from({ length: draw.integer(1, REDELIVERED_BATCHES_MAX) }, () => draw.pick(batches))
    const acked = await this.within(redeliver(this.gateway.mqttPort, stage.deviceId, chosen))
    const readings = acked.reduce((sum, batch) => sum + batch.readings, 0)
    this.duplicatesDelivered += readings
    if (readings > 0) events.redelivered(acked.length, readings)
  }

  private gatewayReady(): Promise<void> {
    return this.within(until(() => this.gateway.isReady, 'the start of the gateway', READY_MS_MAX))
  }

  /** Waits until the gateway is killed once more, or has nothing left to do. */
  private gatewayDone(): Promise<void> {
    const killed = this.gateway.kills.length
    const isDone = () => this.gateway.kills.length > killed || this.gateway.isCaughtUp()
    return this.within(until(isDone, 'a flush of the gateway', FLUSH_MS_MAX))
  }

  private async killGatewayEnough(): Promise<void> {
    for (let news = 0; !this.gateway.isKilledEnough; news++) {
      if (news === NEWS_MAX)
        throw new ReplayError(`the gateway was killed ${this.gateway.kills.length} times and reaches no crash point any more`)
      await this.gatewayDone()
      if (!this.gateway.isKilledEnough) await this.deliverAgain()
    }
    await this.gatewayReady()
  }

  /** `work`, unless the gateway fails or the person has enough. */
  private async within<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.options
    let onAbort = () => {}
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(new ReplayError('interrupted'))
      if (signal.aborted) onAbort()
      else signal.addEventListener('abort', onAbort, { once: true })
    })
    work.catch(() => undefined)
    try {
      return await Promise.race([work, aborted, this.gateway.failed])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }
}
