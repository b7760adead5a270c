/**
 * Which readings a thinning keeps. Pure.
 * A tombstone says "only every n-th seq is kept", with n a power of two: thinning the same readings again with a greater n sheds
 * only more of them, so that tombstones that overlap add up.
 */

/** Above it none is kept: no run of readings is that long. */
const KEEP_EVERY_MAX = 2 ** 40

/** The least n of which at most half of the seqs are multiples; 0: none is kept. */
export function keepEveryFor(seqs: readonly number[]): number {
  const keptMax = Math.floor(seqs.length / 2)
  for (let n = 2; n <= KEEP_EVERY_MAX; n *= 2) if (seqs.filter(seq => seq % n === 0).length <= keptMax) return n
  return 0
}

export function isKept(seq: number, keepEvery: number): boolean {
  return keepEvery !== 0 && seq % keepEvery === 0
}
