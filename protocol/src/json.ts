import { z } from 'zod'
import { isTime } from './batch-parts.js'
import { nestsWithin } from './json-bounds.js'
import { EVENT_ID_LENGTH_MAX, JSON_DEPTH_MAX, NAME_LENGTH_MAX, PAYLOAD_BYTES_MAX, READINGS_PER_BATCH_MAX } from './limits.js'
import type { RejectReason } from './reject.js'
import { isWellFormed } from './text.js'

/** A reading of a device that does not run the agent: metrics by name, an event ID of the device's own making. */
export interface JsonReading {
  readonly eventId: string
  /** Unix ms. */
  readonly eventTimeMs: number
  /** null: the device's default profile, from the gateway's registry. */
  readonly profile: string | null
  /** Everything else in the object, by name, unjudged. */
  readonly fields: ReadonlyMap<string, unknown>
}

export type JsonItem =
  | { readonly ok: true; readonly reading: JsonReading }
  | { readonly ok: false; readonly reason: RejectReason; readonly detail: string }

const envelope = z.looseObject({
  // two IDs that differ in a lone surrogate alone would be stored as the same
  event_id: z.string().min(1).max(EVENT_ID_LENGTH_MAX).refine(isWellFormed, 'a surrogate lacks its partner'),
  event_time: z.union([z.number(), z.string().max(40)]),
  profile: z.string().max(NAME_LENGTH_MAX).nullish()
})

const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * Reads a JSON message: one object or an array of them. Total: null where it is neither, or exceeds limits.ts. An element of the
 * array that is no object is refused by itself.
 */
export function decodeJson(payload: Uint8Array): JsonItem[] | null {
  if (payload.length > PAYLOAD_BYTES_MAX || !nestsWithin(payload, JSON_DEPTH_MAX)) return null
  let value: unknown
  try {
    value = JSON.parse(utf8.decode(payload))
  } catch {
    return null
  }
  if (Array.isArray(value)) return value.length <= READINGS_PER_BATCH_MAX ? value.map(readItem) : null
  return isObject(value) ? [readItem(value)] : null
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function readItem(item: unknown): JsonItem {
  if (!isObject(item)) return { ok: false, reason: 'undecodable', detail: 'a reading is a JSON object' }
  const fields = new Map<string, unknown>(Object.entries(item))
  const checked = envelope.safeParse({
    event_id: fields.get('event_id'),
    event_time: fields.get('event_time'),
    profile: fields.get('profile')
  })
  if (!checked.success) {
    const issue = checked.error.issues[0]
    const reason =
      issue.path[0] === 'event_time' ? 'event-time-invalid' : issue.path[0] === 'profile' ? 'unknown-profile' : 'event-id-invalid'
    return { ok: false, reason, detail: `${issue.path.join('.')}: ${issue.message}` }
  }
  const { event_id: eventId, event_time: time, profile } = checked.data
  const eventTimeMs = typeof time === 'string' ? rfc3339Ms(time) : isTime(time) ? time + 0 : null // + 0: -0 is 0
  if (eventTimeMs === null)
    return { ok: false, reason: 'event-time-invalid', detail: 'event_time is neither RFC 3339 with a zone nor whole Unix ms' }
  for (const name of ['event_id', 'event_time', 'profile']) fields.delete(name)
  return { ok: true, reading: { eventId, eventTimeMs, profile: profile ?? null, fields } }
}

const RFC3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d{1,9})?(?:[Zz]|([+-])(\d\d):(\d\d))$/

/** RFC 3339 with a zone, in Unix ms (what is finer than a ms is cut off); null where it is none, or no day of the calendar. */
export function rfc3339Ms(text: string): number | null {
  const match = RFC3339.exec(text)
  if (!match) return null
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number)
  const milliseconds = Math.floor(Number((match[7] ?? '.0').slice(0, 4)) * 1000 + 1e-6)
  const local = Date.UTC(year, month - 1, day, hour, minute, second, milliseconds)
  const date = new Date(local)
  if (year < 100 || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59) return null
  const [zoneHours, zoneMinutes] = [Number(match[9] ?? 0), Number(match[10] ?? 0)]
  if (zoneHours > 23 || zoneMinutes > 59) return null
  const offsetMs = (zoneHours * 60 + zoneMinutes) * 60_000
  return match[8] === '-' ? local + offsetMs : local - offsetMs
}
