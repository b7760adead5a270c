/**
 * Which seqs a device's tombstones declare dropped, by arithmetic: a tombstone may span billions of seqs. Kept as disjoint pieces in
 * rising order, so that each question costs a binary search and the pieces that it touches.
 */
import type { Tombstone } from '@tidemark/protocol'

export type ShedRange = Pick<Tombstone, 'firstSeq' | 'lastSeq' | 'keepEvery'>

export class ShedSeqs {
  /** Each sheds one seq at least; neighbours that touch keep different multiples. */
  private readonly pieces: ShedRange[]

  constructor(pieces: readonly ShedRange[] = []) {
    this.pieces = [...pieces]
  }

  get size(): number {
    return this.pieces.length
  }

  /** The last seq of the lowest piece; Infinity where nothing is shed. */
  get lowestPieceEnd(): number {
    return this.pieces.length === 0 ? Number.POSITIVE_INFINITY : this.pieces[0].lastSeq
  }

  has(seq: number): boolean {
    if (this.pieces.length === 0) return false
    const piece = this.pieces[this.indexFor(seq)]
    return piece !== undefined && piece.firstSeq <= seq && !keeps(piece, seq)
  }

  /** The last seq of the unbroken run of shed seqs that begins at `seq`; seq - 1 where `seq` is not shed. */
  endOfRun(seq: number): number {
    if (this.pieces.length === 0) return seq - 1
    let next = seq
    for (let at = this.indexFor(seq); at < this.pieces.length; at++) {
      const { firstSeq, lastSeq, keepEvery } = this.pieces[at]
      if (firstSeq > next) break
      const kept = keepEvery === 0 ? Number.POSITIVE_INFINITY : next + ((keepEvery - (next % keepEvery)) % keepEvery)
      if (kept <= lastSeq) return kept - 1
      next = lastSeq + 1
    }
    return next - 1
  }

  /** How many seqs of [first, last] are not shed. */
  countKept(first: number, last: number): number {
    let kept = last - first + 1
    for (let at = this.indexFor(first); at < this.pieces.length && this.pieces[at].firstSeq <= last; at++) {
      const piece = this.pieces[at]
      const [from, to] = [Math.max(first, piece.firstSeq), Math.min(last, piece.lastSeq)]
      kept -= to - from + 1 - multiplesIn(from, to, piece.keepEvery)
    }
    return kept
  }

  /** Sheds the range too; returns how many seqs were not shed before. */
  add({ firstSeq, lastSeq, keepEvery }: ShedRange): number {
    const before = this.countKept(firstSeq, lastSeq)
    const from = Math.max(0, this.indexFor(firstSeq) - 1)
    let behind = from
    const rest: ShedRange[] = []
    let next = firstSeq
    for (; behind < this.pieces.length && this.pieces[behind].firstSeq <= lastSeq + 1; behind++) {
      const piece = this.pieces[behind]
      append(rest, { ...piece, lastSeq: Math.min(piece.lastSeq, firstSeq - 1) })
      append(rest, { firstSeq: next, lastSeq: Math.min(piece.firstSeq - 1, lastSeq), keepEvery })
      const shared = { firstSeq: Math.max(next, piece.firstSeq), lastSeq: Math.min(lastSeq, piece.lastSeq) }
      append(rest, { ...shared, keepEvery: commonMultiple(piece.keepEvery, keepEvery) })
      next = Math.max(next, Math.min(piece.lastSeq, lastSeq) + 1)
      append(rest, { ...piece, firstSeq: Math.max(piece.firstSeq, lastSeq + 1) })
    }
    append(rest, { firstSeq: next, lastSeq, keepEvery })
    this.pieces.splice(from, behind - from, ...rest)
    return before - this.countKept(firstSeq, lastSeq)
  }

  /** Forgets what is shed at and below `seq`. */
  forgetThrough(seq: number): void {
    const at = this.indexFor(seq + 1)
    this.pieces.splice(0, at)
    const [lowest] = this.pieces
    if (lowest !== undefined && lowest.firstSeq <= seq) this.pieces[0] = { ...lowest, firstSeq: seq + 1 }
  }

  toArray(): readonly ShedRange[] {
    return this.pieces
  }

  /** The index of the first piece that ends at or behind `seq`. */
  private indexFor(seq: number): number {
    let low = 0
    let high = this.pieces.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.pieces[middle].lastSeq < seq) low = middle + 1
      else high = middle
    }
    return low
  }
}

function keeps({ keepEvery }: ShedRange, seq: number): boolean {
  return keepEvery !== 0 && seq % keepEvery === 0
}

/** How many multiples of `keepEvery` lie in [first, last]. By remainders, which are exact where quotients are not. */
function multiplesIn(first: number, last: number, keepEvery: number): number {
  if (keepEvery === 0) return 0
  return (last - (last % keepEvery)) / keepEvery - (first - 1 - ((first - 1) % keepEvery)) / keepEvery
}

/** Adds a piece behind the others, in as few pieces as can be: nothing for one that sheds nothing. */
function append(pieces: ShedRange[], { firstSeq, lastSeq, keepEvery }: ShedRange): void {
  if (firstSeq > lastSeq) return
  const kept = multiplesIn(firstSeq, lastSeq, keepEvery)
  if (kept === lastSeq - firstSeq + 1) return
  const piece = { firstSeq, lastSeq, keepEvery: kept === 0 ? 0 : keepEvery }
  const tail = pieces[pieces.length - 1]
  if (tail?.lastSeq === firstSeq - 1 && tail.keepEvery === piece.keepEvery) pieces[pieces.length - 1] = { ...tail, lastSeq }
  else pieces.push(piece)
}

/** What two thinnings keep together: multiples of both. 0 where either keeps nothing, or no seq is such a multiple. */
function commonMultiple(a: number, b: number): number {
  if (a === 0 || b === 0) return 0
  const multiple = (a / greatestDivisor(a, b)) * b
  return Number.isSafeInteger(multiple) ? multiple : 0
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b)
}
