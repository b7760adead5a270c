/**
 * Whether an hour of event time is complete. Pure: a function of the fleet as of a boundary.
 *
 * `complete`: every device that is not retired is past it (its watermark is at or behind the hour's end), none of their seqs measured in
 * it is missing or still held below a seen one, and no row of it waits for a file. `settled`: the same, but silent devices are not past it.
 * `open`: all else. A device without a watermark is past the hours that ended before it was registered; one that has ended its stream
 * is past all hours, until it sends again: nothing that it could still send is expected.
 */
import type { DeviceRow } from '../processor/registry.js'
import { HOUR_MS } from './paths.js'

export type HourState = 'complete' | 'settled' | 'open'

/** Devices and ranges that an answer names at most. */
export const NAMED_MAX = 10

/** Seqs of a device that are not in the archive, measured in [fromMs, toMs]. */
export interface Unseen {
  readonly deviceId: string
  readonly epoch: number
  readonly firstSeq: number
  readonly lastSeq: number
  readonly seqs: number
  readonly held: boolean
  readonly fromMs: number
  readonly toMs: number
}

export interface JudgedHour {
  readonly state: HourState
  /** Live devices that are not past the hour; the first of them, furthest behind first. */
  readonly behind: number
  readonly behindDevices: readonly string[]
  /** Silent devices that are not past the hour. */
  readonly silent: number
  readonly silentDevices: readonly string[]
  readonly unseen: readonly Unseen[]
  /** Rows that wait in the log for a file. */
  readonly waiting: number
}

export class HourJudge {
  private readonly live: Behind
  private readonly silent: Behind
  private readonly unseen: readonly Unseen[]

  /** Retired devices, and what is unseen of them, do not count. */
  constructor(devices: readonly DeviceRow[], unseen: readonly Unseen[]) {
    const counted = devices.filter(({ retired }) => !retired)
    const ids = new Set(counted.map(({ deviceId }) => deviceId))
    const expected = counted.filter(({ ended }) => !ended)
    this.live = new Behind(expected.filter(({ idle }) => !idle))
    this.silent = new Behind(expected.filter(({ idle }) => idle))
    this.unseen = unseen.filter(({ deviceId }) => ids.has(deviceId)).sort((a, b) => a.fromMs - b.fromMs)
  }

  judge(hourMs: number, waiting: number): JudgedHour {
    const endMs = hourMs + HOUR_MS
    const unseen = this.unseen.filter(({ fromMs, toMs }) => fromMs < endMs && toMs >= hourMs)
    const [behind, silent] = [this.live.count(endMs), this.silent.count(endMs)]
    const isOpen = behind > 0 || unseen.length > 0 || waiting > 0
    return {
      state: isOpen ? 'open' : silent > 0 ? 'settled' : 'complete',
      behind,
      behindDevices: this.live.names(endMs),
      silent,
      silentDevices: this.silent.names(endMs),
      unseen,
      waiting
    }
  }
}

/** How far devices have come, furthest behind first. */
class Behind {
  private readonly devices: { readonly deviceId: string; readonly throughMs: number }[]

  constructor(devices: readonly DeviceRow[]) {
    this.devices = devices
      .map(({ deviceId, watermarkMs, registeredMs }) => ({ deviceId, throughMs: watermarkMs ?? registeredMs }))
      .sort((a, b) => a.throughMs - b.throughMs || (a.deviceId < b.deviceId ? -1 : 1))
  }

  /** How many are not past `endMs`. */
  count(endMs: number): number {
    let low = 0
    let high = this.devices.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.devices[middle].throughMs < endMs) low = middle + 1
      else high = middle
    }
    return low
  }

  names(endMs: number): string[] {
    return this.devices.slice(0, Math.min(NAMED_MAX, this.count(endMs))).map(({ deviceId }) => deviceId)
  }
}
