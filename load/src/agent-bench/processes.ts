/** Real processes: a gateway, and agents that are timed from start to end. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Child } from '../child.js'
import { serving } from '../serving.js'

/** Starts a gateway in a folder and returns its MQTT address and what ends it. */
export async function startGateway(folder: string): Promise<{ url: string; stop: () => Promise<void> }> {
  const args = ['start', '--data-dir', join(folder, 'data'), '--mqtt', '127.0.0.1:0', '--http', '127.0.0.1:0']
  const gateway = new Child('gateway', args, join(folder, 'gateway.log'))
  const { mqtt } = await serving(gateway)
  return { url: `mqtt://${mqtt}`, stop: () => gateway.endWell() }
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
