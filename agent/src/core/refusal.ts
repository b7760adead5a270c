import { LOSSES_UNTIL_SUSPECT, REFUSALS_MAX } from '../limits.js'

/**
 * Tells a batch that the gateway refuses from a gateway that is unwell. Pure.
 *
 * MQTT 3.1.1 has no way to say no: a broker that will not take a message closes the connection. So does one that crashes,
 * restarts or has a full disk, and that must never cost a reading. Therefore:
 * - Two connections lost in a row with the same oldest batch unacked make that batch suspect.
 * - A suspect is sent alone, and only after a probe (a batch without readings) was acked on the same connection.
 * - Only a connection lost then, between the probe's PUBACK and the suspect's, is a refusal. Three of them halve the batch;
 *   at one reading they shed it.
 */
export type RefusalVerdict = 'send-again' | 'halve'

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
   * The connection closed. `halve` says that the suspect was refused often enough: the caller halves it, or sheds its only
   * reading, and then calls `begin` with what is left to try, or `clear`.
   * @param oldestSent the oldest batch that was sent on it and not acked
   */
  lost(oldestSent: number | null): RefusalVerdict {
    const refused = this.probed && oldestSent !== null && oldestSent === this.suspect
    this.probed = false
    if (refused) {
      this.refusals++
      return this.refusals >= REFUSALS_MAX ? 'halve' : 'send-again'
    }
    if (this.suspect !== null || oldestSent === null) return 'send-again'
    this.losses = oldestSent === this.lastLost ? this.losses + 1 : 1
    this.lastLost = oldestSent
    if (this.losses >= LOSSES_UNTIL_SUSPECT) this.begin(oldestSent)
    return 'send-again'
  }

  /** Whether `id` is the batch under suspicion. */
  suspects(id: number): boolean {
    return this.suspect === id
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
