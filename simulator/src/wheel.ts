/**
 * A timing wheel: many things to wake up at some time, none of which needs a timer of its own. Adding one and waking it cost the same
 * however many there are. Times are in ms of the caller's clock; waking is up to one slot late, never early.
 */
export class Wheel {
  private readonly slots: { id: number; atMs: number }[][]
  private slot: number

  /** Delays up to slots * slotMs go round once; longer ones are looked at once a round. */
  constructor(
    nowMs: number,
    private readonly slotMs = 50,
    slots = 1024
  ) {
    this.slots = Array.from({ length: slots }, () => [])
    this.slot = Math.floor(nowMs / slotMs)
  }

  /** Wakes `id` at `atMs`, which may be past. */
  add(id: number, atMs: number): void {
    const slot = Math.max(this.slot + 1, Math.ceil(atMs / this.slotMs))
    this.slots[slot % this.slots.length].push({ id, atMs })
  }

  /** Calls `wake` for everything that is due at `nowMs`. */
  advance(nowMs: number, wake: (id: number) => void): void {
    const until = Math.floor(nowMs / this.slotMs)
    const first = Math.max(this.slot + 1, until - this.slots.length + 1)
    for (let slot = first; slot <= until; slot++) {
      this.slot = slot
      const entries = this.slots[slot % this.slots.length]
      if (entries.length === 0) continue
      this.slots[slot % this.slots.length] = entries.filter(entry => entry.atMs > nowMs)
      for (const entry of entries) if (entry.atMs <= nowMs) wake(entry.id)
    }
    this.slot = Math.max(this.slot, until)
  }
}
