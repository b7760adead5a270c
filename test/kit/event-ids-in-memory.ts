import { type EventIdStore, eventIdBytes, type Position } from '../../gateway/src/processor/event-ids.js'

interface Seen extends Position {
  readonly ingestMs: number
}

/** What `SqliteEventIdStore` promises, in a Map. */
export class EventIdsInMemory implements EventIdStore {
  private readonly seen = new Map<string, Seen[]>()

  has(deviceId: string, eventId: string, before: Position, sinceMs: number): boolean {
    const isBefore = ({ entry, place }: Seen) => entry < before.entry || (entry === before.entry && place < before.place)
    return (this.seen.get(keyOf(deviceId, eventId)) ?? []).some(seen => isBefore(seen) && seen.ingestMs >= sinceMs)
  }

  add(deviceId: string, eventId: string, { entry, place }: Position, ingestMs: number): void {
    const all = this.seen.get(keyOf(deviceId, eventId)) ?? []
    if (all.some(seen => seen.entry === entry && seen.place === place)) return
    this.seen.set(keyOf(deviceId, eventId), [...all, { entry, place, ingestMs }])
  }

  bytesBetween(fromMs: number, toMs: number): number {
    let bytes = 0
    for (const [key, all] of this.seen) {
      const [deviceId, eventId] = JSON.parse(key) as [string, string]
      for (const { ingestMs } of all) if (ingestMs >= fromMs && ingestMs < toMs) bytes += eventIdBytes(deviceId, eventId)
    }
    return bytes
  }
}

function keyOf(deviceId: string, eventId: string): string {
  return JSON.stringify([deviceId, eventId])
}
