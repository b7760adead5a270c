/**
 * A client's socket that costs little, because there are many: all of them read into one buffer, and what is written goes to the kernel
 * without a pass through Node's stream, as long as the kernel takes all of it. The stream of a socket is a dozen objects, which are in no
 * cache when a device sends once in seconds; and it makes some more for every write.
 */
import { writeSync } from 'node:fs'
import { Socket, type SocketConstructorOpts } from 'node:net'

/** Whoever uses a socket. */
export interface SocketOwner {
  /** The first `length` bytes of `received` have come; it is written to again when this returns. */
  onReceived(length: number): void
}

export const received = Buffer.alloc(64 * 1024)

const NONE = -1

interface WithHandle {
  readonly _handle: { readonly fd?: number } | null
}

export class WireSocket extends Socket {
  /** To write to without the stream; `NONE`: the stream has data of its own, or there is no such number, or none any more. */
  private fd = NONE

  constructor(owner: SocketOwner) {
    const onread = {
      buffer: received,
      callback: (length: number): boolean => {
        owner.onReceived(length)
        return true
      }
    }
    super({ onread } as SocketConstructorOpts)
    this.on('connect', this.writeDirectly)
  }

  /** Writes [start, end) of `bytes`, which must not change for a while. False: wait for `drain` before the next. */
  send(bytes: Buffer, start: number, end: number): boolean {
    const { fd } = this
    if (fd === NONE) return this.write(bytes.subarray(start, end), this.writeDirectly)
    const sent = writeSome(fd, bytes, start, end)
    if (sent === end - start) return true
    this.fd = NONE // what the kernel does not take now has to wait, and all that comes behind it; or the stream will meet the error
    return this.write(bytes.subarray(start + sent, end), this.writeDirectly)
  }

  /** Here alone the descriptor is closed: from now on its number may be that of another socket. */
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.fd = NONE
    super._destroy(error, callback)
  }

  private readonly writeDirectly = (): void => {
    if (!this.destroyed && this.writableLength === 0) this.fd = (this as unknown as WithHandle)._handle?.fd ?? NONE
  }
}

/** How many bytes the kernel takes at once; 0 also where it cannot take any. */
function writeSome(fd: number, bytes: Buffer, start: number, end: number): number {
  try {
    return writeSync(fd, bytes, start, end - start)
  } catch {
    return 0
  }
}
