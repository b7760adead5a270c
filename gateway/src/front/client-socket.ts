/**
 * A client's socket that costs little, because there are many.
 *
 * - Its reads land in one buffer that all sockets of the process share. Otherwise Node takes 64 KiB for each read, shrinks them, and
 *   makes an ArrayBuffer, a Buffer and a pass through a stream of them: more than a device's message costs besides.
 * - What is sent goes to the kernel without a pass through Node's stream, as long as the kernel takes all of it. The stream of a socket
 *   is a dozen objects, which are in no cache when a device is acked once in seconds; and it makes some more for every write.
 *
 * Only a socket that is made with `onread` reads so, and a server makes its sockets without. So this one takes over the handle of the
 * one that was accepted, which must not have begun to read.
 */
import { writeSync } from 'node:fs'
import { Socket, type SocketConstructorOpts } from 'node:net'

/** Whoever takes what a client sends. */
export interface Reader {
  /** `chunk` is a view that holds until this returns: copy it to keep it. */
  feed(chunk: Buffer): void
}

const BYTES = 64 * 1024

const shared = Buffer.allocUnsafeSlow(BYTES)

const NONE = -1

interface WithHandle {
  _handle: { readonly fd?: number } | null
}

export class ClientSocket extends Socket {
  reader!: Reader
  /** To write to without the stream; `NONE`: the stream has data of its own, or there is no such number, or none any more. */
  private fd = NONE

  /** Reads nothing before `resume`; set `reader` first. */
  constructor(accepted: Socket) {
    const held = accepted as unknown as WithHandle
    const options = {
      handle: held._handle,
      pauseOnCreate: true,
      onread: {
        buffer: shared,
        callback: (bytes: number): boolean => {
          this.reader.feed(shared.subarray(0, bytes))
          return true
        }
      }
    }
    held._handle = null
    super(options as SocketConstructorOpts)
    this.sendDirectly()
  }

  /** Sends `bytes`, which may be used again when it returns. False where some of them have to wait. */
  send(bytes: Buffer): boolean {
    const sent = this.fd === NONE ? 0 : writeSome(this.fd, bytes)
    if (sent === bytes.length) return true
    this.fd = NONE // what the kernel does not take now has to wait, and all that comes behind it; or the stream will meet the error
    if (!this.destroyed) this.write(Buffer.from(bytes.subarray(sent)), this.sendDirectly)
    return false
  }

  /** Here alone the descriptor is closed: from now on its number may be that of another socket. */
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.fd = NONE
    super._destroy(error, callback)
  }

  private readonly sendDirectly = (): void => {
    if (!this.destroyed && this.writableLength === 0) this.fd = (this as unknown as WithHandle)._handle?.fd ?? NONE
  }
}

/** How many bytes the kernel takes at once; 0 also where it cannot take any. */
function writeSome(fd: number, bytes: Buffer): number {
  try {
    return writeSync(fd, bytes)
  } catch {
    return 0
  }
}
