/**
 * Where each process is killed next: drawn from the seed, as a crash point and how many times it is passed before. The points
 * come from lists that begin with what hurts most, so that few kills cover the most; their order is drawn.
 */
import type { Draw } from './draw.js'

export type AgentPoint = 'commit' | 'publish' | 'puback' | 'delete'
export type GatewayPoint = 'append' | 'flush' | 'commit' | 'rename' | 'snapshot'

/** The process kills itself the `count`-th time that it reaches the point (`TIDEMARK_CRASH_AT`). */
export interface Crash<P extends string = string> {
  readonly point: P
  readonly count: number
}

const AGENT_POINTS: readonly AgentPoint[] = ['publish', 'puback', 'commit', 'delete']
const GATEWAY_POINTS: readonly GatewayPoint[] = ['append', 'commit', 'flush', 'rename', 'snapshot']

/** Of an agent's work, what is still to be done. */
export interface AgentWork {
  /** Batches that are not acked. */
  readonly batches: number
  /** Commits of readings that are not sampled yet. */
  readonly commits: number
  /** Kills to come, this one included. */
  readonly kills: number
  readonly inFlight: number
}

/** The start frame, a birth, and the death of an agent that is killed before it has published. */
const FRAMES_BEFORE_BATCHES = 3

/** What one flush writes at least: raw, processed, curated. */
const FILES_PER_FLUSH = 3

export class KillPlan {
  private readonly agentPoints: AgentPoint[]
  private readonly gatewayPoints: GatewayPoint[]

  constructor(
    private readonly draw: Draw,
    kills: number
  ) {
    this.agentPoints = this.points(AGENT_POINTS, kills)
    this.gatewayPoints = this.points(GATEWAY_POINTS, kills)
    // Sampling is done long before publishing; and a gateway that was killed at an append has something to flush.
    this.agentPoints.sort((a, b) => Number(b === 'commit') - Number(a === 'commit'))
    this.gatewayPoints.sort((a, b) => Number(b === 'append') - Number(a === 'append'))
  }

  /** Reached for sure before the agent is done, and early enough to leave work for the kills to come. */
  nextAgent({ batches, commits, kills, inFlight }: AgentWork): Crash<AgentPoint> {
    const share = (total: number) => this.draw.integer(1, Math.max(1, Math.floor((2 * total) / (kills + 1))))
    let point = this.agentPoints.shift() ?? this.draw.pick(AGENT_POINTS)
    if (point === 'commit' && commits === 0) point = 'publish'
    if (point === 'commit') return { point, count: share(commits) }
    // One commit deletes all that is acked in one turn: at most what is in flight.
    return { point, count: share(point === 'delete' ? Math.ceil(batches / inFlight) : batches) }
  }

  /** `entries`: how many entries of the log a stretch of the agent's work makes. */
  nextGateway(entries: number): Crash<GatewayPoint> {
    const point = this.gatewayPoints.shift() ?? this.draw.pick(GATEWAY_POINTS)
    if (point === 'append') return { point, count: FRAMES_BEFORE_BATCHES + this.draw.integer(1, Math.max(1, entries)) }
    return { point, count: point === 'rename' ? this.draw.integer(1, FILES_PER_FLUSH) : 1 }
  }

  private points<P>(all: readonly P[], kills: number): P[] {
    const points = all.slice(0, kills)
    while (points.length < kills) points.push(this.draw.pick(all))
    return this.draw.shuffle(points)
  }
}
