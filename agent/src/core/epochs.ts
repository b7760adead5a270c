/**
 * Which epoch and seq a position stands for. Pure.
 * Epochs follow each other without gaps: one covers the positions behind its base, up to the base of the next.
 */

export interface EpochRange {
  readonly epoch: number
  readonly base: number
  /** The last seq that was given in it; null while it is the current one. */
  readonly highestSeq: number | null
}

/** The epochs when a new one begins behind `base`; the last one ends with the last position that was given. */
export function withNewEpoch(epochs: readonly EpochRange[], nextPosition: number, base: number, epoch: number): EpochRange[] {
  const last = epochs[epochs.length - 1]
  return [...epochs.slice(0, -1), { ...last, highestSeq: nextPosition - 1 - last.base }, { epoch, base, highestSeq: null }]
}

/** The last position that belongs to the epoch at `index`; Infinity for the current one. */
export function endOfEpoch(epochs: readonly EpochRange[], index: number): number {
  return epochs[index + 1]?.base ?? Number.POSITIVE_INFINITY
}

/** The index of the epoch that a position belongs to. */
export function epochIndexAt(epochs: readonly EpochRange[], position: number): number {
  for (let i = epochs.length - 1; i >= 0; i--) if (epochs[i].base < position) return i
  throw new Error(`position ${position} belongs to no epoch`)
}

export interface SeqRange {
  readonly epoch: number
  readonly firstSeq: number
  readonly lastSeq: number
}

/** The seqs of the positions [first, last], one range an epoch. */
export function seqRanges(epochs: readonly EpochRange[], first: number, last: number): SeqRange[] {
  const ranges: SeqRange[] = []
  for (let start = first; start <= last; ) {
    const index = epochIndexAt(epochs, start)
    const { epoch, base } = epochs[index]
    const end = Math.min(last, endOfEpoch(epochs, index))
    ranges.push({ epoch, firstSeq: start - base, lastSeq: end - base })
    start = end + 1
  }
  return ranges
}
