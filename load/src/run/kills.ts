/** The kills of a scenario: when each is due, and how long it took until all devices were back and acked fast again. */
import type { FleetProgress } from '@tidemark/simulator'
import type { GatewayProcess } from './gateway-process.js'

/** Acks are fast again when a second's p99 is below this. */
const FAST_MS = 1000

export class Kills {
  /** Seconds from each kill; null: not yet. */
  readonly recoverS: (number | null)[]
  private readonly timers: NodeJS.Timeout[] = []
  private readonly killedMs: number[] = []
  private working: Promise<void> = Promise.resolve()
  private isDown = false

  /** `atMs`: after the start. */
  constructor(
    private readonly atMs: readonly number[],
    private readonly gateway: GatewayProcess,
    private readonly onStage: (stage: string) => void
  ) {
    this.recoverS = atMs.map(() => null)
  }

  /** Sampling has begun. */
  plan(): void {
    for (const [n, ms] of this.atMs.entries()) this.timers.push(setTimeout(() => this.kill(n), ms))
  }

  note({ phase, connected, connections, recentMs }: FleetProgress): void {
    const n = this.killedMs.length - 1
    if (n < 0 || this.isDown || this.recoverS[n] !== null || phase !== 'sampling') return
    const isBack = connected === connections && recentMs.p99 > 0 && recentMs.p99 < FAST_MS
    if (isBack) this.recoverS[n] = Math.round((performance.now() - this.killedMs[n]) / 100) / 10
  }

  /** Resolves when a gateway that was killed serves again. Rejects where it does not. */
  async settled(): Promise<void> {
    for (const timer of this.timers) clearTimeout(timer)
    await this.working
  }

  private kill(n: number): void {
    this.onStage(`killing the gateway (${n + 1} of ${this.atMs.length})`)
    this.killedMs.push(performance.now())
    this.isDown = true
    this.working = this.gateway.killAndRestart().then(() => {
      this.isDown = false
      this.onStage('the gateway is back')
    })
    this.working.catch(() => {}) // `settled` tells
  }
}
