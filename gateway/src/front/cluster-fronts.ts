/**
 * Fronts in processes of their own. This process, the core, accepts the connections and hands them round (node:cluster, round robin:
 * sharing the socket instead spreads them so unevenly that a front runs out of descriptors). Each front has a socket pair with the
 * core that it inherits: nobody else can reach it, so it needs neither a path nor a secret.
 *
 * A front that says nothing for too long hangs, and is killed. A front that dies takes no acked reading with it, since what it had acked was in the log; it is started again after a while that
 * doubles with each early death. Its devices may come back on any other, and the wills of those that it had are appended here.
 */
import cluster, { type Worker } from 'node:cluster'
import { createServer, Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Logger } from 'pino'
import type { LogClient } from '../log/log-client.js'
import type { FrontOptions } from './front.js'
import { FrontLink, type Report } from './front-link.js'
import { FRONT_ENV, type FrontProcessOptions, LINK_DESCRIPTOR } from './front-process-options.js'
import type { FrontRow, Fronts } from './fronts.js'
import { LocalCore } from './local-core.js'
import type { Presence } from './presence.js'
import { emptyStats, type FrontStats, type ProcessStats, sumOf } from './stats.js'

/**
 * A light session leaves no garbage that lives longer than a wave, so a small young generation costs no time; one of 16 MiB a semi-space
 * takes 22 MB a front more. aedes' clients are made of objects that live longer: their fronts have that.
 */
const LIGHT_ARGS = ['--max-semi-space-size=4']

/** A front that has lived so long died of something else than its start, ms. */
const LIVED_MS = 10_000

const RESTART_MS_MIN = 100
const RESTART_MS_MAX = 30_000

/** A front that has not ended so long after it was told to is killed, ms. */
const CLOSE_MS_MAX = 30_000

/** A front reports every second; one that has not for so long hangs, ms. */
const SILENT_MS_MAX = 30_000

/** It is looked so often within that time: counted, so that a pause of ours does not make a front look silent. */
const SILENT_CHECKS = 10

interface RunningFront {
  readonly worker: Worker
  readonly link: FrontLink
  stats: FrontStats
  usage: ProcessStats
  isListening: boolean
  /** Looks since its last report. */
  silentChecks: number
}

export class ClusterFronts implements Fronts {
  restarts = 0
  private readonly running: (RunningFront | null)[]
  private readonly restarting = new Set<NodeJS.Timeout>()
  private readonly exits = new Set<Promise<void>>()
  private readonly earlyDeaths: number[]
  /** The counters of fronts that have ended. */
  private ended = emptyStats()
  private address = { host: '', port: 0 }
  private isClosing = false
  private checking: NodeJS.Timeout | null = null

  constructor(
    processes: number,
    private readonly options: FrontOptions,
    private readonly log: LogClient,
    private readonly presence: Presence,
    private readonly logger: Logger,
    private readonly silentMsMax = SILENT_MS_MAX
  ) {
    this.running = new Array<RunningFront | null>(processes).fill(null)
    this.earlyDeaths = new Array<number>(processes).fill(0)
  }

  stats(): FrontStats {
    return sumOf([this.ended, ...this.rows().map(({ stats }) => stats)])
  }

  rows(): FrontRow[] {
    return this.running.flatMap((front, i) => (front === null ? [] : [{ front: i + 1, stats: front.stats, usage: front.usage }]))
  }

  notReady(): string | null {
    if (this.running.some(front => front?.isListening)) return null
    const running = this.running.filter(front => front !== null).length
    return `none of ${this.running.length} fronts takes connections: ${running} run, and those hold as many as they may`
  }

  async listen(host: string, port: number): Promise<number> {
    this.address = { host, port: await freePort(host, port) }
    cluster.schedulingPolicy = cluster.SCHED_RR
    cluster.setupPrimary({
      exec: fileURLToPath(new URL('./front-process.js', import.meta.url)),
      args: [],
      execArgv: [...(this.options.lightSessions ? LIGHT_ARGS : []), ...process.execArgv],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
      serialization: 'advanced'
    })
    this.checking = setInterval(() => this.killSilent(), this.silentMsMax / SILENT_CHECKS)
    await Promise.all(this.running.map((_front, i) => this.start(i)))
    return this.address.port
  }

  async close(): Promise<void> {
    this.isClosing = true
    if (this.checking !== null) clearInterval(this.checking)
    for (const timer of this.restarting) clearTimeout(timer)
    for (const front of this.running) front?.link.close()
    const killing = setTimeout(() => {
      this.logger.error('fronts have not ended in time and are killed; what they have not acked, devices send again')
      for (const front of this.running) front?.worker.process.kill('SIGKILL')
    }, CLOSE_MS_MAX)
    await Promise.all(this.exits)
    clearTimeout(killing)
  }

  /** Resolves when the front listens for the first time. Rejects where it cannot. */
  private start(index: number): Promise<void> {
    const options: FrontProcessOptions = { ...this.address, ...this.options, logLevel: this.logger.level }
    const worker = cluster.fork({ [FRONT_ENV]: JSON.stringify(options) })
    const socket = worker.process.stdio[LINK_DESCRIPTOR]
    if (!(socket instanceof Socket)) throw new Error('a front was started without its socket pair')
    const link = new FrontLink(socket, this.log, this.presence)
    const front: RunningFront = {
      worker,
      link,
      stats: emptyStats(),
      usage: { residentBytes: 0, cpuSeconds: 0, loopDelaySeconds: 0 },
      isListening: false,
      silentChecks: 0
    }
    const startedMs = performance.now()
    this.running[index] = front
    worker.on('error', error => this.logger.debug({ front: index + 1, error: error.message }, 'a message to a front was lost'))
    const exited = new Promise<string | number>(resolve => worker.once('exit', (code, signal) => resolve(signal ?? code)))
    const gone = Promise.all([exited, link.closed()]).then(([how]) => this.reap(index, front, how, performance.now() - startedMs))
    this.exits.add(gone)
    void gone.finally(() => this.exits.delete(gone))
    return new Promise((resolve, reject) => {
      link.onReport = report => {
        if (report.type === 'failed-to-listen') reject(Object.assign(new Error(report.message), { code: report.code }))
        if (report.type === 'listening' && report.isListening) resolve()
        this.note(index, front, report)
      }
      gone.then(() => reject(new Error('a front ended before it could listen')))
    })
  }

  private note(index: number, front: RunningFront, report: Report): void {
    front.silentChecks = 0
    switch (report.type) {
      case 'stats':
        front.stats = report.stats
        front.usage = report.usage
        return
      case 'listening':
        front.isListening = report.isListening
        this.logger.info(
          { front: index + 1, frontPid: front.worker.process.pid },
          report.isListening ? 'the front takes connections' : 'the front takes no more connections: it holds as many as it may'
        )
        return
      case 'failed-to-listen':
        this.logger.error({ front: index + 1, error: report.message }, 'the front cannot listen')
        return
      case 'log':
        this.write(index, report.line)
        return
      default:
        report satisfies never
    }
  }

  private killSilent(): void {
    for (const [i, front] of this.running.entries()) {
      if (front === null) continue
      front.silentChecks = front.link.isHeld ? 0 : front.silentChecks + 1
      if (front.silentChecks <= SILENT_CHECKS) continue
      this.logger.error({ front: i + 1, silentMs: this.silentMsMax }, 'a front has said nothing for too long: it hangs, and is killed')
      front.worker.process.kill('SIGKILL')
      front.silentChecks = 0
    }
  }

  private reap(index: number, front: RunningFront, how: string | number, livedMs: number): void {
    this.running[index] = null
    this.ended = { ...sumOf([this.ended, front.stats]), connections: 0, lightSessions: 0 }
    const core = new LocalCore(this.log, this.presence)
    const wills = this.presence.frontDied(front.link)
    for (const { deviceId, will } of wills) core.appendFor(will.kind, deviceId, will.payload, { settled: () => {} }, 0)
    if (this.isClosing) return
    if (livedMs >= LIVED_MS) this.earlyDeaths[index] = 0
    const restartMs = Math.min(RESTART_MS_MAX, RESTART_MS_MIN * 2 ** this.earlyDeaths[index]++)
    this.logger.error(
      { front: index + 1, how, connections: front.stats.connections, wills: wills.length, restartMs },
      'a front has died; what it had acked is in the log'
    )
    const timer = setTimeout(() => {
      this.restarting.delete(timer)
      this.restarts++
      this.start(index).catch(() => {}) // it is told in the log, and tried again when its process has ended
    }, restartMs)
    this.restarting.add(timer)
  }

  /** Writes a line of a front's log as one of ours. */
  private write(index: number, line: string): void {
    const { level, time: _time, msg, ...fields } = JSON.parse(line) as { level: number; time: number; msg: string }
    const about = { front: index + 1, ...fields }
    if (level >= 50) this.logger.error(about, msg)
    else if (level >= 40) this.logger.warn(about, msg)
    else if (level >= 30) this.logger.info(about, msg)
    else this.logger.debug(about, msg)
  }
}

/** The port, or a free one for 0: all fronts must be told the same. Rejects where it is taken. */
function freePort(host: string, port: number): Promise<number> {
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : port))
    })
  })
}
