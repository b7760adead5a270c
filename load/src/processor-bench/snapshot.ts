/** What a snapshot costs: its size, its time, and the longest pause that it makes. */
import { frameBytes, writeFrame } from '@tidemark/gateway/dist/log/frames.js'
import { encodeControl } from '@tidemark/gateway/dist/processor/control.js'
import type { Processor } from '@tidemark/gateway/dist/processor/processor.js'

export interface SnapshotCost {
  readonly devices: number
  readonly megabytes: number
  /** Of the processor's time, all parts together. */
  readonly ms: number
  readonly pauseMsMax: number
}

/** A snapshot behind a drain, part by part. `keep` gets each part. */
export function measureSnapshot(processor: Processor, keep: (part: Uint8Array) => void): SnapshotCost {
  const payload = encodeControl({ control: 'drain' })
  const frames = Buffer.alloc(frameBytes('', payload.length))
  writeFrame(frames, 0, 'control', '', payload)
  const { ingestMs, devices } = processor.stats()
  if (!processor.apply({ entry: processor.entry + 1, ingestMs, frames })?.snapshotIsDue) throw new Error('a drain made no snapshot')
  let [bytes, ms, pauseMsMax] = [0, 0, 0]
  let startMs = performance.now()
  const note = () => {
    const pauseMs = performance.now() - startMs
    ms += pauseMs
    pauseMsMax = Math.max(pauseMsMax, pauseMs)
  }
  const encoder = processor.beginSnapshot()
  for (let part = encoder.next(); part !== null; part = encoder.next()) {
    note()
    bytes += part.length
    keep(part)
    startMs = performance.now()
  }
  return { devices, megabytes: bytes / 1e6, ms, pauseMsMax }
}
