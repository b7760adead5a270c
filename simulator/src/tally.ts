/** What a fleet counts while it runs. */
import type { Publication } from './publication.js'

export class Tally {
  /** PUBLISHes sent, each once however often it was redelivered; marks not counted. */
  published = 0
  /** Of those, the acked ones. */
  acked = 0
  readingsAcked = 0
  duplicatesSent = 0
  heldBackSent = 0
  lateSent = 0
  poisonSent = 0
  payloadBytes = 0
  redelivered = 0
  /** Connections that were open and got lost. */
  disconnects = 0

  sent({ kind, fault, payload }: Publication): void {
    this.published++
    this.payloadBytes += payload.length
    if (kind === 'duplicate') this.duplicatesSent++
    if (kind !== 'reading') return
    if (fault === 'held-back') this.heldBackSent++
    else if (fault === 'clock-back') this.lateSent++
    else if (fault === 'out-of-range' || fault === 'future' || fault === 'undecodable') this.poisonSent++
  }
}
