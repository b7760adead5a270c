/**
 * A real process of the project's: started from its dist, its output kept in a file, ended only by its own id. Ctrl-C does not reach it
 * from the terminal: the one that started it says what ends, and in which order; and it takes along what is left when it ends itself.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream, existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Crash } from './replay/kill-plan.js'
import { ReplayError, UsageError } from './replay/replay-error.js'

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

const LOG_LINES_SHOWN = 5

export class Child {
  readonly exited: Promise<Exit>
  private readonly process: ChildProcess
  private readonly listeners: ((line: string) => void)[] = []

  /** Throws a `UsageError` where the package is not built. */
  constructor(
    readonly name: 'agent' | 'gateway',
    args: readonly string[],
    private readonly logPath: string,
    crash: Crash | null = null,
    more: Readonly<Record<string, string>> = {}
  ) {
    const cli = fileURLToPath(new URL(`../../${name}/dist/cli.js`, import.meta.url))
    if (!existsSync(cli)) throw new UsageError(`there is no ${cli}: build it with npm run build`)
    const { TIDEMARK_CRASH_AT: _, ...inherited } = process.env
    const env = { ...inherited, ...more }
    this.process = spawn(process.execPath, [cli, ...args], {
      env: crash === null ? env : { ...env, TIDEMARK_CRASH_AT: `${crash.point}:${crash.count}` },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true
    })
    process.on('exit', this.leaveNothing)
    const log = createWriteStream(logPath, { flags: 'a' })
    this.process.stderr!.pipe(log, { end: false })
    this.process.stdout!.pipe(log, { end: false })
    this.splitLines()
    this.exited = new Promise((resolve, reject) => {
      this.process.once('error', reject)
      // `close`: its output is whole, too.
      this.process.once('close', (code, signal) => {
        process.off('exit', this.leaveNothing)
        log.end(() => resolve({ code, signal }))
      })
    })
  }

  /** Its id, once it runs. */
  get pid(): number | undefined {
    return this.process.pid
  }

  /** Called with each line of stdout from now on. */
  onLine(listener: (line: string) => void): void {
    this.listeners.push(listener)
  }

  end(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.process.kill(signal)
  }

  /** SIGKILL to it and to all that it has started. */
  endAll(): void {
    const { pid, exitCode, signalCode } = this.process
    if (pid === undefined || exitCode !== null || signalCode !== null) return
    process.kill(-pid, 'SIGKILL')
  }

  /** Ends it as Ctrl-C does. Rejects where it does not end well. */
  async endWell(): Promise<void> {
    this.end('SIGTERM')
    const exit = await this.exited
    if (exit.code !== 0) throw this.unexpected(exit)
  }

  /** What it said last, once it has ended. */
  lastLines(): string {
    return readFileSync(this.logPath, 'utf8').trimEnd().split('\n').slice(-LOG_LINES_SHOWN).join('\n  ')
  }

  /** An end that nobody asked for. */
  unexpected({ code, signal }: Exit): ReplayError {
    return new ReplayError(
      `the ${this.name} ended with ${signal ?? `exit code ${code}`}; it said last (${this.logPath}):\n  ${this.lastLines()}`
    )
  }

  private readonly leaveNothing = (): void => this.endAll()

  private splitLines(): void {
    let rest = ''
    this.process.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const lines = `${rest}${text}`.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) for (const listener of this.listeners) listener(line)
    })
  }
}
