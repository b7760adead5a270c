/** The gateway's fronts, one in this process or several in processes of their own, as the rest of it sees them. */
import { availableParallelism } from 'node:os'
import type { Logger } from 'pino'
import type { LogClient } from '../log/log-client.js'
import { ClusterFronts } from './cluster-fronts.js'
import { connectionsCap, descriptorsMax } from './descriptors.js'
import { Front } from './front.js'
import { LocalCore } from './local-core.js'
import type { Presence } from './presence.js'
import type { FrontStats, ProcessStats } from './stats.js'

export interface FrontConfig {
  /** 1: in the gateway's process. */
  readonly processes: number | 'auto'
  /** Connections that the gateway should be able to hold; `auto` makes as many processes as that takes. */
  readonly connectionsExpected: number
  /** Of one process, where its descriptors allow it. */
  readonly connectionsMax: number
  readonly lightSessions: boolean
  /** Clients that may publish for any device, as `relayMatcher` takes them. */
  readonly relays: readonly string[]
}

/** What one front counts and uses. */
export interface FrontRow {
  readonly front: number
  readonly stats: FrontStats
  /** null: it shares the gateway's process. */
  readonly usage: ProcessStats | null
}

export interface Fronts {
  /** Counters never fall, also when a front's process ends. */
  stats(): FrontStats
  rows(): FrontRow[]
  /** Processes started again. */
  readonly restarts: number
  /** Why no connection is taken just now; null: they are. */
  notReady(): string | null
  /** Resolves with the port. Rejects where it cannot listen. */
  listen(host: string, port: number): Promise<number>
  /** Takes in no more, waits until all that was appended is settled and its PUBACKs are written, and ends the connections. */
  close(): Promise<void>
}

/** A process is meant to hold so much of its cap, so that it has room for the devices of another that has died. */
const FILL = 0.8

/** `auto`: a process for what its connections take, and never more than two a core. */
export function processesOf({ processes, connectionsExpected }: FrontConfig, cap: number, cores = availableParallelism()): number {
  if (processes !== 'auto') return processes
  const needed = Math.ceil(connectionsExpected / (cap * FILL))
  return Math.max(1, connectionsExpected > cap ? needed : Math.min(needed, cores))
}

export async function createFronts(config: FrontConfig, log: LogClient, presence: Presence, logger: Logger): Promise<Fronts> {
  const connectionsMax = connectionsCap(config.connectionsMax, descriptorsMax())
  const processes = processesOf(config, connectionsMax)
  const options = { connectionsMax, lightSessions: config.lightSessions, relays: config.relays }
  if (processes > 1) return new ClusterFronts(processes, options, log, presence, logger)
  const core = new LocalCore(log, presence)
  const front = await Front.create(core, logger, options)
  core.front = front
  return new LocalFronts(front)
}

class LocalFronts implements Fronts {
  readonly restarts = 0

  constructor(private readonly front: Front) {}

  stats(): FrontStats {
    return this.front.snapshot()
  }

  rows(): FrontRow[] {
    return [{ front: 1, stats: this.stats(), usage: null }]
  }

  notReady(): string | null {
    return this.front.listener.isListening ? null : 'the front holds as many connections as it may'
  }

  listen(host: string, port: number): Promise<number> {
    return this.front.listen(host, port)
  }

  close(): Promise<void> {
    return this.front.close()
  }
}
