/**
 * Work that is done again and again, as often as wanted, but never for more than a hundredth of the time: what looks at each of 100,000
 * devices takes a while.
 */
export class Pace {
  private dueMs = Number.NEGATIVE_INFINITY
  /** How long the last runs took. The shortest counts: on a busy machine one that is interrupted only seems to take long. */
  private readonly tookMs = [0, 0, 0]
  private runs = 0

  /** `everyMs`: the least time from one beginning to the next. */
  constructor(private readonly everyMs: number) {}

  /** By `performance.now()`. */
  get isDue(): boolean {
    return performance.now() >= this.dueMs
  }

  run(work: () => void): void {
    const beginMs = performance.now()
    work()
    this.tookMs[this.runs++ % this.tookMs.length] = performance.now() - beginMs
    this.dueMs = beginMs + Math.max(this.everyMs, 100 * Math.min(...this.tookMs))
  }
}
