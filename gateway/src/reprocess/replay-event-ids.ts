/**
 * The opaque event IDs of a replay: those of the gateway, which are only read, and beside them what the replay adds, in a store that is
 * thrown away. The gateway's are ahead of the replay; positions tell what it has come to (processor/event-ids.ts).
 */
import { existsSync } from 'node:fs'
import { SqliteEventIdStore } from '../event-id-store.js'
import { EVENT_ID_KEPT_MS, type EventIdStore, type Position } from '../processor/event-ids.js'
import { type Database, Sqlite } from '../sqlite.js'

export class ReplayEventIds implements EventIdStore {
  private readonly known: Database | null
  private readonly added: SqliteEventIdStore
  private readonly find
  private readonly holds
  private readonly sum

  /** `knownPath`: the gateway's store, if there is one; `addedPath`: a file that is the caller's to delete. */
  constructor(knownPath: string, addedPath: string) {
    this.known = existsSync(knownPath) ? new Sqlite(knownPath, { readonly: true }) : null
    this.added = new SqliteEventIdStore(addedPath)
    const at = 'FROM event_ids WHERE device_id = ? AND event_id = ? AND'
    this.find = this.known?.prepare<[string, string, number, number, number]>(`SELECT 1 ${at} (entry, place) < (?, ?) AND ingest_ms >= ?`)
    this.holds = this.known?.prepare<[string, string, number, number]>(`SELECT 1 ${at} entry = ? AND place = ?`)
    this.sum = this.known?.prepare<[number, number], { bytes: number | null }>(
      'SELECT sum(bytes) AS bytes FROM event_ids WHERE ingest_ms >= ? AND ingest_ms < ?'
    )
  }

  /** Whether a replay from `ingestMs` on finds all IDs that were remembered then. */
  reachesBack(ingestMs: number): boolean {
    if (this.known === null) return false
    const row = this.known.prepare<[], { throughMs: number }>('SELECT through_ms AS throughMs FROM purged').get()
    return row === undefined || row.throughMs <= ingestMs - EVENT_ID_KEPT_MS
  }

  has(deviceId: string, eventId: string, before: Position, sinceMs: number): boolean {
    const { entry, place } = before
    return this.find?.get(deviceId, eventId, entry, place, sinceMs) !== undefined || this.added.has(deviceId, eventId, before, sinceMs)
  }

  add(deviceId: string, eventId: string, at: Position, ingestMs: number): void {
    if (this.holds?.get(deviceId, eventId, at.entry, at.place) === undefined) this.added.add(deviceId, eventId, at, ingestMs)
  }

  bytesBetween(fromMs: number, toMs: number): number {
    return (this.sum?.get(fromMs, toMs)?.bytes ?? 0) + this.added.bytesBetween(fromMs, toMs)
  }

  close(): void {
    this.known?.close()
    this.added.close()
  }
}
