/**
 * The processor: a deterministic state machine over the log. Entries in, flushes out; the same entries give the same flushes, to
 * the bit, whatever slices they come in and wherever it was restored from a snapshot. It reads no clock and does no I/O
 * but through `EventIdStore`.
 *
 * A flush boundary lies between entries, and the log decides where: behind the tick that closes `flushIntervalMs` of ingest
 * time, behind `flushRows` rows, behind a drain or a repair.
 */

import type { Profile } from '@tidemark/protocol'
import { FrameCursor } from '../log/frames.js'
import type { LogEntry } from '../log/schema.js'
import { decodeControl } from './control.js'
import type { DecodedEntry } from './decoded.js'
import type { EventIdStore } from './event-ids.js'
import type { Features } from './features.js'
import type { EpochColumns, Flush } from './flush.js'
import { HOUR_COUNTS_MAX } from './hour-counts.js'
import { ingestBatch } from './ingest-batch.js'
import { ingestJson } from './ingest-json.js'
import { ingestDecoded, ingestPlain } from './ingest-plain.js'
import { ingestRequeue } from './ingest-requeue.js'
import { LedgerColumns } from './ledger.js'
import { PAYLOAD_BYTES_WAITING_MAX } from './outputs.js'
import { type DeviceRow, ingestStatus, rowOf, setDevice } from './registry.js'
import { decodeState, type StateEncoder } from './snapshot.js'
import { type Counters, type Notice, State } from './state.js'
import { correct, tick } from './tick.js'
import { WarmUp } from './warm-up.js'

const SHARD = 0

/** Ticks alone make a boundary only this often, so that an idle gateway writes little. */
const QUIET_BOUNDARY_MS = 3_600_000

export interface ProcessorStats extends Counters {
  entry: number
  ingestMs: number
  devices: number
  idleDevices: number
  /** The least watermark of devices that are neither idle nor retired; null without one. */
  fleetWatermarkMs: number | null
  featureRows: number
  featureCorrections: number
  rowsWaiting: number
  rejects: Record<string, number>
  unknownFields: Record<string, number>
}

export class Processor {
  private readonly state: State
  private waiting: Map<string, Map<number, number>>
  private readonly warmUp = new WarmUp()
  private drains = false
  private repairs = false
  /** The entry being applied holds a tick. */
  private ticked = false

  /** Whether a boundary at this ingest time, Unix ms, is to come with a snapshot; null: as the settings and drains say. */
  wantsSnapshot: ((ingestMs: number) => boolean) | null = null

  /**
   * From nothing, or from the parts of a snapshot. Flushes up to `committedEntry`, a boundary, were written before: they come without
   * files and ledgers, which spares making them.
   */
  constructor(
    eventIds: EventIdStore,
    snapshot: Iterable<Uint8Array> | null = null,
    private readonly committedEntry = 0
  ) {
    this.state = snapshot === null ? new State(eventIds) : decodeState(snapshot, eventIds)
    this.waiting = this.state.outputs.waitingReadings()
  }

  /** The last entry applied; 0 before the first. */
  get entry(): number {
    return this.state.entry
  }

  /** Applies the next entry. Returns a flush where a boundary lies behind it. Throws where the log is damaged or has a hole. */
  apply({ entry, ingestMs, frames, decoded }: LogEntry): Flush | null {
    const { state } = this
    if (entry !== state.entry + 1) throw new Error(`the log has no entry ${state.entry + 1}: it goes on with ${entry}`)
    state.entry = entry
    state.ingestMs = ingestMs
    if (state.boundaryMs === 0) state.boundaryMs = ingestMs
    this.chooseRows()
    this.ticked = false
    if (decoded === undefined) this.applyFrames(frames)
    else this.applyDecoded(frames, decoded)
    return this.isBoundary(this.ticked) ? this.flush() : null
  }

  /**
   * Begins a snapshot as of the boundary: call it right behind the flush that says it is due. Its parts can be taken while further
   * entries are applied. It ends one that was begun before, whose parts are of no use then.
   */
  beginSnapshot(devicesPerPart?: number): StateEncoder {
    return this.state.beginSnapshot(devicesPerPart)
  }

  /** The snapshot that was begun will not be taken to its end. */
  abandonSnapshot(): void {
    this.state.abandonSnapshot()
  }

  /** Devices to be told to take a new epoch; each is given once. */
  takeNotices(): Notice[] {
    const notices = [...this.state.notices.values()]
    this.state.notices.clear()
    return notices
  }

  /** Devices whose configuration, or right to it, was changed; each is given once. */
  takeConfigured(): DeviceRow[] {
    const rows = Array.from(this.state.configured, rowOf)
    this.state.configured.clear()
    return rows
  }

  stats(): ProcessorStats {
    const { state } = this
    let idleDevices = 0
    let fleetWatermarkMs = Number.POSITIVE_INFINITY
    for (const device of state.devices.values()) {
      if (device.registration.retired) continue
      if (device.idle) idleDevices++
      else if (device.watermarkMs > Number.NEGATIVE_INFINITY) fleetWatermarkMs = Math.min(fleetWatermarkMs, device.watermarkMs)
    }
    return {
      ...state.counters,
      entry: state.entry,
      ingestMs: state.ingestMs,
      devices: state.devices.size,
      idleDevices,
      fleetWatermarkMs: Number.isFinite(fleetWatermarkMs) ? fleetWatermarkMs : null,
      featureRows: state.featureRows.rows,
      featureCorrections: state.featureRows.corrections,
      rowsWaiting: state.outputs.rows,
      rejects: Object.fromEntries(state.rejects),
      unknownFields: Object.fromEntries(state.unknownFields)
    }
  }

  /** The device's watermark, for tests and diagnosis; null where it is not known. */
  watermarkMs(deviceId: string): number | null {
    return this.state.devices.get(deviceId)?.watermarkMs ?? null
  }

  /** What the registry holds of a device; null where it is not known. */
  device(deviceId: string): DeviceRow | null {
    const device = this.state.devices.get(deviceId)
    return device === undefined ? null : rowOf(device)
  }

  /** By device ID. */
  devices(): DeviceRow[] {
    return Array.from(this.state.devices.values(), rowOf).sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1))
  }

  /** The profiles in force. */
  get profiles(): Profile[] {
    return this.state.currentProfiles
  }

  /** Judges what follows by these profiles, as a start would let it. */
  setProfiles(profiles: readonly Profile[]): void {
    this.state.setProfiles(profiles)
  }

  /** The device's features under the profile of this name; null where it has none. Only to be read, and not to be kept. */
  featuresOf(deviceId: string, profile: string): Features | null {
    return this.state.devices.get(deviceId)?.featuresOf(profile) ?? null
  }

  /** A row of the device's features is out as of this end, in this revision: what goes out of it next is a later one. */
  noteRevision(deviceId: string, profile: string, asOfMs: number, revision: number): void {
    const device = this.state.devices.get(deviceId)
    if (device === undefined) return
    this.state.change(device)
    device.featuresOf(profile)?.noteRevision(asOfMs, revision)
  }

  /** All parts of a snapshot, directly behind a boundary; nothing is to be applied before they have ended. */
  *snapshotParts(): Generator<Uint8Array> {
    const encoder = this.beginSnapshot()
    for (let part = encoder.next(); part !== null; part = encoder.next()) yield part
  }

  /** Shows the state, between entries, to who only reads it. */
  show<T>(read: (state: State) => T): T {
    return read(this.state)
  }

  private applyFrames(frames: Uint8Array): void {
    const { state, warmUp } = this
    warmUp.run(frames, state.byIdBytes)
    let frameIndex = 0
    for (const cursor = new FrameCursor(frames); cursor.next(); frameIndex++) {
      if (cursor.kind !== 'batch' || !ingestPlain(state, cursor, warmUp.deviceAt(frameIndex))) this.applyFrame(cursor, frameIndex)
      else this.noteMessage()
    }
  }

  private applyDecoded(frames: Uint8Array, decoded: DecodedEntry): void {
    const { state } = this
    this.warmUp.runDecoded(decoded)
    const cursor = new FrameCursor(frames)
    let frameIndex = 0
    for (let record = decoded.first; record < decoded.behind; record = decoded.next(record), frameIndex++) {
      if (decoded.isPlain(record) && ingestDecoded(state, decoded, record, frames)) {
        this.noteMessage()
        continue
      }
      cursor.seek(decoded.frameAt(record))
      cursor.next()
      this.applyFrame(cursor, frameIndex)
    }
  }

  private noteMessage(): void {
    this.state.hasNews = true
    this.state.counters.messages++
  }

  /** Takes a frame in that is no plain batch. */
  private applyFrame(cursor: FrameCursor, frameIndex: number): void {
    const { state } = this
    const { kind, deviceId, payload } = cursor
    if (kind === 'tick') {
      const { rows } = state.outputs
      tick(state)
      this.ticked = true
      state.hasNews ||= state.outputs.rows > rows
      return
    }
    const message = { deviceId, frameIndex, payload, payloadKept: false }
    if (kind === 'control' || kind === 'requeue') {
      state.hasNews = true
      if (kind === 'control') this.control(payload)
      else ingestRequeue(state, message)
      return
    }
    this.noteMessage()
    if (kind === 'status') ingestStatus(state, deviceId, payload)
    else if (kind === 'batch') ingestBatch(state, { ...message, kind })
    else ingestJson(state, { ...message, kind })
  }

  private control(payload: Uint8Array): void {
    const control = decodeControl(payload)
    switch (control.control) {
      case 'start':
        if (this.state.settings !== null) this.state.outputs.noteLarge(this.state.settings.smallHourRows)
        this.state.settings = control.settings
        this.chooseRows()
        this.state.setProfiles(control.profiles)
        this.state.tickedMs = this.state.ingestMs
        return
      case 'drain':
        this.drains = true
        for (const device of this.state.dirty) correct(this.state, device)
        return
      case 'device':
        setDevice(this.state, control.deviceId, control.settings)
        return
      case 'repair':
        this.repairs = true
        return
      default:
        control satisfies never
    }
  }

  private isBoundary(ticked: boolean): boolean {
    const { state } = this
    const { settings, outputs, fleet } = state
    if (settings === null) return false
    if (this.drains || this.repairs || this.isFull) return true
    const sinceMs = state.ingestMs - state.boundaryMs
    if (!ticked || sinceMs < settings.flushIntervalMs) return false
    return state.hasNews || fleet.hasNews || outputs.isDue(state.ingestMs, settings.smallHourWaitMs) || sinceMs >= QUIET_BOUNDARY_MS
  }

  /** Whether so much waits that it must go out, whatever its hour. */
  private get isFull(): boolean {
    const { settings, outputs, fleet } = this.state
    if (outputs.rows >= settings!.flushRows || outputs.payloadBytes >= PAYLOAD_BYTES_WAITING_MAX) return true
    return fleet.hours.size >= HOUR_COUNTS_MAX
  }

  /** Whether the flush that this entry goes into was written before. */
  private get isCommitted(): boolean {
    return this.state.entry <= this.committedEntry
  }

  /** Rows that were written before, and are sure to go out at the next boundary, are not kept. */
  private chooseRows(): void {
    const { outputs, settings } = this.state
    outputs.discardsFrom = this.isCommitted && settings !== null ? settings.smallHourRows : Number.POSITIVE_INFINITY
  }

  private flush(): Flush {
    const { state } = this
    const settings = state.settings!
    const { smallHourRows, smallHourWaitMs } = settings
    const all = this.drains || this.repairs || this.isFull
    const taken = state.outputs.take({ ingestMs: state.ingestMs, smallHourRows, smallHourWaitMs, all })
    for (const device of state.changed.devices) state.change(device) // what they report of their epochs is noted in these
    const fleet = state.fleet.take(state.ingestMs, state.changed, state.outputs.waitingHours())
    const repair = this.repairs ? { repairOrder: { ingestMs: state.ingestMs, profiles: state.featureProfiles() } } : {}
    const epochs = this.ledger()
    const deviceIds = state.fleet.devices.take()
    const firstEntry = state.boundaryEntry + 1
    state.boundaryEntry = state.entry
    state.boundaryMs = state.ingestMs
    state.boundaries++
    state.hasNews = false
    const snapshotIsDue = this.wantsSnapshot?.(state.ingestMs) ?? (this.drains || state.boundaries % settings.snapshotEvery === 0)
    this.drains = false
    this.repairs = false
    return { shard: SHARD, firstEntry, lastEntry: state.entry, ...taken, ...repair, deviceIds, epochs, fleet, snapshotIsDue }
  }

  /** The epochs that changed, and those whose waiting rows came or went. */
  private ledger(): EpochColumns {
    const { state } = this
    const before = this.waiting
    this.waiting = state.outputs.waitingReadings()
    for (const waiting of [before, this.waiting]) {
      for (const [deviceId, epochs] of waiting) for (const epoch of epochs.keys()) state.noteChanged(state.devices.get(deviceId)!, epoch)
    }
    const ledger = new LedgerColumns(this.isCommitted ? 0 : state.changed.devices.length)
    for (const device of state.changed.devices) {
      const waiting = this.waiting.get(device.deviceId)
      if (!this.isCommitted) {
        const place = state.fleet.devices.placeOf(device)
        state.changed.visitEpochs(device, epoch => ledger.add(place, device, epoch, waiting?.get(epoch) ?? 0))
      }
      state.change(device)
      device.forgetOldEpochs(epoch => waiting?.has(epoch) ?? false) // whose ledger must be written once more when they are out
    }
    state.changed.clear()
    return ledger.take()
  }
}
