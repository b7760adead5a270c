/**
 * Takes in a requeued message: readings of it that were quarantined are judged by the profiles in force now. What is valid is
 * archived, as a reading like any other that comes now; what is not stays as it was. Readings that were archived, shed or
 * duplicates are not touched.
 */
import { decodeJson } from '@tidemark/protocol'
import { ingestBatch, ingestReadings, readBatch, takeHeader } from './ingest-batch.js'
import { ingestJson, ingestJsonAgain } from './ingest-json.js'
import { RESOLVED, RESOLVED_LAYOUT } from './layouts.js'
import type { Identity, Message } from './message.js'
import { decodeRequeue, isCurrent, type Requeue } from './requeue.js'
import type { State } from './state.js'

/** `frame` is the requeue frame; new rows of the quarantine name its offset. */
export function ingestRequeue(state: State, frame: Omit<Message, 'kind'>): void {
  const requeue = decodeRequeue(frame.payload)
  if (!isCurrent(requeue, state.requeued)) {
    state.counters.staleRequeues++
    return
  }
  const { run, entry, frameIndex } = requeue
  state.requeued = { run, entry, frameIndex, appliedEntry: state.entry }
  const message: Message = { ...frame, kind: requeue.kind, payload: requeue.payload }
  const archived = state.counters.archived
  if (requeue.isWhole) requeueWhole(state, message, requeue)
  else if (requeue.kind === 'batch') requeueBatch(state, message, requeue)
  else requeueJson(state, message, requeue)
  const device = state.devices.get(message.deviceId)
  // An idle device's open hops are shown as they stand: so they are to be shown again.
  if (device !== undefined && state.counters.archived > archived) {
    state.change(device)
    device.idle = false
  }
}

/** A message of which nothing was known is taken in as if it came now, once it can be read. */
function requeueWhole(state: State, message: Message, requeue: Requeue): void {
  if (!canBeTaken(state, message)) return
  if (message.kind === 'batch') ingestBatch(state, message)
  else ingestJson(state, message)
  resolve(state, message, requeue, null)
}

/** Whether the message would no longer be refused as a whole. */
function canBeTaken(state: State, message: Message): boolean {
  if (message.kind === 'json') return decodeJson(message.payload) !== null && state.touchDevice(message.deviceId) !== null
  const batch = readBatch(state, message)
  return batch !== null && (batch.reject !== 'columns-damaged' || batch.header.seqs.length > 0)
}

function requeueBatch(state: State, message: Message, requeue: Requeue): void {
  const batch = readBatch(state, message)
  if (batch === null) return
  const unaccounted = new Set<unknown>(requeue.unaccounted)
  const device = unaccounted.size > 0 ? state.touchDevice(message.deviceId) : state.devices.get(message.deviceId)
  const { epoch: number } = batch.header
  const epoch = unaccounted.size > 0 ? device?.touchEpoch(number) : device?.epoch(number)
  if (!device || !epoch) return // there are too many devices still, or the epoch is no longer known
  state.change(device)
  ingestReadings(state, message, batch, device, epoch, readings => {
    if (unaccounted.size > 0) takeHeader(state, batch, device, epoch) // its device or its epoch was refused: it was not taken
    for (const seq of readings.runAgain(new Set(requeue.accounted), unaccounted, requeue.ingestMs))
      resolve(state, message, requeue, { epoch: number, seq, eventId: null })
  })
}

function requeueJson(state: State, message: Message, requeue: Requeue): void {
  const unaccounted = new Set<unknown>(requeue.unaccounted)
  const device = unaccounted.size > 0 ? state.touchDevice(message.deviceId) : state.devices.get(message.deviceId)
  if (!device) return
  state.change(device)
  const { defaultProfile = device.registration.profile } = requeue
  const again = { accounted: new Set(requeue.accounted), unaccounted, sinceMs: requeue.ingestMs, defaultProfile }
  for (const eventId of ingestJsonAgain(state, message, device, again)) resolve(state, message, requeue, { epoch: 0, seq: 0, eventId })
}

/** Notes that a row of the quarantine no longer stands for a reading; of a message, where `identity` is null. */
function resolve(state: State, { deviceId }: Message, { entry, frameIndex }: Requeue, identity: Identity | null): void {
  const rows = state.outputs.rowsFor(RESOLVED_LAYOUT, state.ingestMs, state.ingestMs)
  rows.putString(RESOLVED.device, deviceId)
  rows.putNumber(RESOLVED.ingestTime, state.ingestMs)
  rows.putNumber(RESOLVED.entry, entry)
  rows.putNumber(RESOLVED.frameIndex, frameIndex)
  if (identity?.eventId != null) rows.putString(RESOLVED.eventId, identity.eventId)
  else if (identity !== null) {
    rows.putNumber(RESOLVED.epoch, identity.epoch)
    rows.putNumber(RESOLVED.seq, identity.seq)
  }
  rows.putNumber(RESOLVED.requeueEntry, state.entry)
  rows.endRow()
  state.counters.resolved++
}
