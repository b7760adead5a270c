/**
 * A simulated gateway: a front that acks what the log says is durable, the log, the real processor behind it, the archive. Started,
 * stopped in order and crashed; what is not durable dies with it.
 */
import { encodeControl, type Settings } from '@tidemark/gateway/dist/processor/control.js'
import type { Flush } from '@tidemark/gateway/dist/processor/flush.js'
import { SimulatedArchive } from './archive.js'
import { type Core, openCore, type Parts } from './core.js'
import { Draw, STREAM } from './draw.js'
import { SimulatedEventIds } from './event-ids.js'
import { SimulatedLog } from './log.js'
import type { Connection, Front, Publication } from './network.js'
import { type GatewayScenario, PROBE, type Scenario } from './scenario.js'
import type { Life } from './scheduler.js'
import type { World } from './world.js'

/** Entries applied in one go. */
const ENTRIES_AT_ONCE = 64

/** Flushes with the archive; beyond it the processor waits. As in gateway/src/pipeline/flush-writer.ts. */
const OUTSTANDING_MAX = 2

/** What waits for the archive, in order. */
type Work = { readonly flush: Flush } | { readonly entry: number; readonly parts: readonly Uint8Array[] }

/** A snapshot is taken device by device, a part before each entry. */
const DEVICES_PER_PART = 1

export class SimulatedGateway implements Front {
  readonly log: SimulatedLog
  readonly archive: SimulatedArchive
  life: Life | null = null
  private readonly eventIds: SimulatedEventIds
  private readonly draw: Draw
  private readonly settings: Settings
  private scenario: GatewayScenario
  private core!: Core
  private connections = new Map<string, Connection[]>()
  private outstanding: Work[] = []
  private snapshot: { readonly entry: number; readonly source: Parts; readonly parts: Uint8Array[] } | null = null
  private isWriting = false
  private pumpIsDue = false
  /** The log's last entry at the start: what lies before was said to the devices already. */
  private startedBehind = 0
  private drainEntry: number | null = null
  private onStopped: (() => void) | null = null
  /** How often it was killed. */
  crashes = 0

  constructor(
    private readonly world: World,
    { gateway, settings }: Scenario
  ) {
    this.scenario = gateway
    this.settings = settings
    this.draw = new Draw(world.seed, STREAM.gateway)
    this.log = new SimulatedLog(world, gateway)
    this.archive = new SimulatedArchive(world, this.log, gateway)
    this.eventIds = new SimulatedEventIds(world.plant === 'event-ids-ahead-of-log')
  }

  get isListening(): boolean {
    return this.life !== null && this.onStopped === null
  }

  start(): void {
    const { world, settings } = this
    const life: Life = { isOver: false }
    this.archive.recover()
    this.core = openCore({
      eventIds: this.eventIds,
      snapshot: this.archive.loadNewestSnapshot(),
      committedEntry: world.plant === 'snapshot-past-commit' ? 0 : this.archive.committedEntry,
      settings,
      plant: world.plant,
      wallMs: () => world.scheduler.nowMs
    })
    this.life = life
    this.outstanding = []
    this.snapshot = null
    this.isWriting = false
    this.pumpIsDue = false
    this.drainEntry = null
    this.connections = new Map()
    this.startedBehind = this.log.lastEntry
    this.log.onEntry = () => this.pumpLater()
    this.log.onWrite = () => this.mayCrashSoon(life, this.scenario.crashAtWrite)
    this.archive.onWrite = () => this.mayCrashSoon(life, 4 * this.scenario.crashAtWrite)
    this.log.open(life)
    this.appendControl(encodeControl({ control: 'start', settings, profiles: [PROBE] }))
    this.pumpLater()
    this.planTheEnd(life)
  }

  /** Stops in order: takes nothing in any more, makes everything durable. */
  stop(stopped: () => void): void {
    this.closeConnections()
    this.onStopped = stopped
    const drain = encodeControl({ control: 'drain' })
    this.appendControl(drain, entry => {
      this.drainEntry = entry
      this.pumpLater()
    })
  }

  /** No faults from here on. */
  heal(): void {
    const calm = { crashEveryMs: Number.POSITIVE_INFINITY, crashAtWrite: 0, clockStep: 0, refuseAppend: 0, slowDisk: 0, damageSnapshot: 0 }
    this.scenario = { ...this.scenario, ...calm }
    this.log.scenario = this.scenario
    this.archive.scenario = this.scenario
  }

  accept(connection: Connection): void {
    const { deviceId } = connection
    const known = this.connections.get(deviceId) ?? []
    if (!this.world.network.scenario.isBridged) for (const older of known) older.close('taken over')
    this.connections.set(deviceId, [...known.filter(({ isAccepted }) => isAccepted), connection])
  }

  receive(connection: Connection, publication: Publication): void {
    const { log, world } = this
    const { kind, payload, message } = publication
    const done = (isDurable: boolean) => {
      if (!isDurable) {
        connection.close('the log cannot be written')
        return
      }
      if (!connection.isAccepted) return
      world.truth.ackedMessages.add(message)
      connection.puback(publication)
    }
    log.append({ kind, deviceId: connection.deviceId, payload, message, done })
  }

  private planTheEnd(life: Life): void {
    const { world, draw } = this
    if (!Number.isFinite(this.scenario.crashEveryMs)) return
    world.scheduler.after(draw.unit() * 2 * this.scenario.crashEveryMs, life, 'gateway ends', () => {
      if (!Number.isFinite(this.scenario.crashEveryMs) || this.onStopped !== null) return
      if (draw.chance(this.scenario.cleanStops)) this.stop(() => this.restartLater())
      else {
        this.crash()
        this.restartLater()
      }
    })
  }

  /** Crashes that land where it hurts: while something is being made durable. */
  private mayCrashSoon(life: Life, probability: number): void {
    const { world, draw } = this
    if (!draw.chance(probability)) return
    world.scheduler.after(draw.between(0, 20), life, 'gateway killed', () => {
      if (this.scenario.crashAtWrite === 0) return // all is calm by now
      this.onStopped = null
      this.crash()
      this.restartLater()
    })
  }

  private restartLater(): void {
    this.world.scheduler.after(this.draw.between(200, 30_000), null, 'gateway starts', () => this.start())
  }

  private crash(): void {
    this.life!.isOver = true
    this.life = null
    this.crashes++
    this.closeConnections()
    this.log.crash()
    this.eventIds.crash()
    this.archive.mayDamageSnapshot()
  }

  private closeConnections(): void {
    for (const connections of this.connections.values()) for (const connection of connections) connection.close('gateway')
  }

  private appendControl(payload: Uint8Array, appended: (entry: number) => void = () => {}): void {
    this.log.append({ kind: 'control', deviceId: '', payload, message: 0, done: (_, entry) => appended(entry) })
  }

  private pumpLater(): void {
    if (this.pumpIsDue || this.life === null) return
    this.pumpIsDue = true
    this.world.scheduler.after(this.draw.between(0, 50), this.life, 'processor', () => {
      this.pumpIsDue = false
      this.pump()
    })
  }

  private pump(): void {
    const { core, log, archive, world } = this
    for (const entry of log.read(core.entry, ENTRIES_AT_ONCE)) {
      if (this.flushesOutstanding >= OUTSTANDING_MAX) return
      this.takePart()
      const flush = core.apply(entry)
      if (flush === null) continue
      this.eventIds.commit()
      if (flush.lastEntry <= archive.committedEntry) continue
      if (flush.snapshotIsDue) this.beginSnapshot(flush.lastEntry)
      this.enqueue({ flush })
      if (world.plant === 'snapshot-past-commit') while (this.takePart());
    }
    if (core.entry === log.lastEntry) while (this.takePart());
    const notices = core.takeNotices()
    if (core.entry > this.startedBehind) for (const { deviceId, epoch } of notices) this.connections.get(deviceId)?.at(-1)?.tell(epoch)
    if (core.entry < log.lastEntry) this.pumpLater()
    this.finishStop()
  }

  private writeNext(): void {
    const [work] = this.outstanding
    if (this.isWriting || work === undefined) return
    this.isWriting = true
    const done = () => {
      this.isWriting = false
      this.outstanding.shift()
      this.writeNext()
      this.pumpLater()
    }
    if ('flush' in work) {
      this.archive.write(work.flush, this.life!, done)
      return
    }
    this.archive.writeSnapshot(work.entry, work.parts, this.life!, oldestNeededEntry => {
      this.log.truncate(oldestNeededEntry)
      done()
    })
  }

  private get flushesOutstanding(): number {
    return this.outstanding.filter(work => 'flush' in work).length
  }

  private enqueue(work: Work): void {
    this.outstanding.push(work)
    this.writeNext()
  }

  /** As in gateway/src/pipeline/snapshot-taker.ts: one that is still under way is taken to its end first. */
  private beginSnapshot(entry: number): void {
    while (this.takePart());
    this.snapshot = { entry, source: this.core.beginSnapshot(DEVICES_PER_PART), parts: [] }
  }

  /** Takes the next part of the snapshot under way, if there is one; behind the last, it waits for the archive. */
  private takePart(): boolean {
    if (this.snapshot === null) return false
    const { entry, source, parts } = this.snapshot
    const part = source.next()
    if (part !== null) {
      parts.push(part)
      return true
    }
    this.snapshot = null
    if (this.world.plant === 'snapshot-past-commit') this.archive.keepSnapshot(entry, parts)
    else this.enqueue({ entry, parts })
    return false
  }

  private finishStop(): void {
    if (this.drainEntry === null || this.core.entry < this.drainEntry || this.outstanding.length > 0 || this.snapshot !== null) return
    if (!this.log.isIdle) {
      this.pumpLater()
      return
    }
    const stopped = this.onStopped
    this.life!.isOver = true
    this.life = null
    this.onStopped = null
    stopped?.()
  }
}
