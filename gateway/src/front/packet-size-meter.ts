/**
 * Follows the fixed headers of an MQTT byte stream (MQTT 3.1.1, section 2.2) and says when a packet is larger than allowed,
 * before its body is read: brokers buffer a whole packet before anyone is asked.
 */
export class PacketSizeMeter {
  /** Bytes of the current packet's body still to come. */
  private body = 0
  /** In a fixed header: the remaining length so far, and the weight of its next byte; weight 0 is the first byte. */
  private length = 0
  private weight = 0

  constructor(private readonly packetBytesMax: number) {}

  /** Takes the next bytes; false where a packet is too large or its length is malformed. */
  feed(chunk: Uint8Array): boolean {
    let at = 0
    while (at < chunk.length) {
      if (this.body > 0) {
        const taken = Math.min(this.body, chunk.length - at)
        this.body -= taken
        at += taken
        continue
      }
      const byte = chunk[at++]
      if (this.weight === 0) {
        this.weight = 1
        this.length = 0
        continue
      }
      this.length += (byte & 0x7f) * this.weight
      this.weight *= 128
      if (this.length > this.packetBytesMax || (byte & 0x80 && this.weight > 128 ** 3)) return false
      if (!(byte & 0x80)) {
        this.body = this.length
        this.weight = 0
      }
    }
    return true
  }
}
