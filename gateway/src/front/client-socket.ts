/**
 * A client's socket, whose reads land in one buffer that all sockets of the process share. Otherwise Node takes 64 KiB for each read,
 * shrinks them, and makes an ArrayBuffer, a Buffer and a pass through a stream of them: more than a device's message costs besides.
 *
 * Only a socket that is made with `onread` reads so, and a server makes its sockets without. So this one takes over the handle of the
 * one that was accepted, which must not have begun to read.
 */
import { Socket, type SocketConstructorOpts } from 'node:net'

/** Whoever takes what a client sends. */
export interface Reader {
  /** `chunk` is a view that holds until this returns: copy it to keep it. */
  feed(chunk: Buffer): void
}

const BYTES = 64 * 1024

const shared = Buffer.allocUnsafeSlow(BYTES)

interface WithHandle {
  _handle: object | null
}

export class ClientSocket extends Socket {
  reader!: Reader

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
  }
}
