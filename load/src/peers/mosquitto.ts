/**
 * mosquitto, and a program behind it that does with each reading what a user's would: check it, drop duplicates, append a JSON line.
 * The broker is set so that it does not drop messages for a slow subscriber (its default keeps 1,000), and stores as Debian's does.
 * What stands behind it is another's: a subscriber of ours, or Node-RED.
 */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runFleet } from '@tidemark/simulator'
import { queryRows, quoteText, withDuckDB } from '../replay/duckdb.js'
import { freePort } from '../run/gateway-process.js'
import type { Kept, Load, Peer, Taken } from './peer.js'
import { listens, Program } from './program.js'

/** What stands behind the broker. */
export interface Subscriber {
  readonly name: string
  readonly program: Program
  /** Whether it has subscribed. */
  isUp(): Promise<boolean>
}

const DEBIANS = '/usr/sbin/mosquitto'
/** The broker's program; Debian puts it where a user's PATH does not look. */
export const BROKER = existsSync(DEBIANS) ? DEBIANS : 'mosquitto'

export class MosquittoPeer implements Peer {
  readonly durability =
    'none: the broker acks from memory (its store is written every 30 min), and the file is never synced; what both had in memory is gone after a SIGKILL'
  private readonly file: string

  private constructor(
    readonly name: string,
    dir: string,
    private readonly port: number,
    private readonly broker: Program,
    private readonly subscriber: Subscriber
  ) {
    this.file = join(dir, 'readings.jsonl')
  }

  /** `subscriberOf` gets the port of the broker and the file that it is to append to. */
  static async in(dir: string, name: string, subscriberOf: (port: number, file: string) => Promise<Subscriber>): Promise<MosquittoPeer> {
    mkdirSync(join(dir, 'store'), { recursive: true })
    const port = await freePort()
    const config = join(dir, 'mosquitto.conf')
    const store = `persistence true\npersistence_location ${join(dir, 'store')}/\n`
    writeFileSync(
      config,
      `listener ${port} 127.0.0.1\nallow_anonymous true\n${process.getuid?.() === 0 ? 'user root\n' : ''}${store}max_queued_messages 0\nmax_inflight_messages 1000\n`
    )
    const broker = new Program('mosquitto', BROKER, ['-c', config], join(dir, 'mosquitto.log'))
    return new MosquittoPeer(name, dir, port, broker, await subscriberOf(port, join(dir, 'readings.jsonl')))
  }

  isMine(commandLine: string): boolean {
    return /mosquitto -c|peers\/subscriber|node-red|node_red/.test(commandLine)
  }

  async start(): Promise<void> {
    await this.broker.start(() => listens(this.port))
    await this.subscriber.program.start(() => this.subscriber.isUp())
  }

  async killAndRestart(): Promise<void> {
    await Promise.all([this.broker.end('SIGKILL'), this.subscriber.program.end('SIGKILL')])
    await this.start()
  }

  async stop(): Promise<void> {
    await this.subscriber.program.end('SIGTERM')
    await this.broker.end('SIGTERM')
  }

  async send({ devices, readingsPerS, forMs, seed, during }: Load): Promise<Taken> {
    const intervalMs = Math.max(1, Math.round((devices * 1000) / readingsPerS))
    const options = { url: `mqtt://127.0.0.1:${this.port}`, devices, intervalMs, forMs, seed, format: 'json', processes: 1 } as const
    let isPlanned = false
    const report = await runFleet(options, ({ phase }) => {
      if (phase !== 'sampling' || during === undefined || isPlanned) return
      isPlanned = true
      setTimeout(during.call, during.atMs)
    })
    return { sent: report.sampled, acked: report.readingsAcked, pubackMs: report.pubackMs }
  }

  storedBytes(): number {
    return existsSync(this.file) ? statSync(this.file).size : 0
  }

  async kept(): Promise<Kept> {
    if (this.storedBytes() === 0) return { rows: 0, readings: 0 }
    // A line that a kill has cut in two is none.
    const source = `read_json(${quoteText(this.file)}, format = 'newline_delimited', ignore_errors = true, columns = {device_id: 'VARCHAR', event_id: 'VARCHAR'})`
    const [[rows, readings]] = await withDuckDB(connection =>
      queryRows(connection, `SELECT count(*), count(DISTINCT (device_id, event_id)) FROM ${source} WHERE event_id IS NOT NULL`)
    )
    return { rows: Number(rows), readings: Number(readings) }
  }
}

const SUBSCRIBER = fileURLToPath(new URL('../../dist/peers/subscriber.js', import.meta.url))

/** The subscriber of ours: mqtt.js, a Map, a stream. */
export async function ownSubscriber(dir: string, port: number, file: string): Promise<Subscriber> {
  const ready = join(dir, 'subscriber.ready')
  const program = new Program('subscriber', process.execPath, [SUBSCRIBER, String(port), file, ready], join(dir, 'subscriber.log'))
  let pid = ''
  return {
    name: 'subscriber',
    program,
    isUp: async () => {
      // Another process each time that it is started.
      const now = existsSync(ready) ? readFileSync(ready, 'utf8') : ''
      if (now === '' || now === pid) return false
      pid = now
      return true
    }
  }
}
