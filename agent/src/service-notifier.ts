/**
 * Tells systemd how the agent does (sd_notify(3)): that it samples, that it takes up another configuration, that it stops, one line of
 * status, and, while the sampling loop is alive, that its watchdog need not bite.
 *
 * Node has no datagram sockets of the family AF_UNIX. Instead of a native library that every device would have to compile, it runs
 * `systemd-notify`, which is where systemd is: a process of some milliseconds, twice in the time of the watchdog. So the unit says
 * `NotifyAccess=all`; and the variables are taken out of the environment, so that no command of an `exec` source can speak for the agent.
 */
import { execFile } from 'node:child_process'
import type { Logger } from 'pino'
import { NOTIFY_MS_MAX } from './limits.js'
import { monotonicMs } from './monotonic.js'

/** How a running agent does. */
export interface Health {
  /** The sampling loop has not come round when it should have. */
  readonly isHung: boolean
  readonly sampled: number
  readonly buffered: number
  /** What is wrong with the disk; null where nothing is. */
  readonly problem: string | null
  /** The sources that fail, of how many. */
  readonly failing: readonly string[]
  readonly sources: number
}

export class ServiceNotifier {
  private sending: Promise<void> = Promise.resolve()
  private isSending = false
  private timer: NodeJS.Timeout | undefined
  private health: (() => Health) | null = null
  private wasHung = false
  private isBroken = false

  /** @param watchdogMs time of the watchdog; null: there is none */
  private constructor(
    private readonly socket: string,
    private readonly watchdogMs: number | null,
    private readonly log: Logger
  ) {}

  /** Null where systemd did not start this process as a service that notifies. Takes its variables out of `env`. */
  static take(env: NodeJS.ProcessEnv, pid: number, log: Logger): ServiceNotifier | null {
    const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: watchdog, WATCHDOG_PID: watched } = env
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name]
    if (socket === undefined || socket === '') return null
    const isWatched = watched === undefined || watched === String(pid)
    const watchdogMs = isWatched && /^[1-9]\d*$/.test(watchdog ?? '') ? Number(watchdog) / 1000 : null
    return new ServiceNotifier(socket, watchdogMs, log)
  }

  /** The agent samples into its buffer. From now on the watchdog is fed as long as `health` finds the loop alive. */
  ready(health: () => Health): void {
    this.health = health
    this.send('READY=1', `STATUS=${statusLine(health())}`)
    if (this.watchdogMs !== null) this.timer ??= setInterval(() => this.ping(), this.watchdogMs / 2)
  }

  /** Another configuration is being taken up; `reloaded` must follow. */
  reloading(): void {
    this.send('RELOADING=1', `MONOTONIC_USEC=${Math.floor(monotonicMs() * 1000)}`)
  }

  reloaded(): void {
    if (this.health !== null) this.send('READY=1', `STATUS=${statusLine(this.health())}`)
  }

  stopping(): void {
    clearInterval(this.timer)
    this.send('STOPPING=1', 'STATUS=stopping')
  }

  /** Resolves when all is told, or cannot be. */
  async done(): Promise<void> {
    clearInterval(this.timer)
    await this.sending
  }

  private ping(): void {
    if (this.health === null) return
    const health = this.health()
    if (health.isHung) {
      this.log.error('sampling hangs: the watchdog is fed no more, and will restart the agent')
      this.wasHung = true
      return
    }
    if (this.wasHung) this.log.info('sampling goes on again')
    this.wasHung = false
    if (!this.isSending) this.send('WATCHDOG=1', `STATUS=${statusLine(health)}`)
  }

  /** One after the other: systemd must hear of READY after RELOADING. */
  private send(...variables: string[]): void {
    this.isSending = true
    const sent = this.sending.then(() => this.run(variables))
    this.sending = sent
    void sent.then(() => {
      if (this.sending === sent) this.isSending = false
    })
  }

  private run(variables: string[]): Promise<void> {
    const env = { PATH: process.env.PATH, NOTIFY_SOCKET: this.socket }
    return new Promise(resolve => {
      execFile('systemd-notify', variables, { env, timeout: NOTIFY_MS_MAX, killSignal: 'SIGKILL' }, error => {
        if (error !== null && !this.isBroken) this.log.warn({ error: error.message }, 'cannot notify systemd')
        this.isBroken = error !== null
        resolve()
      })
    })
  }
}

/** One line for `systemctl status`. */
export function statusLine({ sampled, buffered, problem, failing, sources, isHung }: Health): string {
  const parts = [isHung ? 'sampling hangs' : `${sampled} sampled`, `${buffered} buffered`]
  if (failing.length > 0) parts.push(`${failing.length} of ${sources} sources failing (${failing.join(', ')})`)
  if (problem !== null) parts.push(problem)
  return parts.join(', ').replace(/\s+/g, ' ')
}
