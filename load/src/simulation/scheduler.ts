/**
 * The virtual clock and the order of events. Events run one after the other, by their time, then by when they were planned; a
 * life that is over takes its planned events with it, as a killed process does its timers. All that happens is traced into a
 * digest: two runs of a seed are the same if their digests are.
 */
import { createHash } from 'node:crypto'

/** One life of a process: from its start to its crash or its end. */
export interface Life {
  isOver: boolean
}

/** Thrown by a process that is killed in the midst of an event: the rest of the event does not happen. */
export class Killed extends Error {}

interface Planned {
  readonly atMs: number
  readonly order: number
  readonly life: Life | null
  readonly what: string
  readonly run: () => void
}

export class Scheduler {
  /** True time, Unix ms. Nobody's clock but the simulation's. */
  nowMs: number
  private readonly heap: Planned[] = []
  private readonly hash = createHash('sha256')
  private planned = 0
  /** Events that ran. */
  events = 0

  constructor(startMs: number) {
    this.nowMs = startMs
  }

  /** Plans an event in `delayMs`. It does not run if `life` is over by then. `what` goes into the trace. */
  after(delayMs: number, life: Life | null, what: string, run: () => void): void {
    const { heap } = this
    let at = heap.push({ atMs: this.nowMs + Math.max(0, Math.ceil(delayMs)), order: this.planned++, life, what, run }) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(heap[at], heap[parent])) return
      swap(heap, at, parent)
      at = parent
    }
  }

  /** Runs events until `isDone`, or until `untilMs`, or until nothing is planned. Returns whether it was done. */
  runUntil(isDone: () => boolean, untilMs: number): boolean {
    while (!isDone()) {
      if (this.heap.length === 0 || this.heap[0].atMs > untilMs) return false
      const event = this.pop()
      this.nowMs = event.atMs
      if (event.life?.isOver === true) continue
      this.events++
      this.trace(event.what)
      this.run(event)
    }
    return true
  }

  private run({ run }: Planned): void {
    try {
      run()
    } catch (error) {
      if (!(error instanceof Killed)) throw error
    }
  }

  trace(what: string): void {
    this.hash.update(`${this.nowMs} ${what}\n`)
  }

  traceBytes(bytes: Uint8Array): void {
    this.hash.update(bytes)
  }

  /** To be asked for once, at the end. */
  digest(): string {
    return this.hash.digest('hex')
  }

  private pop(): Planned {
    const { heap } = this
    const first = heap[0]
    const last = heap.pop()!
    if (heap.length === 0) return first
    heap[0] = last
    for (let at = 0; ; ) {
      const left = 2 * at + 1
      if (left >= heap.length) return first
      const least = left + 1 < heap.length && isBefore(heap[left + 1], heap[left]) ? left + 1 : left
      if (!isBefore(heap[least], heap[at])) return first
      swap(heap, at, least)
      at = least
    }
  }
}

function isBefore(a: Planned, b: Planned): boolean {
  return a.atMs !== b.atMs ? a.atMs < b.atMs : a.order < b.order
}

function swap(heap: Planned[], a: number, b: number): void {
  const kept = heap[a]
  heap[a] = heap[b]
  heap[b] = kept
}
