/** A model of the store of opaque event IDs: what was added since the last commit is gone after a crash. */
import { type EventIdStore, eventIdBytes, type Position } from '@tidemark/gateway/dist/processor/event-ids.js'

interface Seen extends Position {
  readonly ingestMs: number
  readonly bytes: number
}

export class SimulatedEventIds implements EventIdStore {
  private durable = new Map<string, readonly Seen[]>()
  private current = new Map<string, readonly Seen[]>()

  /** `isBlind`: the planted bug that takes a reading for a duplicate of itself. */
  constructor(private readonly isBlind = false) {}

  has(deviceId: string, eventId: string, before: Position, sinceMs: number): boolean {
    const seen = this.current.get(`${deviceId} ${eventId}`) ?? []
    return seen.some(
      ({ entry, place, ingestMs }) =>
        ingestMs >= sinceMs && (this.isBlind || entry < before.entry || (entry === before.entry && place < before.place))
    )
  }

  add(deviceId: string, eventId: string, { entry, place }: Position, ingestMs: number): void {
    const key = `${deviceId} ${eventId}`
    const seen = this.current.get(key) ?? []
    if (seen.some(each => each.entry === entry && each.place === place)) return
    this.current.set(key, [...seen, { entry, place, ingestMs, bytes: eventIdBytes(deviceId, eventId) }])
  }

  bytesBetween(fromMs: number, toMs: number): number {
    let sum = 0
    for (const seen of this.current.values()) {
      for (const { ingestMs, bytes } of seen) if (ingestMs >= fromMs && ingestMs < toMs) sum += bytes
    }
    return sum
  }

  commit(): void {
    this.durable = new Map(this.current)
  }

  crash(): void {
    this.current = new Map(this.durable)
  }
}
