/**
 * A gateway that is started again whenever it kills itself, on the same port and data folder, until it has done so often enough.
 * After each kill, before the next start, the disk is read: what had been in danger.
 */
import type { Profile } from '@tidemark/protocol'
import { Child } from '../child.js'
import { servingOf } from '../serving.js'
import { type GatewayDisk, readGatewayDisk } from './gateway-disk.js'
import type { Crash, GatewayPoint } from './kill-plan.js'
import { ReplayError } from './replay-error.js'
import type { Stage } from './stage.js'

export interface GatewayKill {
  readonly crash: Crash<GatewayPoint>
  /** The log held readings that no committed flush had. */
  readonly isUnflushed: boolean
  /** The catalog recorded files that were not in the archive yet. */
  readonly isBetweenCommitAndRename: boolean
}

export interface GatewayOptions {
  readonly stage: Stage
  readonly profile: Profile
  readonly kills: number
  nextCrash(): Crash<GatewayPoint>
  onKill(kill: GatewayKill): void
}

/** The port may be taken for a moment by another process, since it is a free one that was chosen by the system. */
const PORT_TAKEN = 'is taken by another process'
const PORT_RETRIES_MAX = 20
const PORT_RETRY_MS = 250

export class GatewayUnderKill {
  readonly kills: GatewayKill[] = []
  /** 0 until it is first ready. */
  mqttPort = 0
  isReady = false
  /** Rejects where the gateway does what it must not do. */
  readonly failed: Promise<never>
  private fail: (error: unknown) => void = () => {}
  private child: Child | null = null
  private isStopping = false
  private starts = 0
  /** Pending while it is to stay down when it is killed. */
  private held: Promise<void> = Promise.resolve()
  private unhold: () => void = () => {}

  constructor(private readonly options: GatewayOptions) {
    this.failed = new Promise((_, reject) => (this.fail = reject))
    this.failed.catch(() => undefined)
  }

  start(): void {
    this.supervise().catch(this.fail)
  }

  /** From now on, when it is killed, it stays down until `release`: so that it is not killed again before there is more to lose. */
  hold(): void {
    this.release()
    this.held = new Promise(resolve => (this.unhold = resolve))
  }

  release(): void {
    this.unhold()
  }

  get isKilledEnough(): boolean {
    return this.kills.length >= this.options.kills
  }

  disk(): GatewayDisk {
    return readGatewayDisk(this.options.stage.gatewayData, this.options.profile)
  }

  /** Whether it has nothing left to write, so that no crash point is reached without more readings. */
  isCaughtUp(): boolean {
    const { lastBatchEntry, committedEntry, waiting } = this.disk()
    return this.isReady && committedEntry >= lastBatchEntry && waiting === 0
  }

  /** Drains it. Rejects where it does not end well. */
  async stop(): Promise<void> {
    this.isStopping = true
    if (this.child === null) throw new ReplayError('the gateway is not running')
    await this.child.endWell()
  }

  /** Ends it at once, without a word. */
  async abandon(): Promise<void> {
    this.isStopping = true
    this.release()
    this.child?.end('SIGKILL')
    await this.child?.exited
  }

  private async supervise(): Promise<void> {
    let portRetries = 0
    for (;;) {
      await this.held
      if (this.isStopping) return
      const crash = this.isKilledEnough ? null : this.options.nextCrash()
      const wasReady = await this.run(crash)
      if (this.isStopping) return
      const exit = await this.child!.exited
      if (exit.signal === 'SIGKILL' && crash !== null) this.noteKill(crash)
      else if (!wasReady && exit.code === 2 && this.child!.lastLines().includes(PORT_TAKEN) && portRetries++ < PORT_RETRIES_MAX)
        await new Promise(resolve => setTimeout(resolve, PORT_RETRY_MS))
      else throw this.child!.unexpected(exit)
    }
  }

  /** Runs until it ends. Returns whether it was ready meanwhile. */
  private async run(crash: Crash<GatewayPoint> | null): Promise<boolean> {
    const { stage } = this.options
    const args = [
      'start',
      '--config',
      stage.gatewayConfig,
      '--data-dir',
      stage.gatewayData,
      '--mqtt',
      `127.0.0.1:${this.mqttPort}`,
      '--http',
      '127.0.0.1:0'
    ]
    const child = new Child('gateway', args, stage.logPath(`gateway-${++this.starts}`), crash)
    this.child = child
    child.onLine(line => {
      const serving = servingOf(line)
      if (serving === null) return
      this.mqttPort = Number(serving.mqtt.split(':')[1])
      this.isReady = true
    })
    await child.exited
    const wasReady = this.isReady
    this.isReady = false
    return wasReady
  }

  private noteKill(crash: Crash<GatewayPoint>): void {
    const { lastBatchEntry, committedEntry, unrenamed } = this.disk()
    const kill = { crash, isUnflushed: lastBatchEntry > committedEntry, isBetweenCommitAndRename: unrenamed > 0 }
    this.kills.push(kill)
    this.options.onKill(kill)
  }
}
