/** A program of a peer: started, waited for, killed, always by its own id. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { ReplayError, UsageError } from '../replay/replay-error.js'

const START_MS_MAX = 60_000
const POLL_MS = 100

export class Program {
  private child: ChildProcess | null = null
  private exited: Promise<unknown> = Promise.resolve()

  constructor(
    readonly name: string,
    private readonly command: string,
    private readonly args: readonly string[],
    private readonly logPath: string,
    private readonly env: Readonly<Record<string, string>> = {}
  ) {}

  /** Of the process that runs. */
  get pid(): number {
    if (this.child?.pid === undefined) throw new Error(`${this.name} does not run`)
    return this.child.pid
  }

  /** Resolves when `isUp` says so. */
  async start(isUp: () => Promise<boolean>): Promise<void> {
    const log = createWriteStream(this.logPath, { flags: 'a' })
    const child = spawn(this.command, this.args, { env: { ...process.env, ...this.env }, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout?.pipe(log, { end: false })
    child.stderr?.pipe(log, { end: false })
    this.child = child
    process.on('exit', this.leaveNothing)
    let failure: Error | null = null
    child.on('error', error => {
      failure = new UsageError(`cannot run ${this.command} (${error.message}): install it, or leave ${this.name} out with --only`)
    })
    this.exited = new Promise(resolve => child.once('close', resolve))
    for (const untilMs = performance.now() + START_MS_MAX; performance.now() < untilMs; await delay(POLL_MS)) {
      if (failure !== null) throw failure
      if (child.exitCode !== null) throw new ReplayError(`${this.name} ended with exit code ${child.exitCode}: see ${this.logPath}`)
      if (await isUp()) return
    }
    throw new ReplayError(`${this.name} did not start within ${START_MS_MAX / 1000} s: see ${this.logPath}`)
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    process.off('exit', this.leaveNothing)
    this.child?.kill(signal)
    this.child = null
    await this.exited
  }

  private readonly leaveNothing = (): void => {
    this.child?.kill('SIGKILL')
  }
}

/** Whether something listens on a port of this machine. */
export function listens(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
