/**
 * Carries what the source yields into the buffer: gives live readings their event time, rounds values to their resolution, and
 * commits each group whole. When the buffer is full, a replay waits, and a live reading is declared as shed.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Profile, quantize, STRING_BYTES_MAX, type Value } from '@tidemark/protocol'
import type { Logger } from 'pino'
import type { AgentClock } from './agent-clock.js'
import { BufferWriteError } from './buffer-error.js'
import { crashPoint } from './crash-point.js'
import { APPEND_RETRY_MS_MAX, APPEND_RETRY_PAUSE_MS, TEXT_BYTES_PER_READING_MAX } from './limits.js'
import { monotonicMs } from './monotonic.js'
import type { Source, SourceGroup } from './sources/source.js'
import type { Sampled, SampledEntry, SqliteBuffer } from './sqlite-buffer.js'

/** Tombstone reason of a live reading that found the buffer full. */
const DROPPED = 'dropped-newest'

export interface SamplerOptions {
  readonly source: Source
  readonly profile: Profile
  readonly buffer: SqliteBuffer
  readonly clock: AgentClock
  readonly log: Logger
  /** Readings were committed. `isHeld`: their event times are not known yet, and are monotonic ms. */
  readonly committed: (sampled: Sampled, isHeld: boolean) => void
}

export class Sampler {
  private isDropping = false
  private roomMade: (() => void) | null = null

  constructor(private readonly options: SamplerOptions) {}

  /** Samples until the source ends (true) or `signal` aborts (false). */
  async run(signal: AbortSignal): Promise<boolean> {
    const { source, buffer, log } = this.options
    const { sourceKey, sourcePosition } = buffer.state
    const position = sourceKey === source.key ? sourcePosition : null
    log.info({ source: source.key, position }, position === null ? 'sampling from the beginning' : 'sampling on from where it was')
    for await (const group of source.groups(position, signal)) {
      if (!source.live) {
        while (buffer.isFull && !signal.aborted) await this.waitForRoom(signal)
        if (signal.aborted) return false // read again from the position
      }
      if (!(await this.append(group, signal))) return false
    }
    if (signal.aborted) return false
    buffer.noteSourceEnded()
    return true
  }

  /** Readings were deleted from the buffer. */
  freed(): void {
    this.roomMade?.()
  }

  private async append(group: SourceGroup, signal: AbortSignal): Promise<boolean> {
    const { buffer, committed, log } = this.options
    for (const problem of group.problems) log.warn(problem)
    const sinceMs = monotonicMs()
    for (;;) {
      try {
        const { sampled, isHeld } = this.prepare(group)
        buffer.append(sampled)
        crashPoint('commit')
        committed(sampled, isHeld)
        return true
      } catch (error) {
        if (!(error instanceof BufferWriteError) || !error.passing || monotonicMs() - sinceMs > APPEND_RETRY_MS_MAX) throw error
        log.warn({ error: error.message }, 'cannot store readings: trying again')
        await delay(APPEND_RETRY_PAUSE_MS)
        if (signal.aborted) return false
      }
    }
  }

  private prepare(group: SourceGroup): { sampled: Sampled; isHeld: boolean } {
    const { source, profile, buffer, clock, log } = this.options
    if (!source.live) clock.replay()
    let isHeld = false
    const isDropping = source.live && !buffer.makeRoom()
    if (isDropping && !this.isDropping)
      log.error('the buffer is full: new readings are declared as shed (dropped-newest) until there is room')
    if (!isDropping && this.isDropping) log.info('the buffer has room again')
    this.isDropping = isDropping
    let overlong = 0
    const entries = group.entries.map<SampledEntry>(entry => {
      if ('shed' in entry) return entry
      if (isDropping) return { shed: DROPPED }
      const values = entry.values.map((value, m) => (typeof value === 'number' ? quantize(value, profile.metrics[m]) : value))
      overlong += dropOverlongText(values)
      if ('eventTimeMs' in entry) return { eventTimeMs: entry.eventTimeMs, values }
      const stamp = clock.stamp(entry.measuredMs)
      isHeld = stamp.isHeld
      return { eventTimeMs: stamp.storedMs, values }
    })
    if (overlong > 0) log.warn({ values: overlong }, 'texts are too long for a batch: null is stored for them')
    const sampled = {
      profile,
      entries,
      source: group.position === null ? null : { key: source.key, position: group.position },
      nulledValues: group.nulledValues + overlong,
      eventTimeMs: source.live ? clock.eventTimeMs : null
    }
    return { sampled, isHeld }
  }

  private waitForRoom(signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        signal.removeEventListener('abort', done)
        this.roomMade = null
        resolve()
      }
      this.roomMade = done
      signal.addEventListener('abort', done, { once: true })
    })
  }
}

/** Replaces texts that no batch can carry by null, in place; returns how many. */
function dropOverlongText(values: Value[]): number {
  let [dropped, bytesLeft] = [0, TEXT_BYTES_PER_READING_MAX]
  for (const [i, value] of values.entries()) {
    if (typeof value !== 'string') continue
    const bytes = Buffer.byteLength(value)
    if (bytes <= Math.min(STRING_BYTES_MAX, bytesLeft)) {
      bytesLeft -= bytes
      continue
    }
    values[i] = null
    dropped++
  }
  return dropped
}
