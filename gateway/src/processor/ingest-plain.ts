/**
 * Takes in what nearly all messages are, fast: a plain batch whose readings are all new, in order and sound. By columns, and without
 * an object a reading. It does to the state exactly what `ingestBatch` would; everything else is left to that.
 */
import type { PlainBatch } from '@tidemark/protocol'
import type { FrameCursor } from '../log/frames.js'
import type { Device } from './device.js'
import { READING } from './layouts.js'
import type { Order } from './pane.js'
import { isSound, type PlainRules } from './plain-rules.js'
import type { Rows } from './rows.js'
import type { KnownProfile, State } from './state.js'

const HOUR_MS = 3_600_000

/** Whether the frame's payload was such a batch; where not, nothing has happened that `ingestBatch` would not do again. */
export function ingestPlain(state: State, frame: FrameCursor): boolean {
  const { plain } = state
  if (!plain.read(frame.bytes, frame.payloadStart, frame.payloadEnd, state.findProfile)) return false
  const known = state.profile(plain.profile.name, plain.profile.version)
  if (typeof known === 'string' || !isSound(plain, known.rules, state.ingestMs)) return false
  const device = state.touchDeviceAt(frame.bytes, frame.idStart, frame.idEnd)
  const epoch = device?.touchEpoch(plain.epoch)
  if (!device || !epoch) return false
  const { count, seqs, oldestHeldSeq } = plain
  const lastSeq = seqs[count - 1]
  if (lastSeq - seqs[0] !== count - 1 || !epoch.isNextInOrder(seqs[0], oldestHeldSeq)) return false

  epoch.highestSampledSeq = Math.max(epoch.highestSampledSeq, plain.highestSampledSeq)
  for (let from = 0; from < count; ) {
    const behind = endOfHour(plain, from)
    const late = archiveHour(state, device, known, plain, from, behind)
    epoch.counts.late += late
    state.counters.late += late
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

/** Writes the rows of readings in one hour; returns how many of them are late. */
function archiveHour(
  state: State,
  device: Device,
  { layout, rules }: KnownProfile,
  plain: PlainBatch,
  from: number,
  behind: number
): number {
  const { eventTimesMs } = plain
  const rows = state.outputs.rowsFor(layout, eventTimesMs[from], state.ingestMs, behind - from)
  rows.reserve(behind - from)
  const lates = rows.numbersOf(READING.late)
  let { watermarkMs } = device
  let late = 0
  for (let i = from, row = rows.count; i < behind; i++, row++) {
    const isLate = eventTimesMs[i] < watermarkMs
    lates[row] = isLate ? 1 : 0
    if (isLate) late++
    else watermarkMs = eventTimesMs[i]
  }
  writeColumns(rows, state, device, plain, rules, from, behind)
  rows.endRows(behind - from)
  state.outputs.countReadings(rows, behind - from, late)
  state.fleet.hours.addOf('received', device, plain.profile.name, eventTimesMs[from], state.ingestMs, behind - from)
  if (late > 0) state.fleet.hours.addOf('late', device, plain.profile.name, eventTimesMs[from], state.ingestMs, late)
  return late
}

function writeColumns(rows: Rows, state: State, device: Device, plain: PlainBatch, rules: PlainRules, from: number, behind: number): void {
  const { count: at } = rows
  const end = at + behind - from
  fillIndex(rows.indicesOf(READING.device), deviceIn(rows, device), at, end)
  copy(plain.eventTimesMs, from, behind, rows.numbersOf(READING.eventTime), at)
  fill(rows.numbersOf(READING.ingestTime), state.ingestMs, at, end)
  fill(rows.numbersOf(READING.epoch), plain.epoch, at, end)
  copy(plain.seqs, from, behind, rows.numbersOf(READING.seq), at)
  fillIndex(rows.indicesOf(READING.clock), rows.indexIn(READING.clock, plain.clock), at, end)
  fill(rows.numbersOf(READING.profileVersion), plain.profile.version, at, end)
  for (let m = 0; m < rules.isText.length; m++) {
    const column = READING.metrics + m
    if (rules.isText[m]) writeTexts(rows, plain.texts[m], from, behind, column)
    else copy(plain.numbers[m], from, behind, rows.numbersOf(column), at)
  }
}

/** By hand: for the few readings of a batch it is faster than `set` and `fill`. */
function copy(values: Float64Array, from: number, behind: number, into: Float64Array, at: number): void {
  for (let i = from; i < behind; i++) into[at + i - from] = values[i]
}

/** The device's place in the dictionary of the rows. */
function deviceIn(rows: Rows, device: Device): number {
  if (device.readingRows !== rows.serial) {
    device.readingRows = rows.serial
    device.readingText = rows.indexOf(device.deviceId)
  }
  return device.readingText
}

function fillIndex(into: Int32Array, value: number, from: number, behind: number): void {
  for (let row = from; row < behind; row++) into[row] = value
}

function fill(into: Float64Array, value: number, from: number, behind: number): void {
  for (let row = from; row < behind; row++) into[row] = value
}

function writeTexts(rows: Rows, texts: readonly (string | null)[], from: number, behind: number, column: number): void {
  const into = rows.indicesOf(column)
  const { count: at } = rows
  for (let i = from; i < behind; i++) {
    const text = texts[i]
    into[at + i - from] = text === null ? -1 : rows.indexIn(column, text)
  }
}

const order: { -readonly [key in keyof Order]: Order[key] } = { timeMs: 0, epoch: 0, seq: 0 }
let values = new Float64Array(0)

/** Each reading into the panes, and out what it lets out, before the next. */
function addToFeatures(state: State, device: Device, { plan }: KnownProfile, plain: PlainBatch, from: number, behind: number): void {
  const { numbers } = plain
  const metrics = plan.profile.metrics.length
  if (values.length !== metrics) values = new Float64Array(metrics)
  order.epoch = plain.epoch
  for (let i = from; i < behind; i++) {
    for (let m = 0; m < metrics; m++) values[m] = numbers[m][i]
    order.timeMs = plain.eventTimesMs[i]
    order.seq = plain.seqs[i]
    state.addToFeatures(device, plan, order, values)
    state.raiseWatermark(device, order.timeMs)
  }
}
