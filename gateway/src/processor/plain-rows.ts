/** Writes the readings of a plain batch into rows: many by column, one by itself staged. */
import type { PlainBatch } from '@tidemark/protocol'
import type { Device } from './device.js'
import { READING } from './layouts.js'
import type { Rows } from './rows.js'
import type { KnownProfile, State } from './state.js'

/** Writes the rows of readings [from, behind), all in one hour; returns how many of them are late. */
export function writeRows(state: State, device: Device, known: KnownProfile, plain: PlainBatch, from: number, behind: number): number {
  const { outputs, ingestMs } = state
  const count = behind - from
  if (count === 1) {
    const rows = outputs.rowsToStage(known.layout, plain.eventTimesMs[from], ingestMs)
    const late = rows.isDiscarded ? findLate(device, plain, from, behind, null, 0) : stageRow(rows, state, device, known, plain, from)
    if (rows.isDiscarded) rows.endRows(1)
    outputs.countReadings(rows, 1, late)
    return late
  }
  const rows = outputs.rowsFor(known.layout, plain.eventTimesMs[from], ingestMs, count)
  const late = rows.isDiscarded
    ? findLate(device, plain, from, behind, null, 0)
    : writeColumns(rows, state, device, plain, known, from, behind)
  rows.endRows(count)
  outputs.countReadings(rows, count, late)
  return late
}

/** Returns 1 where the reading is late, else 0. */
function stageRow(rows: Rows, state: State, device: Device, { rules, plan }: KnownProfile, plain: PlainBatch, i: number): number {
  const at = rows.stage()
  const { staged } = rows
  const { count, values, texts, eventTimesMs } = plain
  const late = eventTimesMs[i] < device.watermarkMs ? 1 : 0
  staged[at + READING.device] = rows.indexOfDevice(device)
  staged[at + READING.eventTime] = eventTimesMs[i]
  staged[at + READING.ingestTime] = state.ingestMs
  staged[at + READING.epoch] = plain.epoch
  staged[at + READING.seq] = plain.seqs[i]
  staged[at + READING.eventId] = -1
  staged[at + READING.late] = late
  staged[at + READING.clock] = rows.indexIn(READING.clock, plain.clock)
  staged[at + READING.profileVersion] = plan.profile.version
  const { isText } = rules
  let column: number = READING.metrics
  for (let m = 0; m < isText.length; m++, column++) {
    if (isText[m]) {
      const text = texts[m][i]
      staged[at + column] = text === null ? -1 : rows.indexIn(column, text)
    } else staged[at + column] = values[m * count + i]
  }
  staged[at + column] = -1
  rows.endStaged()
  return late
}

/** Returns how many readings are late; which, goes `into` the cells from `row` on, where these are wanted. */
function findLate(
  { watermarkMs: before }: Device,
  { eventTimesMs }: PlainBatch,
  from: number,
  behind: number,
  into: Float64Array | null,
  row: number
): number {
  let watermarkMs = before
  let late = 0
  for (let i = from; i < behind; i++, row++) {
    const isLate = eventTimesMs[i] < watermarkMs
    if (into !== null) into[row] = isLate ? 1 : 0
    if (isLate) late++
    else watermarkMs = eventTimesMs[i]
  }
  return late
}

/** Returns how many readings are late. */
function writeColumns(
  rows: Rows,
  state: State,
  device: Device,
  plain: PlainBatch,
  { plan, rules }: KnownProfile,
  from: number,
  behind: number
): number {
  rows.reserve(behind - from)
  const { count: at } = rows
  const end = at + behind - from
  fill(rows.indicesOf(READING.device), rows.indexOfDevice(device), at, end)
  copy(plain.eventTimesMs, from, behind, rows.numbersOf(READING.eventTime), at)
  fill(rows.numbersOf(READING.ingestTime), state.ingestMs, at, end)
  fill(rows.numbersOf(READING.epoch), plain.epoch, at, end)
  copy(plain.seqs, from, behind, rows.numbersOf(READING.seq), at)
  fill(rows.indicesOf(READING.eventId), -1, at, end)
  fill(rows.indicesOf(READING.clock), rows.indexIn(READING.clock, plain.clock), at, end)
  fill(rows.numbersOf(READING.profileVersion), plan.profile.version, at, end)
  for (let m = 0; m < rules.isText.length; m++) {
    const column = READING.metrics + m
    if (rules.isText[m]) writeTexts(rows, plain.texts[m], from, behind, column)
    else copy(plain.values, m * plain.count + from, m * plain.count + behind, rows.numbersOf(column), at)
  }
  fill(rows.indicesOf(READING.metrics + rules.isText.length), -1, at, end) // nothing extra
  return findLate(device, plain, from, behind, rows.numbersOf(READING.late), at)
}

function fill(cells: Float64Array | Int32Array, value: number, at: number, end: number): void {
  for (let row = at; row < end; row++) cells[row] = value
}

/** By hand, as is `fill`: for the few readings of a batch it is faster than `set`. */
function copy(values: Float64Array, from: number, behind: number, into: Float64Array, at: number): void {
  for (let i = from; i < behind; i++) into[at + i - from] = values[i]
}

function writeTexts(rows: Rows, texts: readonly (string | null)[], from: number, behind: number, column: number): void {
  const into = rows.indicesOf(column)
  const { count: at } = rows
  for (let i = from; i < behind; i++) {
    const text = texts[i]
    into[at + i - from] = text === null ? -1 : rows.indexIn(column, text)
  }
}
