/** What batches and JSON readings have in common: where they came from, and how a reading is archived or quarantined. */
import type { RejectReason } from '@tidemark/protocol'
import type { Device } from './device.js'
import { QUARANTINE, QUARANTINE_LAYOUT, READING } from './layouts.js'
import type { Rows } from './rows.js'
import type { KnownProfile, State } from './state.js'

/** A message as it lies in the log. */
export interface Message {
  readonly kind: 'batch' | 'json'
  readonly deviceId: string
  readonly frameIndex: number
  readonly payload: Uint8Array
  /** Whether the payload was put beside a quarantined reading of this message already. */
  payloadKept: boolean
}

/** A reading's identity, where it has one: epoch and seq, or an opaque event ID. */
export interface Identity {
  readonly epoch: number
  readonly seq: number
  readonly eventId: string | null
}

export interface Rejection {
  readonly reason: RejectReason
  readonly detail: string
  /** Whether this is the fate of a seq, which the ledger counts. */
  readonly accounted: boolean
  readonly profile: string | null
  /** NaN where unknown. */
  readonly eventTimeMs: number
  readonly identity: Identity | null
}

const DETAIL_LENGTH_MAX = 200

export function quarantine(state: State, message: Message, rejection: Rejection): void {
  const rows = state.outputs.rowsFor(QUARANTINE_LAYOUT, state.ingestMs, state.ingestMs)
  rows.putString(QUARANTINE.device, message.deviceId)
  rows.putNumber(QUARANTINE.ingestTime, state.ingestMs)
  rows.putNumber(QUARANTINE.entry, state.entry)
  rows.putNumber(QUARANTINE.frameIndex, message.frameIndex)
  rows.putString(QUARANTINE.kind, message.kind)
  rows.putString(QUARANTINE.reason, rejection.reason)
  if (rejection.detail !== '') rows.putString(QUARANTINE.detail, rejection.detail.slice(0, DETAIL_LENGTH_MAX))
  rows.putNumber(QUARANTINE.accounted, rejection.accounted ? 1 : 0)
  if (rejection.profile !== null) rows.putString(QUARANTINE.profile, rejection.profile)
  rows.putNumber(QUARANTINE.eventTime, rejection.eventTimeMs)
  if (rejection.identity?.eventId != null) rows.putString(QUARANTINE.eventId, rejection.identity.eventId)
  else if (rejection.identity !== null) {
    rows.putNumber(QUARANTINE.epoch, rejection.identity.epoch)
    rows.putNumber(QUARANTINE.seq, rejection.identity.seq)
  }
  if (!message.payloadKept) {
    rows.putBytes(QUARANTINE.payload, new Uint8Array(message.payload)) // a copy: the entry it lies in goes
    state.outputs.payloadBytes += message.payload.length
    message.payloadKept = true
  }
  rows.endRow()
  for (const name of ['received', 'quarantined'] as const)
    state.fleet.hours.add(name, message.deviceId, rejection.profile ?? '', rejection.eventTimeMs, state.ingestMs)
  state.counters.quarantined++
  state.rejects.set(rejection.reason, (state.rejects.get(rejection.reason) ?? 0) + 1)
}

export interface ArchivedReading {
  readonly eventTimeMs: number
  readonly identity: Identity
  readonly late: boolean
  readonly clock: 'synced' | 'estimated'
  readonly extra: string | null
}

/** Writes all of a reading's row but its metrics, which `putMetrics` writes from column `READING.metrics` on. */
export function archive(
  state: State,
  device: Device,
  { plan, layout }: KnownProfile,
  reading: ArchivedReading,
  putMetrics: (rows: Rows) => void
): void {
  const rows = state.outputs.rowsFor(layout, reading.eventTimeMs, state.ingestMs)
  rows.putDevice(device)
  rows.putNumber(READING.eventTime, reading.eventTimeMs)
  rows.putNumber(READING.ingestTime, state.ingestMs)
  if (reading.identity.eventId === null) {
    rows.putNumber(READING.epoch, reading.identity.epoch)
    rows.putNumber(READING.seq, reading.identity.seq)
  } else rows.putString(READING.eventId, reading.identity.eventId)
  rows.putNumber(READING.late, reading.late ? 1 : 0)
  rows.putString(READING.clock, reading.clock)
  rows.putNumber(READING.profileVersion, plan.profile.version)
  putMetrics(rows)
  if (reading.extra !== null) rows.putString(layout.columns.length - 1, reading.extra)
  rows.endRow()
  state.outputs.countReadings(rows, 1, reading.late ? 1 : 0)
  state.counters.archived++
  const { hours } = state.fleet
  hours.addOf('received', device, plan.profile.name, reading.eventTimeMs, state.ingestMs)
  if (!reading.late) return
  hours.addOf('late', device, plan.profile.name, reading.eventTimeMs, state.ingestMs)
  state.counters.late++
}
