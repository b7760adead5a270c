/**
 * What a device publishes, step by step. Step s is the time at which reading s is due; the steps behind the last seq release what was
 * held back. Pure: the faults alone decide what leaves at which step.
 */
import { type Column, encodeBatch, NULL } from '@tidemark/protocol'
import { type Device, faultOf, newReadingColumns, PROFILE, type RunPlan, writeReading } from './device.js'
import { type Fault, holdSeqs } from './faults.js'
import { HOLD_SEQS_MAX } from './limits.js'
import { mix, STREAM } from './prng.js'

export interface Publication {
  readonly kind: 'reading' | 'duplicate' | 'undecodable' | 'end'
  /** For `end` and `undecodable`: 0. */
  readonly seq: number
  readonly fault: Fault
  readonly payload: Uint8Array
}

/** What a batch's header says of the device's buffer. */
export interface BufferState {
  readonly oldestHeldSeq: number
  readonly highestSampledSeq: number
  readonly buffered: number
}

/** The step after which a device with `lastSeq` readings has published them all. */
export function lastStep(lastSeq: number): number {
  return lastSeq === 0 ? 0 : lastSeq + HOLD_SEQS_MAX
}

/** The oldest seq that may still be held back when step `step` is over, or leaves with it. */
export function oldestSeqAt(step: number): number {
  return Math.max(1, step - HOLD_SEQS_MAX)
}

/** The messages that leave at `step`, in order. Their header is `state`. */
export function publicationsAt(plan: RunPlan, device: Device, step: number, lastSeq: number, state: BufferState): Publication[] {
  const out: Publication[] = []
  if (step <= lastSeq && faultOf(plan, device, step) !== 'held-back') publishReading(out, plan, device, step, state)
  for (let held = 1; held <= HOLD_SEQS_MAX; held++) {
    const seq = step - held
    if (seq < 1 || seq > lastSeq || faultOf(plan, device, seq) !== 'held-back') continue
    if (holdSeqs(plan.seed, device.index, seq) === held) publishReading(out, plan, device, seq, state)
  }
  return out
}

/** The mark that ends a device's stream. */
export function endOfStream(device: Device, lastSeq: number): Publication {
  const payload = encodeBatch({
    profile: PROFILE,
    epoch: device.epoch,
    oldestHeldSeq: lastSeq + 1,
    highestSampledSeq: lastSeq,
    buffered: 0,
    seqs: [],
    eventTimesMs: [],
    columns: [],
    endOfStreamSeq: lastSeq
  })
  return { kind: 'end', seq: 0, fault: 'none', payload }
}

const reading = newReadingColumns(1)
const nullState = new Uint8Array([NULL])

function publishReading(out: Publication[], plan: RunPlan, device: Device, seq: number, state: BufferState): void {
  const fault = writeReading(plan, device, seq, reading, 0)
  if (fault === 'undecodable') out.push({ kind: 'undecodable', seq: 0, fault, payload: noBatch(plan.seed, device.index, seq) })
  const columns = reading.metrics.map((values): Column => ({ kind: 'numeric', values, state: Number.isNaN(values[0]) ? nullState : null }))
  columns.push({ kind: 'string', values: [device.machine.location], state: null })
  const { seqs, eventTimesMs } = reading
  const payload = encodeBatch({ profile: PROFILE, epoch: device.epoch, ...state, seqs, eventTimesMs, columns })
  out.push({ kind: 'reading', seq, fault, payload })
  if (fault === 'duplicate') out.push({ kind: 'duplicate', seq, fault, payload })
}

/** Random bytes behind one that MessagePack never uses. */
function noBatch(seed: number, index: number, seq: number): Uint8Array {
  const lanes = new Uint32Array(4)
  mix(lanes, seed, index, seq, STREAM.faultSize)
  const bytes = new Uint8Array(lanes.buffer)
  bytes[0] = 0xc1
  return bytes
}
