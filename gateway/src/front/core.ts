/**
 * What a front and the core owe each other. The core has the log and knows which front has which device; a front has the
 * connections. Both run in one process, or the core in the gateway's and each front in one of its own.
 */
import type { FrameLog } from '../log/frame-log.js'
import type { UpstreamKind } from './admission.js'

/** What to append when a connection ends without DISCONNECT. */
export interface Will {
  readonly kind: UpstreamKind
  readonly payload: Uint8Array
}

/** A client that has connected. `number` tells the connections of a front apart, and later ones are greater. */
export interface Connected {
  readonly deviceId: string
  readonly number: number
  /** By the machine's monotonic clock, ms: the later of two connections of a device is the one that holds. */
  readonly acceptedMs: number
  readonly will: Will | null
}

/** A status or a configuration of a device, as its topic has it. */
export interface DeviceMessage {
  readonly deviceId: string
  /** Empty: it is taken back. */
  readonly payload: Uint8Array
}

/** What comes down to a device. */
export type DownstreamKind = 'config' | 'ack'

export interface Downstream {
  readonly kind: DownstreamKind
  readonly payload: Uint8Array
}

/** The core as a front sees it. A status that is the death of a session which is not the last one is refused with a `StaleDeathError`. */
export interface FrontCore extends FrameLog {
  connected(client: Connected): void
  disconnected(deviceId: string, number: number): void
  /** From now on the front is told each status that is durable. */
  watchStatuses(): void
  /** From now on the front is given what is meant for devices that have no connection of their own, for its relays. */
  watchDevices(): void
  /** What is kept of the devices that the filter names: their last statuses, or their configurations. */
  kept(filter: string): AsyncIterable<DeviceMessage>
  /** The core delivers the configuration that it keeps for the device, if there is one, as retained. */
  requestConfig(deviceId: string): void
}

/** A front as the core sees it. */
export interface FrontEnd {
  /** Another connection of the device holds: ends the one with this number, if it is still there. */
  takeOver(deviceId: string, number: number): void
  /** To a connection that listens to it; `isRetained` says that it was kept for whoever subscribes. */
  deliver(deviceId: string, kind: DownstreamKind, payload: Uint8Array, isRetained: boolean): void
  /** To relays that listen to it: the device has no connection of its own. */
  relay(deviceId: string, kind: DownstreamKind, payload: Uint8Array): void
  /** Tells whoever listens to the device's status. */
  showStatus(status: DeviceMessage): void
}

/** The death of a session must not bury the birth of the next. */
export class StaleDeathError extends Error {
  readonly code = 'STALE_DEATH'
  constructor() {
    super('the death of an earlier session')
  }
}
