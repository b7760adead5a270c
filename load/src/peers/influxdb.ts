/** InfluxDB 1.x, fed line protocol over HTTP: ingest only, no dedupe but its own (a point of the same series and time replaces the other). */
import { fork } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { request } from 'undici'
import { ReplayError } from '../replay/replay-error.js'
import { bytesBelow } from '../run/disk.js'
import { freePort } from '../run/gateway-process.js'
import type { LineLoad, LineReport } from './line-client.js'
import type { Kept, Load, Peer, Taken } from './peer.js'
import { Program } from './program.js'

const CLIENT = fileURLToPath(new URL('../../dist/peers/line-client.js', import.meta.url))

export class InfluxPeer implements Peer {
  readonly name = 'InfluxDB 1.6, line protocol'
  readonly durability = 'its write-ahead log is synced before each answer (wal-fsync-delay = 0s); no validation, no quarantine'

  private constructor(
    private readonly dir: string,
    private readonly port: number,
    private readonly program: Program
  ) {}

  static async in(dir: string): Promise<InfluxPeer> {
    mkdirSync(dir, { recursive: true })
    const [port, rpcPort] = [await freePort(), await freePort()]
    const config = join(dir, 'influxdb.conf')
    writeFileSync(
      config,
      `reporting-disabled = true
bind-address = "127.0.0.1:${rpcPort}"
[meta]
  dir = "${join(dir, 'meta')}"
[data]
  dir = "${join(dir, 'data')}"
  wal-dir = "${join(dir, 'wal')}"
  wal-fsync-delay = "0s"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:${port}"
  log-enabled = false
  max-row-limit = 0
`
    )
    return new InfluxPeer(dir, port, new Program('InfluxDB', 'influxd', ['-config', config], join(dir, 'influxd.log')))
  }

  isMine(commandLine: string): boolean {
    return commandLine.startsWith('influxd ')
  }

  async start(): Promise<void> {
    await this.program.start(async () => {
      try {
        const { statusCode, body } = await request(`${this.url}/ping`)
        await body.dump()
        return statusCode === 204
      } catch {
        return false
      }
    })
    await this.query('CREATE DATABASE load', 'POST')
  }

  async killAndRestart(): Promise<void> {
    await this.program.end('SIGKILL')
    await this.start()
  }

  async stop(): Promise<void> {
    await this.program.end('SIGTERM')
  }

  async send({ devices, readingsPerS, forMs, seed, during }: Load): Promise<Taken> {
    const client = fork(CLIENT, [], { execArgv: [], serialization: 'advanced' })
    const load: LineLoad = { url: `${this.url}/write?db=load&precision=ms`, devices, readingsPerS, forMs, seed }
    const timer = during === undefined ? undefined : setTimeout(during.call, during.atMs)
    try {
      const report = await new Promise<LineReport>((resolve, reject) => {
        client.once('message', (message: LineReport) => resolve(message))
        client.once('exit', code => reject(new ReplayError(`the client of InfluxDB ended with exit code ${code}`)))
        client.send(load)
      })
      return report
    } finally {
      clearTimeout(timer)
      client.kill('SIGKILL')
    }
  }

  storedBytes(): number {
    return bytesBelow(join(this.dir, 'data')) + bytesBelow(join(this.dir, 'wal'))
  }

  async kept(): Promise<Kept> {
    const { results } = (await this.query('SELECT count(temperature) FROM reading', 'GET')) as {
      results: { series?: { values: number[][] }[] }[]
    }
    const rows = results[0]?.series?.[0]?.values[0]?.[1] ?? 0
    return { rows, readings: rows }
  }

  private get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  private async query(text: string, method: 'GET' | 'POST'): Promise<unknown> {
    const { statusCode, body } = await request(`${this.url}/query?db=load&q=${encodeURIComponent(text)}`, { method })
    const answer = await body.text()
    if (statusCode !== 200) throw new ReplayError(`InfluxDB answers ${statusCode}: ${answer}`)
    return JSON.parse(answer)
  }
}
