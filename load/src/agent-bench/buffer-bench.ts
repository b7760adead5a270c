/**
 * What the agent's buffer costs, measured on the real one in a process of its own (so that /proc/self/io counts nothing else). Time
 * between readings is left out: what is written depends on commits, not on when they are.
 */
import { readFileSync, statSync } from 'node:fs'
import { SqliteBuffer } from '@tidemark/agent/dist/sqlite-buffer.js'
import { ROTATING_MACHINE, type Value } from '@tidemark/protocol'

export type BufferJob = 'online-spill' | 'offline-30' | 'strict-1' | 'capacity' | 'fill'

export interface BufferFigures {
  readonly readings: number
  /** To the block layer, as /proc/self/io says. */
  readonly writtenBytes: number
  /** The file and its write-ahead log. */
  readonly fileBytes: number
  readonly seconds: number
}

/** Runs a job on a new buffer of a device at `path`. */
export function runBufferJob(job: BufferJob, path: string, readings: number, deviceId: string): BufferFigures {
  const isSpill = job === 'online-spill' || job === 'offline-30'
  let nowMs = 0
  const buffer = new SqliteBuffer({
    path,
    deviceId,
    machineId: '',
    profile: ROTATING_MACHINE,
    isLive: true,
    reserveReadings: isSpill ? 1800 : 0,
    bytesMax: 2 ** 40,
    whenFull: 'thin',
    ringBytesMax: 2 ** 22,
    randomBytes: () => Uint8Array.of(1, 2, 3, 4, 5, 6, 7),
    wallMs: () => 1_795_525_200_000 + nowMs,
    monotonicMs: () => nowMs
  })
  const perCommit = job === 'capacity' || job === 'fill' ? 500 : 1
  const groups = Array.from({ length: readings / perCommit }, (_, g) =>
    Array.from({ length: perCommit }, (_, i) => ({
      eventTimeMs: 1_795_525_200_000 + (g * perCommit + i) * 1000,
      values: machineValues(g * perCommit + i)
    }))
  )
  const [bytesBefore, startedMs] = [writtenBytes(), performance.now()]
  for (const entries of groups) {
    nowMs += 1000
    const last = buffer.append({ profile: ROTATING_MACHINE, entries, source: null, nulledValues: 0, eventTimeMs: entries[0].eventTimeMs })
    if (job === 'online-spill') {
      buffer.willPublish(last, last)
      buffer.settle(last, 1, [])
    }
    if (job === 'offline-30' || job === 'strict-1') buffer.keepUp(29_000)
  }
  const seconds = (performance.now() - startedMs) / 1000
  const written = writtenBytes() - bytesBefore
  buffer.close()
  return { readings, writtenBytes: written, fileBytes: statSync(path).size, seconds }
}

/** A machine's ten values that move a little from one reading to the next, as real ones do. */
function machineValues(i: number): Value[] {
  const wave = Math.sin(i / 40)
  const step = (scale: number) => Math.round((wave + Math.sin(i * 1.7) / 20) * scale * 100) / 100
  return [
    61 + step(4),
    2.4 + step(0.3),
    6 + step(0.4),
    1480 + Math.round(step(12)),
    11 + step(2),
    22 + step(3),
    48 + step(2),
    871,
    false,
    null
  ]
}

function writtenBytes(): number {
  return Number(/^write_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))![1])
}
