/** A fleet in several processes: starts them, has them begin together, adds up what they tell, ends them. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { BrokerUnreachableError, ResourceError, UsageError } from './broker.js'
import { type BrokerAddress, BrokerRefusedError } from './connection.js'
import type { ShareReport } from './fleet.js'
import type { FleetCommand, FleetMessage } from './fleet-messages.js'
import type { FleetOptions, FleetProgress, FleetReport } from './fleet-options.js'
import { planOf } from './fleet-plan.js'
import { Latency } from './latency.js'
import { BEGIN_AHEAD_MS, PROGRESS_MS } from './limits.js'
import { Scoreboard } from './scoreboard.js'

/** The same from sources and when built. */
const PROGRAM = fileURLToPath(new URL('../dist/fleet-process.js', import.meta.url))

/** One of the processes ended without a report. */
export class FleetProcessError extends Error {
  readonly code = 'FLEET_PROCESS'
}

export class FleetProcesses {
  private readonly children: ChildProcess[] = []
  private readonly reports: (ShareReport | null)[]
  private readonly board: Scoreboard
  private readonly beganMs = performance.now()
  private ready = 0
  private startMs = Date.now()
  private connectMs = 0
  private isOver = false

  constructor(
    private readonly options: FleetOptions,
    private readonly addresses: readonly BrokerAddress[],
    private readonly processes: number,
    private readonly onProgress: (progress: FleetProgress) => void
  ) {
    this.reports = new Array<ShareReport | null>(processes).fill(null)
    this.board = new Scoreboard(processes, options.devices, options.connections ?? options.devices)
  }

  /** Resolves when all have ended their share; rejects with the failure of any. */
  async run(): Promise<FleetReport> {
    const { signal } = this.options
    const stop = () => this.tellAll({ say: 'stop' })
    const telling = setInterval(() => this.onProgress(this.board.progress(performance.now())), PROGRESS_MS)
    signal?.addEventListener('abort', stop)
    try {
      await new Promise<void>((resolve, reject) => {
        for (let index = 0; index < this.processes; index++) this.children.push(this.start(index, resolve, reject))
        if (signal?.aborted) stop()
      })
    } finally {
      this.isOver = true
      clearInterval(telling)
      signal?.removeEventListener('abort', stop)
      for (const child of this.children) child.kill('SIGKILL')
    }
    this.onProgress(this.board.progress(performance.now()))
    const reports = this.reports.filter(report => report !== null)
    return this.board.report(planOf(this.options, this.startMs), reports, this.connectMs)
  }

  /** The processes' ids, for whoever measures them. */
  get pids(): number[] {
    return this.children.flatMap(({ pid }) => (pid === undefined ? [] : [pid]))
  }

  private start(index: number, resolve: () => void, reject: (error: Error) => void): ChildProcess {
    const child = fork(PROGRAM, [], { execArgv: [], serialization: 'advanced' })
    const { signal: _, ...options } = this.options
    const play: FleetCommand = { say: 'play', options, share: { index, of: this.processes }, addresses: this.addresses }
    child.on('message', (message: FleetMessage) => this.hear(index, message, resolve, reject))
    child.on('error', reject)
    // `close`: all that it has said is heard by then; `exit` may come before its report.
    child.on('close', (code, signal) => {
      if (this.isOver || this.reports[index] !== null) return
      reject(new FleetProcessError(`a process of the simulator ended with ${signal ?? `exit code ${code}`}: it may have run out of memory`))
    })
    child.send(play)
    return child
  }

  private hear(index: number, message: FleetMessage, resolve: () => void, reject: (error: Error) => void): void {
    if (message.say === 'ready') this.beginWhenReady()
    else if (message.say === 'telling') this.board.take(index, message.telling, decoded(message.live), decoded(message.backlog))
    else if (message.say === 'failure') reject(errorOf(message))
    else {
      this.reports[index] = message.report
      if (this.reports.every(report => report !== null)) resolve()
    }
  }

  private beginWhenReady(): void {
    if (++this.ready < this.processes) return
    this.connectMs = performance.now() - this.beganMs
    this.startMs = Date.now() + BEGIN_AHEAD_MS
    this.tellAll({ say: 'begin', startMs: this.startMs })
  }

  private tellAll(command: FleetCommand): void {
    for (const child of this.children) if (child.connected) child.send(command)
  }
}

function decoded(text: string): Latency {
  const latency = new Latency()
  latency.addEncoded(text)
  return latency
}

/** The error that a process met, as if it had happened here. */
function errorOf({ code, message }: Extract<FleetMessage, { say: 'failure' }>): Error {
  if (code === 'USAGE') return new UsageError(message)
  if (code === 'BROKER_UNREACHABLE') return new BrokerUnreachableError(message)
  if (code === 'BROKER_REFUSED') return new BrokerRefusedError(message)
  return code === 'RESOURCE' ? new ResourceError(message) : new FleetProcessError(message)
}
