/** Real processes of the built packages, and what they print. */
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { until } from './until.js'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export const CLI = {
  agent: join(ROOT, 'agent/dist/cli.js'),
  gateway: join(ROOT, 'gateway/dist/cli.js'),
  simulator: join(ROOT, 'simulator/dist/cli.js')
}

export interface Running {
  readonly child: ChildProcess
  readonly stdout: () => string
  readonly stderr: () => string
  /** Resolves with the exit code, or the signal's name. */
  readonly exit: Promise<number | string>
  /** The JSON log lines on stdout so far. */
  logLines(): Record<string, unknown>[]
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  /** A program and its arguments that run the command, such as a tracer. */
  readonly under?: readonly string[]
  readonly cwd?: string
}

/** Starts a command of a package; kills it when the test has finished. */
export function run(cli: string, args: readonly string[], { env = {}, under = [], cwd }: RunOptions = {}): Running {
  const [program, ...rest] = [...under, process.execPath, cli, ...args]
  const child = spawn(program, rest, {
    env: { ...process.env, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd })
  })
  let stdout = ''
  let stderr = ''
  child.stdout!.on('data', chunk => (stdout += chunk))
  child.stderr!.on('data', chunk => (stderr += chunk))
  const exit = new Promise<number | string>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'))
  })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  return { child, stdout: () => stdout, stderr: () => stderr, exit, logLines: () => jsonLines(stdout) }
}

export interface RunningGateway extends Running {
  readonly dataDir: string
  readonly mqttUrl: string
  readonly mqttPort: number
  readonly httpUrl: string
  metric(name: string): Promise<number>
  /** Ends it as Ctrl-C does. */
  stop(): Promise<number | string>
}

/** Settings that let a test see in moments what takes minutes otherwise. */
export const QUICK = { flush: { interval: '200ms', small_hour_wait: '0ms', snapshot_every: 1 } }

/** A gateway on free ports, once it is ready. `config` is what the YAML file says (JSON is YAML). */
export async function startGateway(
  dataDir: string,
  config: object = QUICK,
  options: RunOptions & { mqttPort?: number; httpPort?: number; httpHost?: string } = {}
): Promise<RunningGateway> {
  const file = join(dataDir, '..', `${dataDir.split('/').at(-1)}.yaml`)
  writeFileSync(file, JSON.stringify(config))
  const { mqttPort = 0, httpPort = 0, httpHost = '127.0.0.1' } = options
  const listen = ['--mqtt', `127.0.0.1:${mqttPort}`, '--http', `${httpHost}:${httpPort}`]
  const args = ['start', '--config', file, '--data-dir', dataDir, ...listen]
  const running = run(CLI.gateway, args, options)
  const ready = await until(`the gateway to be ready; it said: ${running.stderr()}`, () => {
    if (running.child.exitCode !== null) throw new Error(`the gateway ended: ${running.stderr()}${running.stdout()}`)
    return running.logLines().find(line => line.msg === 'ready')
  })
  const httpUrl = `http://${ready.http}`
  return {
    ...running,
    dataDir,
    httpUrl,
    mqttUrl: `mqtt://${ready.mqtt}`,
    mqttPort: Number(String(ready.mqtt).split(':')[1]),
    async metric(name) {
      const text = await (await fetch(`${httpUrl}/metrics`)).text()
      const line = text.split('\n').find(candidate => candidate.startsWith(`${name} `))
      return line === undefined ? Number.NaN : Number(line.slice(name.length + 1))
    },
    stop() {
      process.kill(Number(ready.pid), 'SIGTERM') // not the child's: that may be a tracer
      return running.exit
    }
  }
}

/** Runs a command to its end. */
export async function runToEnd(
  cli: string,
  args: readonly string[],
  options: RunOptions = {}
): Promise<{ code: number | string; stdout: string; stderr: string }> {
  const running = run(cli, args, options)
  const code = await running.exit
  return { code, stdout: running.stdout(), stderr: running.stderr() }
}

/** Rows of a query over the archive. */
export async function query(dataDir: string, sql: string): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await runToEnd(CLI.gateway, ['sql', '--data-dir', dataDir, '--json', sql])
  if (code !== 0) throw new Error(`sql ended with ${code}: ${stderr}`)
  return JSON.parse(stdout)
}

function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter(line => line.startsWith('{') && line.endsWith('}'))
    .map(line => JSON.parse(line))
}
