/**
 * Takes in what nearly all messages are, fast: a plain batch whose readings are all new, in order and sound. By columns, and without
 * an object a reading. It does to the state exactly what `ingestBatch` would; everything else is left to that.
 */
import type { PlainBatch } from '@tidemark/protocol'
import type { FrameCursor } from '../log/frames.js'
import type { DecodedEntry } from './decoded.js'
import type { Device } from './device.js'
import { addToFeatures } from './plain-features.js'
import { writeRows } from './plain-rows.js'
import { isSound } from './plain-rules.js'
import type { KnownProfile, State } from './state.js'

const HOUR_MS = 3_600_000

/** `guess` is probably its device. Whether the frame's payload was such a batch; where not, nothing has happened that `ingestBatch` would not do again. */
export function ingestPlain(state: State, frame: FrameCursor, guess?: Device): boolean {
  const { plain } = state
  if (!plain.read(frame.bytes, frame.payloadStart, frame.payloadEnd, state.findProfile)) return false
  const known = state.profile(plain.profile.name, plain.profile.version)
  if (typeof known === 'string' || !isSound(plain, known.rules, state.ingestMs)) return false
  const device = state.touchDeviceAt(frame.bytes, frame.idStart, frame.idEnd, guess)
  return device !== null && take(state, known, device)
}

/** The same for a batch that another thread has read and found sound: the one in `decoded` at `record`, of a frame in `frames`. */
export function ingestDecoded(state: State, decoded: DecodedEntry, record: number, frames: Uint8Array): boolean {
  const { plain } = state
  decoded.load(record, plain)
  const known = state.profile(plain.profile.name, plain.profile.version)
  if (typeof known === 'string') return false
  const device = decoded.touchDevice(record, frames, state)
  return device !== null && take(state, known, device)
}

/** Takes in the batch in `state.plain`, of the device, if it comes in order. */
function take(state: State, known: KnownProfile, device: Device): boolean {
  const { plain } = state
  const epoch = device.touchEpoch(plain.epoch)
  if (epoch === null) return false
  const { count, seqs, oldestHeldSeq } = plain
  const lastSeq = seqs[count - 1]
  if (lastSeq - seqs[0] !== count - 1 || !epoch.isNextInOrder(seqs[0], oldestHeldSeq)) return false

  epoch.highestSampledSeq = Math.max(epoch.highestSampledSeq, plain.highestSampledSeq)
  for (let from = 0; from < count; ) {
    const behind = count === 1 ? 1 : endOfHour(plain, from)
    epoch.counts.late += archiveHour(state, device, known, plain, from, behind)
    addToFeatures(state, device, known, plain, from, behind)
    from = behind
  }
  epoch.counts.archived += count
  state.counters.archived += count
  epoch.seeThrough(lastSeq, latestOf(plain))
  if (epoch.isClosed) state.closeHops(device)
  state.noteChanged(device, plain.epoch)
  return true
}

function latestOf({ count, eventTimesMs }: PlainBatch): number {
  let latestMs = Number.NEGATIVE_INFINITY
  for (let i = 0; i < count; i++) if (eventTimesMs[i] > latestMs) latestMs = eventTimesMs[i]
  return latestMs
}

/** The first reading behind `from` that lies in another hour than it. */
function endOfHour({ count, eventTimesMs }: PlainBatch, from: number): number {
  const hourMs = Math.floor(eventTimesMs[from] / HOUR_MS) * HOUR_MS
  let behind = from + 1
  while (behind < count && eventTimesMs[behind] >= hourMs && eventTimesMs[behind] < hourMs + HOUR_MS) behind++
  return behind
}

/** Writes and counts readings [from, behind), all in one hour; returns how many of them are late. */
function archiveHour(state: State, device: Device, known: KnownProfile, plain: PlainBatch, from: number, behind: number): number {
  const late = writeRows(state, device, known, plain, from, behind)
  const { hours } = state.fleet
  const eventTimeMs = plain.eventTimesMs[from]
  hours.addOf('received', device, plain.profile.name, eventTimeMs, state.ingestMs, behind - from)
  if (late > 0) hours.addOf('late', device, plain.profile.name, eventTimeMs, state.ingestMs, late)
  state.counters.late += late
  return late
}
