/**
 * Agents that come back with their backlogs at once, beside live devices: how long these wait for their PUBACKs, by how fast the
 * gateway lets the agents drain. All on one machine, so the agents run with a low priority.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { agentCommand, startGateway, writeAgentConfig } from './processes.js'

/** What is live: so many devices, for so long; the agents come after `AGENTS_AT_MS`. */
const LIVE = ['--devices', '500', '--interval', '500ms', '--for', '25s']
const AGENTS_AT_MS = 6000

export const FLOOD_AGENTS = 10
export const FLOOD_READINGS = 300_000

/** Fills the buffer of a device. */
export type Fill = (device: string, readings: number, path: string) => void

/** The 99th percentile of the live devices' PUBACKs, in ms. `maxRate` as in `drain.max_rate`. */
export async function floodPubackMs(cli: string, folder: string, maxRate: string, fill: Fill): Promise<number> {
  const configs = Array.from({ length: FLOOD_AGENTS }, (_, i) => {
    const at = join(folder, `agent-${i}`)
    mkdirSync(at)
    fill(`agent-${i}`, FLOOD_READINGS, join(at, 'buffer.sqlite'))
    return { at, device_id: `agent-${i}` }
  })
  const gateway = await startGateway(folder, { drain: { max_rate: maxRate } })
  const report = join(folder, 'live.json')
  const simulator = fileURLToPath(new URL('../../../simulator/dist/cli.js', import.meta.url))
  const live = spawn(process.execPath, [simulator, 'run', '--url', gateway.url, ...LIVE, '--json', report], { stdio: 'ignore' })
  const agents: ReturnType<typeof spawn>[] = []
  try {
    await delay(AGENTS_AT_MS)
    for (const { at, device_id } of configs) {
      const config = writeAgentConfig(at, gateway.url, { device_id })
      agents.push(spawn('nice', ['-n', '10', ...agentCommand(cli, config)], { stdio: 'ignore' }))
    }
    const [code] = await once(live, 'close')
    if (code !== 0) throw new Error(`the simulator ended with ${code}`)
    return (JSON.parse(readFileSync(report, 'utf8')) as { puback_ms: { p99: number } }).puback_ms.p99
  } finally {
    for (const agent of agents) agent.kill('SIGKILL')
    await gateway.stop()
  }
}
