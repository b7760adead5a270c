/** Real processes: a gateway, and agents that are timed from start to end. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Child } from '../child.js'
import { usageOf } from '../run/usage.js'
import { serving } from '../serving.js'

/** How often the processor time of an agent is looked at that ends by itself, ms. */
const LOOK_MS = 50

/** Starts a gateway in a folder and returns its MQTT address, its processor time so far, and what ends it. */
export async function startGateway(
  folder: string,
  config: object = {}
): Promise<{ url: string; cpuS: () => number; stop: () => Promise<void> }> {
  const file = join(folder, 'gateway.yaml')
  writeFileSync(file, JSON.stringify(config)) // JSON is YAML
  const args = ['start', '--config', file, '--data-dir', join(folder, 'data'), '--mqtt', '127.0.0.1:0', '--http', '127.0.0.1:0']
  const gateway = new Child('gateway', args, join(folder, 'gateway.log'))
  const { mqtt } = await serving(gateway)
  return { url: `mqtt://${mqtt}`, cpuS: () => usageOf([gateway.pid!]).cpuS, stop: () => gateway.endWell() }
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

/** Runs an agent with `--once` to its end; how long that took, and its processor time, as last seen of it. */
export async function runAgentOnce(cli: string, config: string): Promise<{ seconds: number; cpuS: number }> {
  const startedMs = performance.now()
  const child = spawn(process.execPath, [cli, 'start', '--once', '--config', config], { stdio: ['ignore', 'ignore', 'inherit'] })
  let cpuS = 0
  const looking = setInterval(() => {
    if (child.exitCode === null) cpuS = Math.max(cpuS, usageOf([child.pid!]).cpuS)
  }, LOOK_MS)
  const [code] = await once(child, 'close')
  clearInterval(looking)
  if (code !== 0) throw new Error(`the agent ended with ${code}`)
  return { seconds: (performance.now() - startedMs) / 1000, cpuS }
}

export function agentCommand(cli: string, config: string): string[] {
  return [process.execPath, cli, 'start', '--config', config]
}
