/**
 * Lets messages gather in a front that is busy: one that wakes up for each packet spends a quarter of its time on waking up. Such a
 * front takes in what is there, hands it on, and sleeps until its turn has taken `TURN_MS`; what comes meanwhile waits in the sockets
 * instead of in a wave. A turn that takes as long by itself is followed by no sleep, so throughput is the same.
 *
 * The sleep blocks the thread: it is for processes that do nothing else.
 */
import { performance } from 'node:perf_hooks'

/** Least time from turn to turn, ms. */
const TURN_MS = 6

/** Messages a ms from which on a front is busy. */
const BUSY_PER_MS = 0.5

/** For how long messages are counted before a front is judged, ms. */
const JUDGED_MS = 100

/** What it lives by; ms. */
export interface GatheringClock {
  now(): number
  sleep(ms: number): void
}

const never = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
const SYSTEM: GatheringClock = { now: () => performance.now(), sleep: ms => void Atomics.wait(never, 0, 0, ms) }

export class Gathering {
  /** Whether so much comes that it should gather. */
  isBusy = false
  private messages = 0
  private countedSinceMs: number
  private turnMs: number

  constructor(private readonly clock: GatheringClock = SYSTEM) {
    this.countedSinceMs = this.turnMs = clock.now()
  }

  /** So many messages went out together. */
  note(messages: number): void {
    this.messages += messages
    const nowMs = this.clock.now()
    const countedMs = nowMs - this.countedSinceMs
    if (countedMs < JUDGED_MS) return
    this.isBusy = this.messages >= countedMs * BUSY_PER_MS
    this.messages = 0
    this.countedSinceMs = nowMs
  }

  /** Sleeps for what is left of the turn, and begins the next one. */
  endTurn(): void {
    const restMs = this.turnMs + TURN_MS - this.clock.now()
    if (restMs > 0) this.clock.sleep(restMs)
    this.turnMs = this.clock.now()
  }
}
