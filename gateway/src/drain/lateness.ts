/** Whether live readings wait, by the PUBACKs of all fronts. */
import { PUBACK_BOUNDS_S } from '../front/stats.js'

/** A PUBACK is late above so many seconds; one of the bounds that fronts count by. */
const LATE_S = 0.5

/** Part of the PUBACKs that may be late. */
const LATE_PART_MAX = 0.01

export class Lateness {
  private late = 0
  private all = 0

  /** Whether more PUBACKs than should be were late since the last time. `pubacks`: by bucket, since the start. */
  judge(pubacks: readonly number[]): boolean {
    const firstLate = PUBACK_BOUNDS_S.indexOf(LATE_S) + 1
    const all = pubacks.reduce((sum, count) => sum + count, 0)
    const late = pubacks.slice(firstLate).reduce((sum, count) => sum + count, 0)
    const isLate = late - this.late > (all - this.all) * LATE_PART_MAX
    this.late = late
    this.all = all
    return isLate
  }
}
