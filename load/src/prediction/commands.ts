/** The processes of a prediction proof: a gateway whose time is a file, and commands that run to their end. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Child } from '../child.js'
import { ReplayError } from '../replay/replay-error.js'
import { serving } from '../serving.js'

/** Boundaries are a day apart in the history's time: files by the hour, and few of them. */
const GATEWAY_CONFIG = { flush: { interval: '1d', small_hour_wait: '1h' } }

export interface TimedGateway {
  readonly mqttUrl: string
  readonly dataDir: string
  /** The file with its time. */
  readonly clock: string
  /** Drains it. Rejects where it does not end well. */
  stop(): Promise<void>
  kill(): void
}

/** A gateway that takes the history in as if it happened, from `startMs` on; its data in `folder`/gateway. */
export async function startTimedGateway(folder: string, startMs: number): Promise<TimedGateway> {
  const [clock, config, dataDir] = [join(folder, 'clock'), join(folder, 'gateway.yaml'), join(folder, 'gateway')]
  writeFileSync(clock, String(startMs))
  writeFileSync(config, JSON.stringify(GATEWAY_CONFIG))
  const args = ['start', '--config', config, '--data-dir', dataDir, '--mqtt', '127.0.0.1:0', '--http', '127.0.0.1:0']
  const child = new Child('gateway', args, join(folder, 'gateway.log'), null, { TIDEMARK_CLOCK_FILE: clock })
  const { mqtt } = await serving(child)
  return { mqttUrl: `mqtt://${mqtt}`, dataDir, clock, stop: () => child.endWell(), kill: () => child.endAll() }
}

/** Runs a command to its end and returns its stdout. Its progress goes to our terminal. Rejects where its exit code is not 0. */
export async function runCommand(of: 'gateway' | 'simulator', args: readonly string[], signal?: AbortSignal): Promise<string> {
  const cli = fileURLToPath(new URL(`../../../${of}/dist/cli.js`, import.meta.url))
  const isTerminal = process.stderr.isTTY === true
  const child = spawn(process.execPath, [cli, ...args], {
    stdio: ['ignore', 'pipe', isTerminal ? 'inherit' : 'pipe'],
    ...(signal === undefined ? {} : { signal })
  })
  let [stdout, stderr] = ['', '']
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0) throw new ReplayError(`${of} ${args[0]} ended with exit code ${code}: ${stderr.trim() || stdout.trim()}`)
  return stdout
}
