/** Disjoint intervals of seqs in rising order: finding, adding at the end, taking one seq out. */

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

/** Adds an interval that lies behind all others. */
export function appendInterval(intervals: Interval[], { first, last }: Interval): void {
  const tail = intervals[intervals.length - 1]
  if (tail !== undefined && tail.last === first - 1) tail.last = last
  else intervals.push({ first, last })
}

/** Takes out a seq that an interval holds; of what is left of that interval, keeps the parts that `isWorthKeeping`. */
export function removeSeq(intervals: Interval[], seq: number, isWorthKeeping: (part: Interval) => boolean): void {
  const at = indexFor(intervals, seq)
  const { first, last } = intervals[at]
  const parts = [
    { first, last: seq - 1 },
    { first: seq + 1, last }
  ]
  intervals.splice(at, 1, ...parts.filter(part => part.first <= part.last && isWorthKeeping(part)))
}

/** Takes out all seqs at and below `seq`. */
export function removeThrough(intervals: Interval[], seq: number): void {
  intervals.splice(0, indexFor(intervals, seq + 1))
  if (intervals.length > 0) intervals[0].first = Math.max(intervals[0].first, seq + 1)
}
