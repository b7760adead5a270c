/** A real gateway under load: started, killed and started again on the same addresses, drained. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { DESTINATION_CONNECTIONS_MAX } from '@tidemark/simulator'
import { Child } from '../child.js'
import { UsageError } from '../replay/replay-error.js'
import { serving } from '../serving.js'
import { gatewayConfig } from './gateway-config.js'

/** Below the ports that Linux gives to outgoing connections: one of those could sit on the gateway's while it is down. */
const PORT_MIN = 20_000
const PORT_END = 30_000

/** A third of the weight of 0. */
const SESSION_NICE = 5

export class GatewayProcess {
  readonly dataDir: string
  /** Rejects when the gateway ends and nobody has asked for it. */
  readonly death: Promise<never>
  private child: Child | null = null
  private noteDeath: (error: Error) => void = () => {}

  private constructor(
    private readonly dir: string,
    private readonly configPath: string,
    private readonly host: string,
    readonly mqttPort: number,
    readonly httpPort: number
  ) {
    this.dataDir = join(dir, 'gateway')
    this.death = new Promise((_resolve, reject) => {
      this.noteDeath = reject
    })
    this.death.catch(() => {}) // who does not wait for it is told by what fails then
  }

  /** Resolves when it serves: on every address where the fleet needs several. `section`: what the scenario says of its configuration. */
  static async start(
    dir: string,
    section: Readonly<Record<string, unknown>>,
    { connections, hasRelays }: { readonly connections: number; readonly hasRelays: boolean }
  ): Promise<GatewayProcess> {
    mkdirSync(dir, { recursive: true })
    const configPath = join(dir, 'gateway.yaml')
    writeFileSync(configPath, `${JSON.stringify(gatewayConfig(section, hasRelays), null, 2)}\n`)
    const host = connections > DESTINATION_CONNECTIONS_MAX ? '0.0.0.0' : '127.0.0.1'
    const gateway = new GatewayProcess(dir, configPath, host, await freePort(), await freePort())
    await gateway.launch()
    return gateway
  }

  get mqttUrl(): string {
    return `mqtt://127.0.0.1:${this.mqttPort}`
  }

  get httpUrl(): string {
    return `http://127.0.0.1:${this.httpPort}`
  }

  get pid(): number {
    return this.child?.pid ?? 0
  }

  /** SIGKILL to it and to all its processes; then it is started again. Resolves when it serves. */
  async killAndRestart(): Promise<void> {
    const { child } = this
    if (child === null) return
    this.child = null
    child.endAll()
    await child.exited
    await this.launch()
  }

  /** Drains it. Rejects where it does not end well. */
  async stop(): Promise<void> {
    const { child } = this
    this.child = null
    await child?.endWell()
  }

  /** Ends it in whatever state it is. */
  async abandon(): Promise<void> {
    const { child } = this
    this.child = null
    child?.endAll()
    await child?.exited
  }

  private async launch(): Promise<void> {
    const addresses = ['--mqtt', `${this.host}:${this.mqttPort}`, '--http', `127.0.0.1:${this.httpPort}`]
    const args = ['start', '--config', this.configPath, '--data-dir', this.dataDir, ...addresses]
    if (this.host === '0.0.0.0') args.push('--insecure')
    const child = new Child('gateway', args, join(this.dir, 'gateway.log'))
    this.child = child
    giveWay(this.pid)
    await serving(child)
    child.exited.then(exit => {
      if (this.child === child) this.noteDeath(child.unexpected(exit))
    }, this.noteDeath)
  }
}

/**
 * Linux shares its time between sessions first (autogroup, sched(7)), and the gateway has one of its own: what it puts off for its
 * PUBACKs' sake would take as much from the fleet as the PUBACKs themselves. The fleet must keep its time, so the gateway gives way.
 */
function giveWay(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/autogroup`, `${SESSION_NICE}`)
  } catch {
    // a system without such groups: the nice values of threads hold for all
  }
}

/** A port of this machine that nobody listens on. Throws a `UsageError` where there is none. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_END - PORT_MIN))
    const isFree = await new Promise<boolean>(resolve => {
      const server = createServer()
      server.once('error', () => resolve(false))
      server.listen({ host: '0.0.0.0', port }, () => server.close(() => resolve(true)))
    })
    if (isFree) return port
  }
  throw new UsageError(`no port between ${PORT_MIN} and ${PORT_END} is free`)
}
