/** What a snapshot costs: its size, its time, and the longest pause that it makes. */

import { frameBytes, writeFrame } from '@tidemark/gateway/dist/log/frames.js'
import { encodeControl } from '@tidemark/gateway/dist/processor/control.js'
import type { Processor } from '@tidemark/gateway/dist/processor/processor.js'

export interface SnapshotCost {
  readonly devices: number
  readonly megabytes: number
  readonly ms: number
  readonly pauseMsMax: number
}

/** A snapshot behind a drain, which is always taken. */
export function measureSnapshot(processor: Processor): { cost: SnapshotCost; snapshot: Uint8Array } {
  const payload = encodeControl({ control: 'drain' })
  const frames = Buffer.alloc(frameBytes('', payload.length))
  writeFrame(frames, 0, 'control', '', payload)
  const { ingestMs, devices } = processor.stats()
  const startMs = performance.now()
  const snapshot = processor.apply({ entry: processor.entry + 1, ingestMs, frames })?.snapshot
  const ms = performance.now() - startMs
  if (!snapshot) throw new Error('a drain made no snapshot')
  return { cost: { devices, megabytes: snapshot.length / 1e6, ms, pauseMsMax: ms }, snapshot }
}
