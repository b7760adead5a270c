/**
 * Shared memory for the columns of many rows, lent to one flush after another. Garbage collection does not count shared memory: what
 * a flush has done with would stay until something else makes both threads that saw it collect, some flushes later.
 */

const BYTES_MIN = 4096

/** Sizes between a power of two and the next: so much more than is asked for is not used, and costs nothing. */
const SIZES_PER_DOUBLING = 8

/** What is not needed while so many flushes come is let go. */
const ROUNDS_KEPT = 1

const PRESSING_BYTES_MAX = 256 * 1024 * 1024

interface Free {
  readonly memory: SharedArrayBuffer
  /** How many were made before it. */
  readonly number: number
  /** The round in which it came back. */
  readonly round: number
}

export class RowMemory {
  /** The oldest first. */
  private free: Free[] = []
  private round = 0
  private readonly numbers = new WeakMap<SharedArrayBuffer, number>()
  private made = 0

  /**
   * At least so many bytes, whatever they hold. The caller's alone until given back. The oldest that fits: one that is needed only now and
   * then, as where the rows of a flush lie in two hours, is not written to meanwhile, and is let go.
   */
  take(bytes: number): SharedArrayBuffer {
    const size = sizeFor(bytes)
    const at = this.free.findIndex(({ memory }) => memory.byteLength === size)
    if (at >= 0) return this.free.splice(at, 1)[0].memory
    const memory = new SharedArrayBuffer(size)
    this.numbers.set(memory, this.made++)
    return memory
  }

  /** Takes back what `take` gave. Nobody may read it any more. */
  give(memory: SharedArrayBuffer): void {
    const number = this.numbers.get(memory)!
    const at = this.free.findIndex(free => free.number > number)
    this.free.splice(at < 0 ? this.free.length : at, 0, { memory, number, round: this.round })
  }

  /** A flush is done with. */
  endRound(): void {
    this.round++
    const kept = this.free.filter(({ round }) => this.round - round <= ROUNDS_KEPT)
    if (kept.length === this.free.length) return
    const before = this.freeBytes
    this.free = kept
    pressCollection(before - this.freeBytes)
  }

  /** Bytes that nobody has. */
  get freeBytes(): number {
    return this.free.reduce((sum, { memory }) => sum + memory.byteLength, 0)
  }
}

/** One of few sizes, so that a flush of a few rows more than the last finds what that had. */
function sizeFor(bytes: number): number {
  if (bytes <= BYTES_MIN) return BYTES_MIN
  const step = 2 ** Math.floor(Math.log2(bytes)) / SIZES_PER_DOUBLING
  return Math.ceil(bytes / step) * step
}

/** Memory that counts takes the place of as much that does not, for a moment and without being touched: garbage is collected soon. */
function pressCollection(bytes: number): void {
  new ArrayBuffer(Math.min(bytes, PRESSING_BYTES_MAX))
}
