/**
 * Puts a real agent through a plan: lives that end with SIGKILL while the gateway is away, a disk that fills up under it, a buffer that
 * is damaged while it is down; then the gateway comes, and the agent drains, killed on the way too, until it ends by itself.
 * What must happen and does not, ends it with a `ReplayError`.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Child, type Exit } from '../child.js'
import { Draw } from '../replay/draw.js'
import { ReplayError } from '../replay/replay-error.js'
import { readSqlite } from '../replay/sqlite.js'
import { freePort } from '../run/gateway-process.js'
import { serving } from '../serving.js'
import { spoilPages } from './damage.js'
import type { Life } from './plan.js'
import type { SmallDisk } from './small-disk.js'

export type Durability = 'strict' | 'spill'

export interface OrdealOptions {
  readonly folder: string
  readonly disk: SmallDisk
  readonly lives: readonly Life[]
  readonly seed: number
  readonly readings: number
  readonly intervalMs: number
  readonly durability: Durability
  readonly commitIntervalMs: number
  readonly signal: AbortSignal
  say(line: string): void
  progress(sampled: number): void
}

export interface Ordeal {
  readonly kills: number
  /** How often the agent found that it could not write. */
  readonly fullDisks: number
  /** How often it declined to start on the full disk. */
  readonly refusedStarts: number
  /** Pages of the buffer that were overwritten. */
  readonly spoiltPages: number
  readonly gatewayData: string
  readonly buffer: string
  readonly logPath: string
}

const DEVICE_ID = 'tried'
/** A full disk stays full so long. */
const FULL_MS = 1200
/** Nothing that is waited for takes longer. */
const PATIENCE_MS = 180_000
const STILLBORN_MS_MAX = 400
/** A kill while draining comes so soon after the start, in the mean. */
const DRAINING_LIFE_MS = 500
/** The drain is slowed, so that each of these kills finds something left, though a start may send a second's readings at once. */
const DRAIN_MS_PER_LIFE = 2000
const DRAIN_RATE_MIN = 10

const STARTED = 'agent started'
const ENDED = 'the source has ended'
const FAILING = 'cannot write the buffer: sampling into memory'
const WRITES_AGAIN = 'the buffer is written again'

export class AgentOrdeal {
  private readonly draw: Draw
  private readonly logPath: string
  private readonly config: string
  private readonly buffer: string
  private kills = 0
  private fullDisks = 0
  private refusedStarts = 0
  private spoiltPages = 0
  private sampled = 0

  constructor(private readonly options: OrdealOptions) {
    const { folder, disk, seed } = options
    mkdirSync(join(folder, 'logs'), { recursive: true })
    this.draw = new Draw(seed + 1)
    this.logPath = join(folder, 'logs', 'agent.log')
    this.config = join(folder, 'agent.yaml')
    this.buffer = join(disk.path, 'buffer.sqlite')
  }

  async run(): Promise<Ordeal> {
    const { folder, lives } = this.options
    const gatewayData = join(folder, 'gateway')
    const mqttPort = await freePort()
    this.writeConfig(mqttPort, {})
    const offline = lives.filter(life => life.while === 'offline')
    const draining = lives.filter(life => life.while === 'draining')
    for (const [i, life] of offline.entries()) await this.live(life, offline.length - i)
    await this.sampleToTheEnd()
    const rate = Math.ceil(this.held() / (((draining.length + 1) * DRAIN_MS_PER_LIFE) / 1000))
    this.writeConfig(mqttPort, { max_rate: `${Math.max(DRAIN_RATE_MIN, rate)}/s` })
    const gateway = await this.startGateway(gatewayData, mqttPort)
    try {
      for (const life of draining) await this.live(life, 1)
      const last = this.start()
      await this.expect(last, STARTED)
      const { code } = await this.within(last.exited, 'the end of the drain')
      if (code !== 0) throw last.unexpected(await last.exited)
    } finally {
      await gateway.endWell()
    }
    const { kills, fullDisks, refusedStarts, spoiltPages, buffer, logPath } = this
    return { kills, fullDisks, refusedStarts, spoiltPages, gatewayData, buffer, logPath }
  }

  private async live(life: Life, livesLeft: number): Promise<void> {
    this.options.signal.throwIfAborted()
    const agent = this.start()
    if (life.isStillborn) await delay(this.draw.integer(0, STILLBORN_MS_MAX))
    else {
      await this.expect(agent, STARTED)
      await this.spend(agent, life, livesLeft)
    }
    await this.kill(agent)
    if (life.trouble === 'killed-full') await this.startOnFullDisk()
    if (life.trouble === 'damaged') this.spoil()
    this.options.disk.free()
    this.noteProgress()
  }

  /** What happens between start and kill. */
  private async spend(agent: Child, { trouble, share, while: when }: Life, livesLeft: number): Promise<void> {
    const { readings, intervalMs, disk, say } = this.options
    const meanMs = when === 'draining' ? DRAINING_LIFE_MS : (Math.max(0, readings - this.sampled) * intervalMs) / (livesLeft + 1)
    if (trouble === 'full' || trouble === 'killed-full') {
      await delay((share * meanMs) / 2)
      const failing = this.expect(agent, FAILING)
      disk.fill()
      await failing
      this.fullDisks++
      say(`disk full at about reading ${this.sampled}`)
      await delay(FULL_MS)
      if (trouble === 'killed-full') return
      const writing = this.expect(agent, WRITES_AGAIN)
      disk.free()
      await writing
    }
    await delay(share * meanMs)
  }

  /** As a supervisor would; it may decline with exit code 2, and must not lose anything for it. */
  private async startOnFullDisk(): Promise<void> {
    const agent = this.start()
    const exit = await Promise.race([agent.exited, delay(FULL_MS).then(() => null)])
    if (exit === null) return await this.kill(agent)
    if (exit.code !== 2) throw agent.unexpected(exit)
    this.refusedStarts++
  }

  private spoil(): void {
    const pages = spoilPages(this.buffer, this.draw)
    this.spoiltPages += pages.length
    this.options.say(`buffer damaged after about reading ${this.sampled}: pages ${pages.join(', ')}`)
  }

  /** Until all readings are taken; it stays there, since nobody acks, and is killed: one more than planned. */
  private async sampleToTheEnd(): Promise<void> {
    const agent = this.start()
    await this.expect(agent, ENDED)
    await this.kill(agent)
    this.noteProgress()
  }

  private start(): Child {
    return new Child('agent', ['start', '--once', '--config', this.config], this.logPath)
  }

  private async kill(agent: Child): Promise<void> {
    agent.end('SIGKILL')
    const exit = await agent.exited
    if (exit.signal !== 'SIGKILL') throw agent.unexpected(exit)
    this.kills++
  }

  /** Resolves when the agent says so. Rejects where it ends before, or never does. */
  private expect(agent: Child, message: string): Promise<void> {
    const said = new Promise<null>(resolve => agent.onLine(line => line.includes(`"msg":"${message}"`) && resolve(null)))
    const outcome = Promise.race([said, agent.exited])
    return this.within(outcome, `"${message}"`).then((exit: Exit | null) => {
      if (exit !== null) throw agent.unexpected(exit)
    })
  }

  private async within<T>(work: Promise<T>, what: string): Promise<T> {
    const done = new AbortController()
    const ended = AbortSignal.any([done.signal, this.options.signal])
    const late = delay(PATIENCE_MS + this.options.readings * this.options.intervalMs * 4, undefined, { signal: ended }).then(() => {
      throw new ReplayError(`the agent did not get to this: ${what}`)
    })
    try {
      return await Promise.race([work, late])
    } finally {
      done.abort()
      late.catch(() => undefined)
    }
  }

  /** How far the machine has been read, as the buffer of a dead agent says; where it cannot be read, as before. */
  private noteProgress(): void {
    try {
      const position = readSqlite(this.buffer, database => database.prepare('SELECT source_position FROM state').pluck().get())
      if (typeof position === 'string') this.sampled = (JSON.parse(position) as { n: number }).n
    } catch {
      return // damaged, or not there yet
    }
    this.options.progress(this.sampled)
  }

  private async startGateway(dataDir: string, mqttPort: number): Promise<Child> {
    const { folder } = this.options
    const config = join(folder, 'gateway.yaml')
    writeFileSync(config, JSON.stringify({ flush: { interval: '1s', small_hour_wait: '1ms' } }))
    const listen = ['--mqtt', `127.0.0.1:${mqttPort}`, '--http', '127.0.0.1:0']
    const gateway = new Child(
      'gateway',
      ['start', '--config', config, '--data-dir', dataDir, ...listen],
      join(folder, 'logs', 'gateway.log')
    )
    await serving(gateway)
    return gateway
  }

  private held(): number {
    return readSqlite(this.buffer, database => Number(database.prepare('SELECT held FROM state').pluck().get()))
  }

  private writeConfig(mqttPort: number, publish: object): void {
    const { seed, readings, intervalMs, durability, commitIntervalMs } = this.options
    const buffer = { path: this.buffer, durability, commit_interval: `${commitIntervalMs}ms`, ring_bytes: '64KiB', min_free: 0 }
    writeFileSync(
      this.config,
      JSON.stringify({
        device_id: DEVICE_ID,
        gateway: { url: `mqtt://127.0.0.1:${mqttPort}` },
        profile: 'rotating-machine',
        buffer,
        source: { type: 'simulated', seed, readings },
        interval: `${intervalMs}ms`,
        publish: { backoff: { min: '20ms', max: '200ms' }, ...publish }
      })
    )
  }
}
