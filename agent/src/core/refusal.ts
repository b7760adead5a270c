import { LOSSES_UNTIL_SUSPECT, REFUSALS_UNTIL_HALVED, REFUSALS_UNTIL_SHED } from '../limits.js'

/**
 * Tells a batch that the gateway refuses from a gateway that is unwell. Pure.
 *
 * MQTT 3.1.1 has no way to say no: a broker that will not take a message closes the connection. So does one that crashes,
 * restarts or has a full disk, and that must never cost a reading. Therefore:
 * - Two connections lost in a row with the same oldest batch unacked make that batch suspect.
 * - A suspect is sent alone, and only after a probe (a batch without readings) was acked on the same connection.
 * - Only a connection lost then, between the probe's PUBACK and the suspect's, is a refusal. Three of them halve the batch,
 *   ten shed one that has a single reading: a line that breaks at every other message must not look like a refusal.
 */
export type RefusalVerdict = 'send-again' | 'halve' | 'shed'

/** What may be sent on a fresh connection. */
export type Admission = { readonly mode: 'all' } | { readonly mode: 'probe' } | { readonly mode: 'only'; readonly id: number }

export class RefusalTracker {
  private suspect: number | null = null
  private refusals = 0
  private probed = false
  private lastLost: number | null = null
  private losses = 0

  admission(): Admission {
    if (this.suspect === null) return { mode: 'all' }
    return this.probed ? { mode: 'only', id: this.suspect } : { mode: 'probe' }
  }

  /** The probe was acked: the gateway takes batches, so the suspect may be tried. */
  probeAcked(): void {
    this.probed = this.suspect !== null
  }

  /** A batch was acked: whatever was wrong with the connection, it is not the gateway's health. */
  acked(id: number): void {
    this.lastLost = null
    this.losses = 0
    if (id === this.suspect) this.clear()
  }

  /**
   * The connection closed. `halve` and `shed` say that the suspect was refused often enough: the caller does it, and then calls
   * `begin` with the first half, or `clear`.
   * @param oldest the oldest batch that was sent on it and not acked
   */
  lost(oldest: { readonly id: number; readonly count: number } | null): RefusalVerdict {
    const refused = this.probed && oldest !== null && oldest.id === this.suspect
    this.probed = false
    if (refused) {
      this.refusals++
      if (oldest.count > 1) return this.refusals >= REFUSALS_UNTIL_HALVED ? 'halve' : 'send-again'
      return this.refusals >= REFUSALS_UNTIL_SHED ? 'shed' : 'send-again'
    }
    if (this.suspect !== null || oldest === null) return 'send-again'
    this.losses = oldest.id === this.lastLost ? this.losses + 1 : 1
    this.lastLost = oldest.id
    if (this.losses >= LOSSES_UNTIL_SUSPECT) this.begin(oldest.id)
    return 'send-again'
  }

  begin(id: number): void {
    this.suspect = id
    this.refusals = 0
    this.probed = false
  }

  clear(): void {
    this.suspect = null
    this.refusals = 0
    this.probed = false
    this.lastLost = null
    this.losses = 0
  }
}
