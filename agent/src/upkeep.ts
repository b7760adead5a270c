/**
 * What the buffer needs now and then: memory that goes to disk in time, a disk that failed and is tried again, readings that have
 * become too old, a disk that runs short of space. Says in the log when the disk fails and when it works again.
 */
import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Logger } from 'pino'
import type { BufferConfig } from './config.js'
import { HOUSEKEEPING_MS, UPKEEP_MS } from './limits.js'
import { monotonicMs } from './monotonic.js'
import type { SqliteBuffer } from './sqlite-buffer.js'

export interface UpkeepEvents {
  /** There is something new on disk, or room. */
  readonly changed: () => void
  /** What is wrong with the disk, or null, has changed. */
  readonly problem: (problem: string | null) => void
  /** The agent cannot go on. */
  readonly failed: (error: unknown) => void
}

const SHORT_OF_SPACE = 'less than min_free is left on the disk: the buffer grows no more'

export class Upkeep {
  private timer: NodeJS.Timeout | undefined
  private commitIntervalMs: number
  private housekeptMs = Number.NEGATIVE_INFINITY
  private wasFailing = false
  private wasShort = false
  private wasDropping = false
  private dropped = 0

  constructor(
    private readonly buffer: SqliteBuffer,
    private readonly config: BufferConfig,
    private readonly log: Logger,
    private readonly events: UpkeepEvents
  ) {
    this.commitIntervalMs = config.commitIntervalMs
  }

  start(): void {
    this.timer = setTimeout(() => this.run(), this.everyMs)
  }

  stop(): void {
    clearTimeout(this.timer)
  }

  /** How long a reading may stay unacked and unwritten, from now on. */
  setCommitInterval(ms: number): void {
    this.commitIntervalMs = ms
  }

  private get everyMs(): number {
    return Math.max(20, Math.min(UPKEEP_MS, this.commitIntervalMs / 4))
  }

  private run(): void {
    try {
      this.keepUp()
      this.start()
    } catch (error) {
      this.events.failed(error)
    }
  }

  private keepUp(): void {
    const { buffer } = this
    // What would become due before the next look is written now: the interval is a bound, not a mean.
    buffer.keepUp(Math.max(0, this.commitIntervalMs - this.everyMs))
    this.tellFailure()
    this.tellDropped()
    const nowMs = monotonicMs()
    if (nowMs - this.housekeptMs < HOUSEKEEPING_MS) return
    this.housekeptMs = nowMs
    this.checkSpace()
    const { ageMsMax } = this.config
    const expired = ageMsMax === null ? 0 : buffer.expire(Date.now() - ageMsMax)
    if (expired === 0) return
    this.log.warn({ readings: expired }, 'readings are older than max_age: declared as shed (expired)')
    this.events.changed()
  }

  private tellFailure(): void {
    const { diskFailure, inMemory } = this.buffer
    const isFailing = diskFailure !== null
    if (isFailing === this.wasFailing) return
    this.wasFailing = isFailing
    if (diskFailure !== null)
      this.log.error({ error: diskFailure.message, in_memory: inMemory }, 'cannot write the buffer: sampling into memory')
    else this.log.info('the buffer is written again')
    this.tellProblem()
    if (diskFailure === null) this.events.changed()
  }

  private tellProblem(): void {
    const { diskFailure } = this.buffer
    this.events.problem(diskFailure?.message ?? (this.wasShort ? SHORT_OF_SPACE : null))
  }

  private tellDropped(): void {
    const isDropping = this.buffer.droppedFromMemory > this.dropped
    this.dropped = this.buffer.droppedFromMemory
    if (isDropping && !this.wasDropping) this.log.error('memory is full: the oldest readings are declared as shed (dropped-oldest)')
    this.wasDropping = this.wasFailing && (isDropping || this.wasDropping)
  }

  private checkSpace(): void {
    const freeBytes = this.freeBytes()
    if (freeBytes === null) return // a disk that does not even answer shows in what is written to it
    const isShort = freeBytes < this.config.freeBytesMin
    if (isShort !== this.wasShort) {
      if (isShort) this.log.warn({ free_bytes: freeBytes }, SHORT_OF_SPACE)
      else this.log.info('there is space on the disk again')
    }
    const hasChanged = isShort !== this.wasShort
    this.wasShort = isShort
    this.buffer.limitGrowth(isShort)
    if (hasChanged) this.tellProblem()
  }

  private freeBytes(): number | null {
    try {
      const { bavail, bsize } = statfsSync(dirname(this.buffer.path))
      return bavail * bsize
    } catch {
      return null
    }
  }
}
