import { Duplex } from 'node:stream'
import type { ClientSocket, Reader } from './client-socket.js'
import { PacketSizeMeter } from './packet-size-meter.js'

/** A packet of a client is larger than the front takes. */
export class PacketTooLargeError extends Error {
  readonly code = 'PACKET_TOO_LARGE'
  constructor(readonly packetBytesMax: number) {
    super(`an MQTT packet of more than ${packetBytesMax} bytes, or one with a malformed length`)
  }
}

/**
 * A client's socket as the broker sees it: bytes pass in both directions, but too large a packet ends the connection before
 * it is buffered, and `hold` stops the reading while the client has too much unacked.
 *
 * A connection that was served otherwise before begins with the bytes that were `seen` then, and the first `unsentBytes` of what the
 * broker writes, which the client has had already, are not sent.
 */
export class MeteredConnection extends Duplex implements Reader {
  readonly remote: string
  private readonly meter: PacketSizeMeter
  private isHeld = false
  private wantsMore = false

  constructor(
    private readonly socket: ClientSocket,
    private readonly packetBytesMax: number,
    seen: Buffer | null = null,
    private unsentBytes = 0
  ) {
    super({ allowHalfOpen: false })
    this.remote = `${socket.remoteAddress}:${socket.remotePort}`
    this.meter = new PacketSizeMeter(packetBytesMax)
    socket.pause()
    socket.reader = this
    socket.on('end', () => this.push(null))
    socket.on('error', error => this.destroy(error))
    socket.on('close', () => this.destroy())
    if (seen === null || seen.length === 0) return
    if (this.meter.feed(seen)) this.push(seen)
    else process.nextTick(() => this.destroy(new PacketTooLargeError(packetBytesMax)))
  }

  feed(chunk: Buffer): void {
    if (!this.meter.feed(chunk)) this.destroy(new PacketTooLargeError(this.packetBytesMax))
    else if (!this.push(Buffer.from(chunk))) this.stop()
  }

  /** Reads no more until `release`. */
  hold(): void {
    this.isHeld = true
    this.socket.pause()
  }

  release(): void {
    this.isHeld = false
    if (this.wantsMore) this.socket.resume()
  }

  override _read(): void {
    this.wantsMore = true
    if (!this.isHeld) this.socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.socket.write(this.behindUnsent(chunk), done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.socket.cork()
    for (const [i, { chunk }] of chunks.entries()) {
      if (i === chunks.length - 1) this.socket.write(this.behindUnsent(chunk), done)
      else this.socket.write(this.behindUnsent(chunk))
    }
    this.socket.uncork()
  }

  override _final(done: () => void): void {
    this.socket.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.socket.destroy()
    done(error)
  }

  /** What is left to send of what the broker writes. */
  private behindUnsent(chunk: Buffer): Buffer {
    if (this.unsentBytes === 0) return chunk
    const unsent = Math.min(this.unsentBytes, chunk.length)
    this.unsentBytes -= unsent
    return chunk.subarray(unsent)
  }

  private stop(): void {
    this.wantsMore = false
    this.socket.pause()
  }
}
