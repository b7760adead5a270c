/**
 * Which seqs a device's tombstones declare dropped, by arithmetic: a tombstone may span billions of seqs.
 * A seq is shed where any tombstone covers it and does not keep it.
 */
import type { Tombstone } from '@tidemark/protocol'

/** Most tombstones kept an epoch; beyond it the oldest are forgotten, and what they shed counts as seen. */
const TOMBSTONES_MAX = 1024

export type ShedRange = Pick<Tombstone, 'firstSeq' | 'lastSeq' | 'keepEvery'>

export class ShedSeqs {
  private ranges: ShedRange[]

  constructor(ranges: readonly ShedRange[] = []) {
    this.ranges = [...ranges]
  }

  has(seq: number): boolean {
    for (const range of this.ranges) if (seq >= range.firstSeq && seq <= range.lastSeq && !keeps(range, seq)) return true
    return false
  }

  /** The last seq of the unbroken run of shed seqs that begins at `seq`; seq - 1 where `seq` is not shed. */
  endOfRun(seq: number): number {
    let end = seq - 1
    for (let grown = true; grown; ) {
      grown = false
      for (const range of this.ranges) {
        const next = end + 1
        if (next < range.firstSeq || next > range.lastSeq || keeps(range, next)) continue
        end = range.keepEvery === 0 ? range.lastSeq : Math.min(range.lastSeq, Math.ceil(next / range.keepEvery) * range.keepEvery - 1)
        grown = true
      }
    }
    return end
  }

  /** How many seqs of [first, last] are not shed. */
  countKept(first: number, last: number): number {
    return countKept(first, last, this.ranges)
  }

  /** How many seqs of [first, last] the range sheds that are not shed yet. */
  countNew(range: ShedRange, first: number, last: number): number {
    const from = Math.max(first, range.firstSeq)
    const to = Math.min(last, range.lastSeq)
    return from > to ? 0 : countKept(from, to, this.ranges) - countKept(from, to, [...this.ranges, range])
  }

  add({ firstSeq, lastSeq, keepEvery }: ShedRange): void {
    const at = this.ranges.findIndex(r => r.keepEvery === keepEvery && firstSeq <= r.lastSeq + 1 && lastSeq >= r.firstSeq - 1)
    const joined = at < 0 ? { firstSeq, lastSeq, keepEvery } : join(this.ranges[at], firstSeq, lastSeq)
    if (at >= 0) this.ranges.splice(at, 1)
    this.ranges.push(joined)
    if (this.ranges.length > TOMBSTONES_MAX) this.ranges.shift()
  }

  toArray(): readonly ShedRange[] {
    return this.ranges
  }
}

function keeps(range: ShedRange, seq: number): boolean {
  return range.keepEvery !== 0 && seq % range.keepEvery === 0
}

function join(range: ShedRange, firstSeq: number, lastSeq: number): ShedRange {
  return { firstSeq: Math.min(range.firstSeq, firstSeq), lastSeq: Math.max(range.lastSeq, lastSeq), keepEvery: range.keepEvery }
}

/** Cuts [first, last] at the ends of the ranges: within a piece the same ones apply, and what they keep are common multiples. */
function countKept(first: number, last: number, ranges: readonly ShedRange[]): number {
  const touching = ranges.filter(range => range.firstSeq <= last && range.lastSeq >= first)
  if (first > last) return 0
  const cuts = new Set([first])
  for (const range of touching) {
    if (range.firstSeq > first) cuts.add(range.firstSeq)
    if (range.lastSeq < last) cuts.add(range.lastSeq + 1)
  }
  const starts = [...cuts].sort((a, b) => a - b)
  let kept = 0
  for (const [i, start] of starts.entries()) {
    const end = i + 1 < starts.length ? starts[i + 1] - 1 : last
    const multiple = commonMultiple(touching.filter(range => range.firstSeq <= start && range.lastSeq >= end))
    if (multiple > 0) kept += Math.floor(end / multiple) - Math.floor((start - 1) / multiple)
  }
  return kept
}

/** The least common multiple of what the ranges keep; 0 where nothing is kept, or it is past what a double counts. */
function commonMultiple(ranges: readonly ShedRange[]): number {
  let multiple = 1
  for (const { keepEvery } of ranges) {
    if (keepEvery === 0) return 0
    multiple = (multiple / greatestDivisor(multiple, keepEvery)) * keepEvery
    if (!Number.isSafeInteger(multiple)) return 0
  }
  return multiple
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b)
}
