/**
 * The network: connections that deliver in order until they are cut, each side noticing when it will; or, over a bridge, messages
 * that overtake, double and vanish while the connection stands. A cut loses what is on its way behind a random moment.
 */
import { decodeBatch } from '@tidemark/protocol'
import type { Draw } from './draw.js'
import { type NetworkScenario, PROBE } from './scenario.js'
import type { Life, Scheduler } from './scheduler.js'

export type MessageKind = 'batch' | 'json'

/** A PUBLISH of QoS 1. */
export interface Publication {
  readonly kind: MessageKind
  readonly payload: Uint8Array
  /** Names the message for the checks; nobody in the simulation reads it. */
  readonly message: number
  /** What the PUBACK tells its sender. */
  readonly acked: () => void
}

/** The side that devices connect to. */
export interface Front {
  readonly isListening: boolean
  accept(connection: Connection): void
  receive(connection: Connection, publication: Publication): void
}

export interface ConnectionEvents {
  readonly up: () => void
  readonly down: (reason: string) => void
  readonly told: (epochSpent: number) => void
}

export class Connection {
  isUp = false
  /** Whether the gateway's end still stands. */
  isAccepted = false
  private isDown = false
  private cutMs = Number.POSITIVE_INFINITY
  private upMs = 0
  private downMs = 0

  constructor(
    readonly deviceId: string,
    private readonly network: Network,
    private readonly life: Life,
    private readonly events: ConnectionEvents
  ) {}

  open(): void {
    const { scheduler, front } = this.network
    this.upwards(`connect ${this.deviceId}`, () => {
      if (!front.isListening || this.network.isOffline(this.deviceId)) {
        this.fail('refused')
        return
      }
      this.isAccepted = true
      front.accept(this)
      this.downwards('connack', () => {
        if (this.isDown) return
        this.isUp = true
        this.events.up()
      })
    })
    scheduler.after(30_000, this.life, `connect timeout ${this.deviceId}`, () => {
      if (!this.isUp) this.fail('timeout')
    })
  }

  publish(publication: Publication): void {
    if (this.isDown) return
    const { draw, scenario, counts } = this.network
    if (draw.chance(scenario.cut)) this.cut()
    const copies = draw.chance(scenario.drop) ? 0 : draw.chance(scenario.duplicate) ? 2 : 1
    if (copies === 0) counts.lost++
    if (copies === 2) counts.doubled++
    for (let copy = 0; copy < copies; copy++) {
      this.upwards(`publish ${this.deviceId} ${publication.message}`, () => {
        if (!this.isAccepted) return
        if (this.network.refuses(this.deviceId, publication.payload)) this.close('refused')
        else this.network.front.receive(this, publication)
      })
    }
  }

  /** The gateway's PUBACK. */
  puback(publication: Publication): void {
    const { draw, scenario, counts } = this.network
    if (draw.chance(scenario.drop)) {
      counts.lost++
      return
    }
    this.downwards(`puback ${this.deviceId} ${publication.message}`, () => {
      if (!this.isDown) publication.acked()
    })
  }

  tell(epochSpent: number): void {
    this.downwards(`told ${this.deviceId}`, () => {
      if (!this.isDown) this.events.told(epochSpent)
    })
  }

  /** The device gives it up, or dies. */
  drop(reason: string): void {
    const { scheduler, draw, scenario } = this.network
    this.cutMs = Math.min(this.cutMs, scheduler.nowMs + draw.between(0, scenario.delayMsMax))
    this.fail(reason)
  }

  /** The gateway's end is gone: closed, or dead with it. */
  close(reason: string): void {
    if (!this.isAccepted) return
    this.isAccepted = false
    const { scheduler, draw } = this.network
    scheduler.after(draw.between(0, 3000), this.life, `closed ${this.deviceId}`, () => this.fail(reason))
  }

  private cut(): void {
    const { scheduler, draw, scenario, counts } = this.network
    counts.cut++
    this.cutMs = Math.min(this.cutMs, scheduler.nowMs + draw.between(0, scenario.delayMsMax))
    scheduler.after(draw.between(0, 5000), this.life, `cut ${this.deviceId}`, () => {
      this.network.mayGoOffline(this.deviceId)
      this.fail('cut')
    })
    scheduler.after(draw.between(0, 5000), null, `cut at gateway ${this.deviceId}`, () => {
      this.isAccepted = false
    })
  }

  private fail(reason: string): void {
    if (this.isDown) return
    this.isDown = true
    this.isUp = false
    if (!this.life.isOver) this.events.down(reason)
  }

  private upwards(what: string, run: () => void): void {
    this.upMs = this.deliver(this.upMs, what, run)
  }

  private downwards(what: string, run: () => void): void {
    this.downMs = this.deliver(this.downMs, what, () => {
      if (!this.life.isOver) run()
    })
  }

  /** Delivers in order, unless over a bridge; nothing behind the cut. Returns when. */
  private deliver(behindMs: number, what: string, run: () => void): number {
    const { scheduler, draw, scenario, counts } = this.network
    const wanted = scheduler.nowMs + draw.between(1, scenario.delayMsMax)
    const atMs = scenario.isBridged && this.isUp ? wanted : Math.max(behindMs, wanted)
    if (atMs < behindMs) counts.overtaking++
    scheduler.after(atMs - scheduler.nowMs, null, what, () => {
      if (scheduler.nowMs <= this.cutMs) run()
    })
    return Math.max(behindMs, atMs)
  }
}

export class Network {
  front!: Front
  scenario: NetworkScenario
  /** Messages lost, doubled and overtaking others; connections cut. */
  readonly counts = { lost: 0, doubled: 0, overtaking: 0, cut: 0 }
  private readonly refused = new Map<string, Set<number>>()
  private readonly offlineUntilMs = new Map<string, number>()

  constructor(
    readonly scheduler: Scheduler,
    readonly draw: Draw,
    scenario: NetworkScenario
  ) {
    this.scenario = scenario
  }

  connect(deviceId: string, life: Life, events: ConnectionEvents): Connection {
    const connection = new Connection(deviceId, this, life, events)
    connection.open()
    return connection
  }

  /** From now on a peer between closes the connection on every message that holds this reading. */
  refuseFor(deviceId: string, serial: number): void {
    this.refused.set(deviceId, (this.refused.get(deviceId) ?? new Set()).add(serial))
  }

  refuses(deviceId: string, payload: Uint8Array): boolean {
    const serials = this.refused.get(deviceId)
    if (serials === undefined) return false
    const column = decodeBatch(payload, () => PROBE)?.columns[0]
    return column?.kind === 'numeric' && column.values.some(serial => serials.has(serial))
  }

  isOffline(deviceId: string): boolean {
    return (this.offlineUntilMs.get(deviceId) ?? 0) > this.scheduler.nowMs
  }

  mayGoOffline(deviceId: string): void {
    if (this.draw.chance(this.scenario.outage)) this.offlineUntilMs.set(deviceId, this.scheduler.nowMs + this.draw.between(20_000, 180_000))
  }

  /** Faults end: what is broken is mended, and nothing breaks again. */
  heal(): void {
    this.scenario = { ...this.scenario, delayMsMax: 20, drop: 0, duplicate: 0, cut: 0, outage: 0 }
    this.offlineUntilMs.clear()
  }
}
