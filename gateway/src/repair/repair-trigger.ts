/** Decides when a repair is to be ordered: where more is marked than a repair has left, and none was ordered for a while. Pure but for its clock. */

export class RepairTrigger {
  private orderedMs = Number.NEGATIVE_INFINITY
  private leftMarks = 0

  constructor(
    private readonly intervalMs: number,
    private readonly nowMs: () => number = () => performance.now()
  ) {}

  /** Whether to order one now. `repairing`: one is ordered and not made yet. */
  isDue({ marks, repairing }: { readonly marks: number; readonly repairing: boolean }): boolean {
    if (repairing || marks <= this.leftMarks || this.nowMs() - this.orderedMs < this.intervalMs) return false
    this.orderedMs = this.nowMs()
    return true
  }

  /** A repair was made and left so many marks: later ones, or those of profiles that nobody knows any more. */
  noteLeft(marks: number): void {
    this.leftMarks = marks
  }
}
