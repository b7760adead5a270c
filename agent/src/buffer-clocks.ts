/**
 * The buffer's part in readings whose event times are not known yet: it holds them until they are rebased. What they are rebased to is
 * decided in core/rebase.ts.
 *
 * - A range is written with the first reading of it that is written, at the latest.
 * - Nothing is published that was rebased before that is durable: rebased anew after a crash, it could get another event time.
 */
import type { ClockQuality } from '@tidemark/protocol'
import type { BufferLedger } from './buffer-ledger.js'
import type { BufferStore } from './buffer-store.js'
import type { ClockRange } from './clock-ranges.js'
import type { HeldSpan, Rebased } from './core/rebase.js'
import type { DiskAttempts } from './disk-attempts.js'

export class BufferClocks {
  constructor(
    private readonly store: BufferStore,
    private readonly ledger: BufferLedger,
    private readonly disk: DiskAttempts,
    private readonly isStrict: boolean
  ) {}

  /** The range of the next reading. */
  get current(): ClockRange {
    return this.ledger.clocks.current
  }

  /** Whether readings may wait for the clock to be set. */
  get isHolding(): boolean {
    return this.ledger.clocks.held.length > 0
  }

  /** The last position of the range that a position belongs to. */
  endOf(position: number): number {
    return this.ledger.clocks.endOf(position)
  }

  /** The times of the next readings come from this clock. */
  begin(clock: Omit<ClockRange, 'firstPosition'>): void {
    const { nextPosition, settledPosition } = this.ledger.state
    this.ledger.noteClocks(this.ledger.clocks.begun({ ...clock, firstPosition: nextPosition }, settledPosition))
  }

  /** The readings that wait for the clock to be set, by boots. */
  heldSpans(): HeldSpan[] {
    const { clocks, state } = this.ledger
    return clocks.held.map(({ firstPosition, bootId, offsetMs }) => {
      const last = Math.min(clocks.endOf(firstPosition), state.nextPosition - 1)
      const stored = this.store.timesAtEnds(firstPosition, last)
      const inMemory = this.ledger.tail.all().filter(({ position }) => position >= firstPosition && position <= last)
      const firstMonotonicMs = stored?.firstMs ?? inMemory[0]?.eventTimeMs ?? 0
      const lastMonotonicMs = inMemory.at(-1)?.eventTimeMs ?? stored?.lastMs ?? firstMonotonicMs
      return { firstPosition, bootId, wallOffsetMs: offsetMs, firstMonotonicMs, lastMonotonicMs }
    })
  }

  /**
   * Held readings get their event times and may be published.
   * @param eventTimeMs of the last of them
   * @returns false where the disk refuses it now: then they are held on
   */
  rebase(rebased: readonly Rebased[], quality: ClockQuality, eventTimeMs: number): boolean {
    const clocks = this.ledger.clocks.rebased(rebased, quality)
    return this.disk.attempt(() => this.ledger.commit({ flush: this.isStrict, change: { eventTimeMs }, clocks }))
  }
}
