/**
 * Work that is done again and again, as often as wanted, but never for more than a hundredth of the time: what looks at each of 100,000
 * devices takes a while.
 */
export class Pace {
  private dueMs = Number.NEGATIVE_INFINITY

  /** `everyMs`: the least time from one beginning to the next. */
  constructor(private readonly everyMs: number) {}

  /** By `performance.now()`. */
  get isDue(): boolean {
    return performance.now() >= this.dueMs
  }

  run(work: () => void): void {
    const beginMs = performance.now()
    work()
    this.dueMs = beginMs + Math.max(this.everyMs, 100 * (performance.now() - beginMs))
  }
}
