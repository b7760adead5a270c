/** Which readings of a run have been found: one bit each, so that 100 million take 12.5 MB. */
export class SeenReadings {
  /** How many have been found. */
  found = 0
  private readonly bits: Uint8Array
  /** Where each device's bits begin. */
  private readonly offsets: Float64Array

  /** `seqs[i]`: the highest seq of the i-th device; they count from 1. */
  constructor(private readonly seqs: ArrayLike<number>) {
    this.offsets = new Float64Array(seqs.length)
    let total = 0
    for (let i = 0; i < seqs.length; i++) {
      this.offsets[i] = total
      total += seqs[i]
    }
    this.bits = new Uint8Array(Math.ceil(total / 8))
  }

  /** Whether the run had such a reading. */
  holds(i: number, seq: number): boolean {
    return seq >= 1 && seq <= this.seqs[i] && Number.isInteger(seq)
  }

  has(i: number, seq: number): boolean {
    const bit = this.offsets[i] + seq - 1
    return (this.bits[Math.floor(bit / 8)] & (1 << (bit % 8))) !== 0
  }

  /** Returns false where it had been found before. */
  add(i: number, seq: number): boolean {
    const bit = this.offsets[i] + seq - 1
    const at = Math.floor(bit / 8)
    const mask = 1 << (bit % 8)
    if ((this.bits[at] & mask) !== 0) return false
    this.bits[at] |= mask
    this.found++
    return true
  }
}
