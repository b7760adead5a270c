/**
 * What the agent's tests share: temporary folders, configuration files, and a broker that can be told to hold, refuse or vanish.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import {
  type Batch,
  BUILT_IN_PROFILES,
  decodeBatch,
  decodeStatus,
  type Profile,
  parseTopic,
  profileSchema,
  type Status,
  type Value,
  WATER_LOOP
} from '@tidemark/protocol'
import { Aedes } from 'aedes'
import { pino } from 'pino'
import { onTestFinished } from 'vitest'
import { stringify } from 'yaml'
import { type Config, readConfig } from '../../agent/src/config.js'
import type { LiveSource } from '../../agent/src/sources/source.js'
import { type BufferOptions, SqliteBuffer } from '../../agent/src/sqlite-buffer.js'

export const silent = pino({ level: 'silent' })

/** A signal that does not abort. */
export function never(): AbortSignal {
  return new AbortController().signal
}

/** A folder that is removed when the test ends. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-agent-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Waits for a condition, however long it takes; the test's own time limit ends it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 2))
}

/** The SKAB-like recording: row i is at second i of 2020-03-09, its accelerometer shows i. */
export function recording(rows: number): string {
  const lines = ['datetime;Accelerometer1RMS;Pressure']
  for (let i = 1; i <= rows; i++) {
    lines.push(`${new Date(Date.UTC(2020, 2, 9) + i * 1000).toISOString().replace('T', ' ').slice(0, 19)};${i / 1e4};${i % 7}`)
  }
  return `${lines.join('\n')}\n`
}

/** Writes a recording and a configuration that replays it, and returns the configuration's path. */
export async function replayConfig(folder: string, rows: number, url: string, changes: object = {}): Promise<string> {
  await writeFile(join(folder, 'recording.csv'), recording(rows))
  const config = {
    device_id: 'pump-7',
    gateway: { url },
    profile: 'water-loop',
    buffer: { path: 'buffer.sqlite' },
    source: {
      type: 'csv',
      path: 'recording.csv',
      delimiter: ';',
      time: { column: 'datetime' },
      columns: { accelerometer_1_rms: 'Accelerometer1RMS', pressure: 'Pressure' }
    },
    publish: { batch_readings: 50, in_flight: 4, backoff: { min: '5ms', max: '50ms' } },
    ...changes
  }
  const path = join(folder, 'agent.yaml')
  await writeFile(path, stringify(config))
  return path
}

export async function replayConfigRead(folder: string, rows: number, url: string, changes: object = {}): Promise<Config> {
  return readConfig(await replayConfig(folder, rows, url, changes))
}

let epochs = 0

/** A buffer whose epochs are 1, 2, 3, … over all buffers of a test file. */
export function openBuffer(path: string, changes: Partial<BufferOptions> = {}): SqliteBuffer {
  return new SqliteBuffer({
    path,
    deviceId: 'pump-7',
    machineId: '',
    bytesMax: 2 ** 30,
    randomBytes: () => {
      const bytes = Buffer.alloc(7)
      bytes.writeUInt32BE(++epochs, 3)
      return bytes
    },
    wallMs: () => 0,
    monotonicMs: () => performance.now(),
    whenFull: 'drop-newest',
    ringBytesMax: 2 ** 20,
    isLive: false,
    profile: WATER_LOOP,
    reserveReadings: 0,
    ...changes
  })
}

export interface Received {
  readonly batch: Batch
  readonly payload: Buffer
}

/** What the broker does with a batch: ack it, never ack it, or close the connection instead. */
export type Verdict = 'ack' | 'hold' | 'close'

/** aedes on a free port, which keeps what it is given. */
export class TestBroker {
  readonly batches: Received[] = []
  readonly statuses: Status[] = []
  judge: (batch: Batch) => Verdict = () => 'ack'
  /** Set: the only password that is let in. */
  password: string | null = null
  private readonly sockets = new Set<Socket>()
  private held: (() => void)[] = []
  private port = 0

  private constructor(
    private aedes: Aedes,
    private server: Server,
    private readonly profiles: readonly Profile[]
  ) {}

  static async start(profiles: readonly Profile[] = BUILT_IN_PROFILES): Promise<TestBroker> {
    const aedes = await Aedes.createBroker()
    const broker = new TestBroker(aedes, createServer(), profiles)
    await broker.listen()
    onTestFinished(() => broker.stop())
    return broker
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`
  }

  /** The readings of all batches, in the order of their arrival. */
  get seqs(): number[] {
    return this.batches.flatMap(({ batch }) => [...batch.header.seqs])
  }

  /** Drops every connection and takes no new ones until `restart`. */
  async stop(): Promise<void> {
    const closed = new Promise(resolve => this.server.close(resolve))
    this.dropConnections()
    await closed
    await new Promise<void>(resolve => this.aedes.close(() => resolve()))
  }

  async restart(): Promise<void> {
    this.aedes = await Aedes.createBroker()
    this.server = createServer()
    this.held = []
    await this.listen()
  }

  dropConnections(): void {
    for (const socket of this.sockets) socket.destroy()
  }

  /** Acks what was held, in the given order of arrival (default: oldest first). */
  release(order: 'oldest-first' | 'newest-first' = 'oldest-first'): void {
    const held = order === 'oldest-first' ? this.held : this.held.reverse()
    this.held = []
    for (const ack of held) ack()
  }

  /** Publishes to a device as the gateway does. */
  tell(topic: string, payload: object): void {
    this.aedes.publish(
      { cmd: 'publish', topic, payload: Buffer.from(JSON.stringify(payload)), qos: 1, retain: false, dup: false },
      () => undefined
    )
  }

  private async listen(): Promise<void> {
    this.aedes.authorizePublish = (client, packet, done) => {
      const topic = parseTopic(packet.topic)
      const payload = Buffer.from(packet.payload)
      if (topic?.kind === 'status') {
        const status = decodeStatus(payload)
        if (status !== null) this.statuses.push(status)
        done(null)
        return
      }
      const batch = decodeBatch(payload, name => this.profiles.find(profile => profile.name === name) ?? 'unknown-profile')
      if (batch === null) throw new Error(`the agent sent what is no batch on ${packet.topic}`)
      const verdict = this.judge(batch)
      if (verdict === 'close') {
        client?.close()
        return
      }
      this.batches.push({ batch, payload })
      if (verdict === 'ack') done(null)
      else this.held.push(() => done(null))
    }
    this.aedes.authenticate = (_client, _user, password, done) =>
      done(null, this.password === null || password?.toString() === this.password)
    this.server.on('connection', socket => {
      this.sockets.add(socket)
      socket.on('close', () => this.sockets.delete(socket))
      socket.on('error', () => undefined)
      this.aedes.handle(socket)
    })
    await new Promise<void>(resolve => this.server.listen(this.port, '127.0.0.1', resolve))
    const address = this.server.address()
    this.port = typeof address === 'object' && address !== null ? address.port : 0
  }
}

/** A folder that looks like / of a machine, with the given files. */
export async function machine(files: Record<string, string>): Promise<string> {
  const root = await temporaryFolder()
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text)
  }
  return root
}

/** A profile with these metrics, all of them floats unless said otherwise. */
export function profileOf(...metrics: (string | { name: string; type: 'int' | 'bool' | 'string' })[]): Profile {
  return profileSchema.parse({
    name: 'sensors',
    interval: '1s',
    metrics: metrics.map(metric => (typeof metric === 'string' ? { name: metric } : metric))
  })
}

/** What a source measures, with its values as an object. */
export async function measureOnce(
  source: LiveSource,
  signal: AbortSignal = never()
): Promise<{ values: Record<string, Value>; problems: readonly string[] }> {
  const { values, problems } = await source.measure(signal)
  return { values: Object.fromEntries(values), problems }
}
