/**
 * The quarantine as its commands ask for it: counts, rows, and the messages that a requeue gives to the processor again. Reads only,
 * and only what is unresolved.
 */
import { DuckDBBlobValue, type DuckDBConnection, DuckDBListValue, DuckDBStructValue, type DuckDBValue } from '@duckdb/node-api'
import { decodeJson } from '@tidemark/protocol'
import { UNDECODABLE_JSON } from '../processor/ingest-json.js'
import type { Requeue } from '../processor/requeue.js'
import { quoteText } from './parquet.js'
import { type ArchiveState, rejected, unresolved } from './views.js'

/** Which rows are meant: all conditions hold. */
export interface QuarantineFilter {
  readonly reason?: string | undefined
  readonly deviceId?: string | undefined
  /** Ingest time, Unix ms: [fromMs, toMs). */
  readonly fromMs?: number | undefined
  readonly toMs?: number | undefined
}

/** The rows of the quarantine that fit the filter, as SQL. `from` begins with FROM, or with what follows `SELECT *`. */
export function selectQuarantined(filter: QuarantineFilter, from: string): string {
  const conditions = [
    filter.reason === undefined ? '' : `reason = ${quoteText(filter.reason)}`,
    filter.deviceId === undefined ? '' : `device_id = ${quoteText(filter.deviceId)}`,
    filter.fromMs === undefined ? '' : `ingest_time >= make_timestamptz(${filter.fromMs * 1000})`,
    filter.toMs === undefined ? '' : `ingest_time < make_timestamptz(${filter.toMs * 1000})`
  ].filter(condition => condition !== '')
  return `SELECT * ${from} WHERE ${['true', ...conditions].join(' AND ')}`
}

/** A row of the quarantine, as far as it says which reading it stands for. */
export interface QuarantinedReading {
  readonly seq: number | null
  readonly eventId: string | null
  readonly accounted: boolean
  readonly reason: string
  readonly detail: string | null
  /** The profile under which it was counted. */
  readonly profile: string | null
}

/** A message, and the rows that it caused. */
export interface QuarantinedMessage {
  readonly deviceId: string
  readonly entry: number
  readonly frameIndex: number
  readonly ingestMs: number
  readonly kind: 'batch' | 'json'
  readonly payload: Uint8Array
  readonly readings: readonly QuarantinedReading[]
}

/**
 * What to requeue of a message; null where no row of it can be given again: a part of a JSON array that was refused for want of
 * an event ID cannot be told from its neighbours.
 */
export function requeueOf(message: QuarantinedMessage, run: { readonly run: string; readonly asOfEntry: number }): Requeue | null {
  const { entry, frameIndex, ingestMs, kind, payload } = message
  const given = message.readings.filter(reading => canBeGivenAgain(kind, reading))
  const named = given.filter(reading => !isAnonymous(reading))
  const identities = (of: readonly QuarantinedReading[]) => [...new Set(of.map(({ seq, eventId }) => (eventId ?? seq)!))]
  if (given.length === 0) return null
  return {
    ...run,
    entry,
    frameIndex,
    ingestMs,
    kind,
    accounted: identities(named.filter(reading => reading.accounted)),
    unaccounted: identities(named.filter(reading => !reading.accounted)),
    ...defaultProfileOf(message),
    isWhole: named.length < given.length,
    payload
  }
}

/** Of JSON: the profile of the rows whose readings name none. */
function defaultProfileOf({ kind, payload, readings }: QuarantinedMessage): Pick<Requeue, 'defaultProfile'> {
  if (kind !== 'json') return {}
  const named = new Map<string, string | null>()
  for (const item of decodeJson(payload) ?? []) {
    if (item.ok && !named.has(item.reading.eventId)) named.set(item.reading.eventId, item.reading.profile) // copies have no row
  }
  const row = readings.find(({ eventId }) => eventId !== null && named.get(eventId) === null)
  return row === undefined ? {} : { defaultProfile: row.profile }
}

export function canBeGivenAgain(kind: 'batch' | 'json', reading: QuarantinedReading): boolean {
  return kind === 'batch' || !isAnonymous(reading) || reading.reason === 'device-limit' || reading.detail === UNDECODABLE_JSON
}

function isAnonymous({ seq, eventId }: QuarantinedReading): boolean {
  return seq === null && eventId === null
}

/** The messages with rows that fit the filter, in the order of their offsets; DuckDB holds back what is not asked for yet. */
export async function* quarantinedMessages(
  connection: DuckDBConnection,
  state: ArchiveState,
  filter: QuarantineFilter
): AsyncGenerator<QuarantinedMessage> {
  const rows = unresolved(state, selectQuarantined(filter, `EXCLUDE (payload) FROM (${rejected(state)})`))
  const messages = `SELECT entry, frame_index, min(device_id) AS device_id, min(ingest_time) AS ingest_time, min(kind) AS kind,
    list({ seq: seq, event_id: event_id, accounted: accounted, reason: reason, detail: detail, profile: profile } ORDER BY seq, event_id) AS readings
    FROM (${rows}) GROUP BY entry, frame_index`
  const result = await connection.stream(`SELECT m.device_id, m.entry, m.frame_index, epoch_ms(m.ingest_time), m.kind, m.readings, p.payload
    FROM (${messages}) AS m JOIN (SELECT entry, frame_index, payload FROM (${rejected(state)}) WHERE payload IS NOT NULL) AS p
    ON p.entry = m.entry AND p.frame_index = m.frame_index ORDER BY m.entry, m.frame_index`)
  for await (const chunk of result.yieldRows()) for (const row of chunk) yield messageOf(row)
}

function messageOf([deviceId, entry, frameIndex, ingestMs, kind, readings, payload]: readonly DuckDBValue[]): QuarantinedMessage {
  return {
    deviceId: String(deviceId),
    entry: Number(entry),
    frameIndex: Number(frameIndex),
    ingestMs: Number(ingestMs),
    kind: kind === 'json' ? 'json' : 'batch',
    payload: payload instanceof DuckDBBlobValue ? payload.bytes : new Uint8Array(0),
    readings: readings instanceof DuckDBListValue ? readings.items.map(readingOf) : []
  }
}

function readingOf(value: DuckDBValue): QuarantinedReading {
  if (!(value instanceof DuckDBStructValue)) throw new Error('a row of the quarantine is no struct')
  const { seq, event_id: eventId, accounted, reason, detail, profile } = value.entries
  return {
    seq: seq === null ? null : Number(seq),
    eventId: eventId === null ? null : String(eventId),
    accounted: accounted === true,
    reason: String(reason),
    detail: detail === null ? null : String(detail),
    profile: profile === null ? null : String(profile)
  }
}
