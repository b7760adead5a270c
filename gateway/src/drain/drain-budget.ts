/**
 * Shares the drain budget among the devices in backlog. Pure: what is seen of them and the time come in, grants go out. Soft state:
 * nothing of it is in the log, and a gateway that starts again grants anew.
 *
 * - The budget, less while the gateway is late, is divided equally. A device alone has no limit.
 * - What is granted never adds up to more than 1.1 budgets, save where the least that a device gets (`leastPerSecond`, or twice what it
 *   samples, so that a backlog always shrinks) is more than its share.
 * - Grants do not flap: one falls at once, but only when it is a tenth above the share; it rises when it has stood for a while, or
 *   sooner where it is not half the share. Who is in backlog stays so until three quarters of the bound are gone.
 */
import { GRANTED_BATCH_READINGS_MIN } from '@tidemark/protocol'
import type { DrainConfig } from './config.js'

/** A device as the processor sees it. */
export interface Backlog {
  readonly deviceId: string
  readonly epoch: number
  /** Readings that it has sampled and the gateway has not seen. */
  readonly buffered: number
  readonly highestSampledSeq: number
  /** How long ago its last batch came, in ms. */
  readonly quietMs: number
}

/** null: as fast as it likes. */
export interface Grant {
  readonly deviceId: string
  readonly readingsPerSecond: number | null
}

export interface DrainStats {
  /** Devices in backlog, and those of them that have a grant. */
  readonly devices: number
  readonly granted: number
  /** All grants together, and the budget that they share, in readings a second. */
  readonly grantedPerSecond: number
  readonly budgetPerSecond: number
}

interface Draining {
  /** The grant that it was told; null: none. */
  told: number | null
  toldMs: number
  /** The look that saw it last. */
  look: number
  epoch: number
  /** Where its highest sampled seq stood when; and what it has sampled a second since the time before. */
  sampledSeq: number
  sampledMs: number
  samplingPerSecond: number
}

/** Most devices that are in backlog at once; more of them drain as they like until others have finished. */
const DEVICES_MAX = 200_000

/** Grants that fall or rise in one look: each is a message to a device. */
const GRANTS_PER_LOOK_MAX = 5000

/** A device that has been quiet for so long has gone, in ms; twice the pause between its batches, where a small grant makes that longer. */
const QUIET_MS_MAX = 30_000

/** A grant above the share by more than this falls to it. */
const ABOVE_MAX = 1.1
/** One that has stood for `RISE_MS` rises to the share where it is below this part of it; after `RISE_FAR_MS`, below half of it. */
const BELOW = 0.9
const RISE_MS = 10_000
const FAR_BELOW = 0.5
const RISE_FAR_MS = 2000

/** Over how long a device's sampling rate is measured, in ms. */
const SAMPLING_MS = 5000
/** Sampling counts up to this, in readings a second: a live source's shortest interval is 1 ms; what is faster replays a recording. */
const SAMPLING_PER_SECOND_MAX = 1000

/** A look at which the gateway is late takes 3 tenths of the budget, down to a sixteenth of it; one at which it is not gives a twentieth back. */
const LATE_FACTOR = 0.7
const FACTOR_MIN = 1 / 16
const FACTOR_STEP = 0.05

export class DrainBudget {
  private readonly devices = new Map<string, Draining>()
  private factor = 1
  private looks = 0

  constructor(private readonly config: DrainConfig) {}

  /** A device with fewer is not in backlog, whether or not it was. */
  get finishedReadings(): number {
    return this.config.backlogReadings / 4
  }

  get stats(): DrainStats {
    let granted = 0
    let grantedPerSecond = 0
    for (const { told } of this.devices.values()) {
      if (told === null) continue
      granted++
      grantedPerSecond += told
    }
    return { devices: this.devices.size, granted, grantedPerSecond, budgetPerSecond: this.budgetPerSecond }
  }

  /**
   * Looks at the fleet, about once a second, and says whom to tell what.
   * @param backlogs those with at least `finishedReadings`; each is read before the next is asked for
   * @param isLate live readings wait
   */
  look(nowMs: number, isLate: boolean, backlogs: Iterable<Backlog>): Grant[] {
    this.factor = isLate ? Math.max(FACTOR_MIN, this.factor * LATE_FACTOR) : Math.min(1, this.factor + FACTOR_STEP)
    this.looks++
    for (const backlog of backlogs) this.see(nowMs, backlog)
    return [...this.dismiss(), ...this.share(nowMs)]
  }

  private get budgetPerSecond(): number {
    return this.config.readingsPerSecond * this.factor
  }

  private see(nowMs: number, { deviceId, epoch, buffered, highestSampledSeq, quietMs }: Backlog): void {
    const known = this.devices.get(deviceId)
    if (buffered < (known === undefined ? this.config.backlogReadings : this.finishedReadings)) return
    const betweenBatchesMs = (GRANTED_BATCH_READINGS_MIN / (known?.told ?? Number.POSITIVE_INFINITY)) * 1000
    if (quietMs > Math.max(QUIET_MS_MAX, 2 * betweenBatchesMs)) return
    if (known === undefined) {
      if (this.devices.size >= DEVICES_MAX) return
      const sampled = { epoch, sampledSeq: highestSampledSeq, sampledMs: nowMs, samplingPerSecond: 0 }
      this.devices.set(deviceId, { told: null, toldMs: Number.NEGATIVE_INFINITY, look: this.looks, ...sampled })
      return
    }
    known.look = this.looks
    const sampledForMs = nowMs - known.sampledMs
    if (known.epoch === epoch && sampledForMs < SAMPLING_MS) return
    if (known.epoch === epoch) known.samplingPerSecond = ((highestSampledSeq - known.sampledSeq) / sampledForMs) * 1000
    known.epoch = epoch
    known.sampledSeq = highestSampledSeq
    known.sampledMs = nowMs
  }

  /** Lets go of those that have finished, or have gone. */
  private *dismiss(): Generator<Grant> {
    for (const [deviceId, { look, told }] of this.devices) {
      if (look === this.looks) continue
      this.devices.delete(deviceId)
      if (told !== null) yield { deviceId, readingsPerSecond: null }
    }
  }

  private share(nowMs: number): Grant[] {
    const grants: Grant[] = []
    const share = this.devices.size < 2 ? Number.POSITIVE_INFINITY : this.budgetPerSecond / this.devices.size
    for (const [deviceId, device] of this.devices) {
      if (grants.length >= GRANTS_PER_LOOK_MAX) break
      const sampling = Math.min(SAMPLING_PER_SECOND_MAX, device.samplingPerSecond)
      const due = Math.max(1, Math.floor(Math.max(share, this.config.leastPerSecond, 2 * sampling)))
      const told = device.told ?? Number.POSITIVE_INFINITY
      const stoodMs = nowMs - device.toldMs
      const falls = told > due * ABOVE_MAX
      const rises = (told < due * BELOW && stoodMs >= RISE_MS) || (told < due * FAR_BELOW && stoodMs >= RISE_FAR_MS)
      if (!falls && !rises) continue
      device.told = Number.isFinite(due) ? due : null
      device.toldMs = nowMs
      grants.push({ deviceId, readingsPerSecond: device.told })
    }
    return grants
  }
}
