/** Disjoint intervals of seqs in rising order: finding, taking one seq out. */

/** The seqs [first, last]. */
export interface Interval {
  first: number
  last: number
}

/** The index of the first interval that ends at or behind `seq`. */
export function indexFor(intervals: readonly Interval[], seq: number): number {
  let low = 0
  let high = intervals.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (intervals[middle].last < seq) low = middle + 1
    else high = middle
  }
  return low
}

export function holds(intervals: readonly Interval[], seq: number): boolean {
  const interval = intervals[indexFor(intervals, seq)]
  return interval !== undefined && interval.first <= seq
}

/** Takes out a seq that an interval holds; of what is left of that interval, keeps the parts that `isWorthKeeping`. */
export function removeSeq<T extends Interval>(intervals: T[], seq: number, isWorthKeeping: (part: Interval) => boolean): void {
  const at = indexFor(intervals, seq)
  const whole = intervals[at]
  const parts = [
    { ...whole, last: seq - 1 },
    { ...whole, first: seq + 1 }
  ]
  intervals.splice(at, 1, ...parts.filter(part => part.first <= part.last && isWorthKeeping(part)))
}

/** Takes out all seqs at and below `seq`, and returns the intervals that they made. */
export function removeThrough<T extends Interval>(intervals: T[], seq: number): T[] {
  const removed = intervals.splice(0, indexFor(intervals, seq + 1))
  const [lowest] = intervals
  if (lowest !== undefined && lowest.first <= seq) {
    removed.push({ ...lowest, last: seq })
    lowest.first = seq + 1
  }
  return removed
}
