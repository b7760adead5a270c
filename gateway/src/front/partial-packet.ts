/** A packet that has come in part. Its buffer grows by doubling, so that an announced length alone costs no memory. */
import { packetBytes } from './light-packets.js'

const BYTES_START = 256

export class PartialPacket {
  bytes: Buffer
  used: number

  /** Begins with the bytes of `chunk` from `at` on. */
  constructor(
    chunk: Buffer,
    at: number,
    private readonly remainingMax: number
  ) {
    this.used = chunk.length - at
    this.bytes = Buffer.allocUnsafeSlow(Math.max(BYTES_START, this.used))
    chunk.copy(this.bytes, 0, at)
  }

  /** Takes what it lacks from the beginning of `chunk`; returns how many bytes that was, or -1 where its length is malformed or too large. */
  complete(chunk: Buffer): number {
    let at = 0
    for (;;) {
      const whole = packetBytes(this.bytes, 0, this.used, this.remainingMax)
      if (whole < 0) return -1
      if (whole === this.used || at === chunk.length) return at
      // one byte of the head at a time, so that none of the next packet is taken
      const taken = whole === 0 ? 1 : Math.min(whole - this.used, chunk.length - at)
      this.reserve(this.used + taken, whole)
      chunk.copy(this.bytes, this.used, at, at + taken)
      this.used += taken
      at += taken
    }
  }

  get isWhole(): boolean {
    return packetBytes(this.bytes, 0, this.used, this.remainingMax) === this.used
  }

  private reserve(needed: number, whole: number): void {
    if (needed <= this.bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(whole, this.bytes.length * 2)))
    this.bytes.copy(grown, 0, 0, this.used)
    this.bytes = grown
  }
}
