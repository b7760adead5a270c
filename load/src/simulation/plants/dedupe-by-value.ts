/** The planted bug that takes equal values for a repetition: a reading whose temperature equals the one before it is left out. */
import { frameBytes, readFrames, writeFrame } from '@tidemark/gateway/dist/log/frames.js'
import type { LogEntry } from '@tidemark/gateway/dist/log/schema.js'
import { type Batch, type Column, decodeBatch, encodeBatch } from '@tidemark/protocol'
import { PROBE } from '../scenario.js'

const TEMPERATURE = PROBE.metrics.findIndex(({ name }) => name === 'temperature')

export function withoutRepeatedValues(): (entry: LogEntry) => LogEntry {
  return entry => {
    const frames = Array.from(readFrames(entry.frames), frame =>
      frame.kind === 'batch' ? { ...frame, payload: thinned(frame.payload) } : frame
    )
    const packed = Buffer.alloc(frames.reduce((sum, { deviceId, payload }) => sum + frameBytes(deviceId, payload.length), 0))
    let at = 0
    for (const { kind, deviceId, payload } of frames) at = writeFrame(packed, at, kind, deviceId, payload)
    return { ...entry, frames: new Uint8Array(packed) }
  }
}

function thinned(payload: Uint8Array): Uint8Array {
  const batch = decodeBatch(payload, name => (name === PROBE.name ? PROBE : 'unknown-profile'))
  if (batch === null || batch.reject !== null || batch.eventTimesMs === null || batch.header.seqs.length === 0) return payload
  const values = batch.columns[TEMPERATURE].values
  const kept = Array.from(batch.header.seqs.keys()).filter(i => i === 0 || values[i] !== values[i - 1])
  return kept.length === values.length ? payload : encodeBatch(chosen(batch, batch.eventTimesMs, kept))
}

function chosen({ header, columns, tombstones, clock, endOfStreamSeq }: Batch, eventTimesMs: Float64Array, kept: readonly number[]) {
  return {
    profile: PROBE,
    epoch: header.epoch,
    oldestHeldSeq: header.oldestHeldSeq,
    highestSampledSeq: header.highestSampledSeq,
    buffered: header.buffered,
    seqs: kept.map(i => header.seqs[i]),
    eventTimesMs: kept.map(i => eventTimesMs[i]),
    columns: columns.map(column => pick(column, kept)),
    tombstones,
    clock,
    ...(endOfStreamSeq === null ? {} : { endOfStreamSeq })
  }
}

function pick(column: Column, kept: readonly number[]): Column {
  const state = column.state === null ? null : Uint8Array.from(kept, i => column.state![i])
  return column.kind === 'string'
    ? { kind: 'string', values: kept.map(i => column.values[i]), state }
    : { kind: 'numeric', values: Float64Array.from(kept, i => column.values[i]), state }
}
