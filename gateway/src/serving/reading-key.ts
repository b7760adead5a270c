/** The order in which readings of a device are served, and where an answer ended: the cursor of the next one. */
import { z } from 'zod'
import { READING } from '../processor/layouts.js'
import { cellAt, type RowTable } from '../processor/row-table.js'

/** Event time (Unix ms), epoch and seq (0: none), opaque event ID (empty: none), ingest time (Unix ms). No two readings of a device share it. */
export type ReadingKey = readonly [eventTimeMs: number, epoch: number, seq: number, eventId: string, ingestMs: number]

/** The same as SQL over the archive's columns. */
export const READING_KEY_SQL = "event_time, coalesce(epoch, 0), coalesce(seq, 0), coalesce(event_id, ''), ingest_time"

const keySchema = z.tuple([z.int(), z.int(), z.int(), z.string().max(512), z.int()])

/** Less than, equal to or above 0, as sorting wants it; event IDs by their bytes in UTF-8, as DuckDB has them. */
export function compareKeys(a: ReadingKey, b: ReadingKey): number {
  for (const k of [0, 1, 2] as const) if (a[k] !== b[k]) return a[k] - b[k]
  if (a[3] !== b[3]) return Buffer.compare(Buffer.from(a[3]), Buffer.from(b[3]))
  return a[4] - b[4]
}

/** The key that is before every reading measured at that time or later, and behind all others. */
export function keyBefore(eventTimeMs: number): ReadingKey {
  return [eventTimeMs, -1, 0, '', 0]
}

export function keyAt(table: RowTable, place: number): ReadingKey {
  return [
    Number(cellAt(table, READING.eventTime, place)),
    Number(cellAt(table, READING.epoch, place) ?? 0),
    Number(cellAt(table, READING.seq, place) ?? 0),
    String(cellAt(table, READING.eventId, place) ?? ''),
    Number(cellAt(table, READING.ingestTime, place))
  ]
}

export function encodeCursor(key: ReadingKey): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url')
}

/** null where it is none that we made. */
export function decodeCursor(text: string): ReadingKey | null {
  try {
    return keySchema.parse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')))
  } catch {
    return null
  }
}
