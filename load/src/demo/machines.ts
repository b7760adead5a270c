/** The demo's real processes: a gateway, and four agents that send to it. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Child } from '../child.js'
import { serving } from '../serving.js'

export interface RunningGateway {
  readonly mqttUrl: string
  readonly httpUrl: string
  readonly dataDir: string
  /** Drains it. Rejects where it does not end well. */
  stop(): Promise<void>
  /** Ends it in whatever state it is. */
  kill(): Promise<void>
}

/** Rows of small hours wait in a long-lived gateway; here everything should be there to look at soon. */
const GATEWAY_CONFIG = { flush: { interval: '10s', small_hour_wait: '10s' } }

/** A gateway on free ports of this machine, its data in `dir`/gateway. Rejects where it does not start. */
export async function startGateway(dir: string): Promise<RunningGateway> {
  const dataDir = join(dir, 'gateway')
  const config = join(dir, 'gateway.yaml')
  writeFileSync(config, JSON.stringify(GATEWAY_CONFIG))
  const args = ['start', '--config', config, '--data-dir', dataDir, '--mqtt', '127.0.0.1:0', '--http', '127.0.0.1:0']
  const child = new Child('gateway', args, join(dir, 'gateway.log'))
  const { mqtt, http } = await serving(child)
  return { mqttUrl: `mqtt://${mqtt}`, httpUrl: `http://${http}`, dataDir, stop: () => child.endWell(), kill: () => killed([child]) }
}

/** One agent that measures this machine, three that play machines. */
export function startAgents(dir: string, mqttUrl: string): { readonly count: number; stop(): Promise<void>; kill(): Promise<void> } {
  const configs = [
    { device_id: 'this-machine', profile: 'host', source: { type: 'system' }, interval: '1s' },
    ...[1, 2, 3].map(seed => ({
      device_id: `press-${seed}`,
      profile: 'rotating-machine',
      source: { type: 'simulated', seed },
      interval: '1s'
    }))
  ]
  const children = configs.map(config => {
    const path = join(dir, `${config.device_id}.yaml`)
    writeFileSync(path, JSON.stringify({ ...config, gateway: { url: mqttUrl }, buffer: { path: `${config.device_id}.sqlite` } }))
    return new Child('agent', ['start', '--config', path], join(dir, `${config.device_id}.log`))
  })
  return {
    count: children.length,
    stop: async () => {
      await Promise.all(children.map(child => child.endWell()))
    },
    kill: () => killed(children)
  }
}

async function killed(children: readonly Child[]): Promise<void> {
  for (const child of children) child.endAll()
  await Promise.all(children.map(({ exited }) => exited))
}
