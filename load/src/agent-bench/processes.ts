/** Real processes side by side: what they take of memory and processor, and how long an agent takes to start and to drain. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const GATEWAY_CLI = fileURLToPath(new URL('../../../gateway/dist/cli.js', import.meta.url))
const TICKS_PER_SECOND = 100

export interface Footprint {
  readonly rssMb: number
  /** Of one core. */
  readonly cpuPercent: number
}

/** Starts a gateway in a folder and returns its MQTT address and what ends it. */
export async function startGateway(folder: string): Promise<{ url: string; stop: () => Promise<void> }> {
  const child = spawn(
    process.execPath,
    [GATEWAY_CLI, 'start', '--data-dir', join(folder, 'data'), '--mqtt', '127.0.0.1:0', '--http', '127.0.0.1:0'],
    {
      stdio: ['ignore', 'pipe', 'inherit']
    }
  )
  let output = ''
  for await (const chunk of child.stdout!) {
    output += chunk
    const ready = /"mqtt":"([^"]+)".*"ready"/.exec(output)
    if (ready === null) continue
    child.stdout!.resume()
    return {
      url: `mqtt://${ready[1]}`,
      async stop() {
        child.kill('SIGTERM')
        await once(child, 'close')
      }
    }
  }
  throw new Error(`the gateway did not start: ${output}`)
}

export function writeAgentConfig(folder: string, url: string, changes: object): string {
  const path = join(folder, 'agent.yaml')
  const config = {
    device_id: 'bench',
    gateway: { url },
    profile: 'rotating-machine',
    buffer: { path: 'buffer.sqlite' },
    source: { type: 'simulated' },
    interval: '1s',
    ...changes
  }
  writeFileSync(path, JSON.stringify(config))
  return path
}

/** Runs an agent with `--once` to its end; seconds. */
export async function runAgentOnce(cli: string, config: string): Promise<number> {
  const startedMs = performance.now()
  const child = spawn(process.execPath, [cli, 'start', '--once', '--config', config], { stdio: ['ignore', 'ignore', 'inherit'] })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`the agent ended with ${code}`)
  return (performance.now() - startedMs) / 1000
}

export function agentCommand(cli: string, config: string): string[] {
  return [process.execPath, cli, 'start', '--config', config]
}

/** Starts a command for so long, and measures the later half of that. Ends it. */
export async function measure([program, ...args]: readonly string[], seconds: number): Promise<Footprint> {
  const child = spawn(program, args, { stdio: 'ignore' })
  const failed = once(child, 'error').then(([error]) => Promise.reject(error))
  failed.catch(() => undefined)
  try {
    await Promise.race([delay((seconds / 2) * 1000), failed])
    const before = cpuTicks(child)
    await delay((seconds / 2) * 1000)
    const used = (cpuTicks(child) - before) / TICKS_PER_SECOND
    return { rssMb: rssMb(child), cpuPercent: (used / (seconds / 2)) * 100 }
  } finally {
    child.kill('SIGTERM')
  }
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

function cpuTicks({ pid }: ChildProcess): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[11]) + Number(fields[12])
}

function rssMb({ pid }: ChildProcess): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
}
