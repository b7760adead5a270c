/**
 * Shared memory for the columns of many rows, lent to one flush after another. Garbage collection does not count shared memory: what
 * a flush has done with would stay until something else makes both threads that saw it collect, some flushes later.
 */

const BYTES_MIN = 4096

/** What no flush has needed for so many is let go. */
const ROUNDS_KEPT = 4

const PRESSING_BYTES_MAX = 256 * 1024 * 1024

interface Free {
  readonly memory: SharedArrayBuffer
  /** The round in which it came back. */
  readonly round: number
}

export class RowMemory {
  /** By size, the smallest first. */
  private free: Free[] = []
  private round = 0

  /** At least so many bytes, whatever they hold. The caller's alone until given back. */
  take(bytes: number): SharedArrayBuffer {
    const at = this.free.findIndex(({ memory }) => memory.byteLength >= bytes)
    return at < 0 ? new SharedArrayBuffer(Math.max(bytes, BYTES_MIN)) : this.free.splice(at, 1)[0].memory
  }

  /** Takes back what `take` gave. Nobody may read it any more. */
  give(memory: SharedArrayBuffer): void {
    const at = this.free.findIndex(free => free.memory.byteLength > memory.byteLength)
    this.free.splice(at < 0 ? this.free.length : at, 0, { memory, round: this.round })
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

/** Memory that counts takes the place of as much that does not, for a moment and without being touched: garbage is collected soon. */
function pressCollection(bytes: number): void {
  new ArrayBuffer(Math.min(bytes, PRESSING_BYTES_MAX))
}
