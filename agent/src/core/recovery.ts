/**
 * What a buffer that was not closed cleanly must declare before it goes on. Pure.
 *
 *   … stored | next_position … reserved | … marked
 *            `crash`: may have been       `damaged`: given away, so says the mark beside the buffer, but the file knows
 *            given from memory             nothing of it: its write-ahead log, or a part of it, is gone
 *
 * After a crash the epoch goes on. After damage a new one begins: nobody can say for certain which seqs were given.
 */
import type { EpochRange } from './epochs.js'

export interface Progress {
  readonly nextPosition: number
  readonly reservedPosition: number
}

export interface ProgressMark {
  readonly epoch: number
  /** Position of the reading with seq 0 in the epoch. */
  readonly base: number
  /** No position behind it was ever given away. */
  readonly lastPosition: number
}

export interface Recovery {
  readonly epochs: readonly EpochRange[]
  readonly nextPosition: number
  /** Positions [first, last] to be declared as shed. */
  readonly lost: readonly { readonly first: number; readonly last: number; readonly reason: 'crash' | 'damaged' }[]
  readonly isDamaged: boolean
}

export function recover({ nextPosition, reservedPosition }: Progress, epochs: readonly EpochRange[], mark: ProgressMark | null): Recovery {
  const lost: { first: number; last: number; reason: 'crash' | 'damaged' }[] = []
  if (reservedPosition >= nextPosition) lost.push({ first: nextPosition, last: reservedPosition, reason: 'crash' })
  const known = Math.max(nextPosition - 1, reservedPosition)
  if (mark === null || mark.lastPosition <= known) return { epochs, nextPosition: known + 1, lost, isDamaged: false }
  lost.push({ first: known + 1, last: mark.lastPosition, reason: 'damaged' })
  return { epochs: withEpochOf(mark, epochs, known), nextPosition: mark.lastPosition + 1, lost, isDamaged: true }
}

/** An epoch that the file has forgotten is known again, from where the mark says that it began. */
function withEpochOf(mark: ProgressMark, epochs: readonly EpochRange[], known: number): readonly EpochRange[] {
  if (epochs.some(({ epoch }) => epoch === mark.epoch)) return epochs
  const newest = epochs[epochs.length - 1]
  const base = Math.max(mark.base, known)
  return [...epochs.slice(0, -1), { ...newest, highestSeq: base - newest.base }, { epoch: mark.epoch, base, highestSeq: null }]
}
