/**
 * Reads the times of a recording. A text with a zone of its own (`Z`, `+01:00`) says what it means; one without is local time in
 * the configured zone. luxon is loaded only for zones other than UTC and for formats of its own.
 */

import type { DateTime } from 'luxon'

/** Unix ms, or null where the text is no time. */
export type TimeReader = (text: string) => number | null

const ISO = /^(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T ](\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?\s?(Z|z|[+-]\d\d(?::?\d\d)?)?$/
const UNIX = /^-?\d{1,16}(\.\d+)?$/
/** Unix ms since 2000 have 12 digits and more; shorter numbers might be anything and are not guessed at. */
const UNIX_MS_DIGITS_MIN = 12

const QUARTER_MS = 15 * 60_000

interface LocalTime {
  readonly year: number
  readonly month: number
  readonly day: number
  readonly hour: number
  readonly minute: number
  readonly second: number
  readonly millisecond: number
}

/**
 * @param zone IANA name
 * @param format `auto` (ISO 8601 or Unix ms), `unix_ms`, `unix_s`, or tokens as luxon knows them, like `dd.MM.yyyy HH:mm:ss`
 */
export async function timeReader(zone: string, format: string): Promise<TimeReader> {
  if (format === 'unix_ms' || format === 'unix_s') {
    const scale = format === 'unix_s' ? 1000 : 1
    return text => (UNIX.test(text.trim()) ? wholeMs(Number(text) * scale) : null)
  }
  if (format !== 'auto') {
    const { DateTime } = await import('luxon')
    const hasOffset = /[Zz]/.test(format)
    return text => {
      const time = DateTime.fromFormat(text.trim(), format, { zone, locale: 'en' })
      if (!time.isValid) return null
      return hasOffset ? time.toMillis() : first(time)
    }
  }
  const toMs = isUtc(zone) ? utcMs : await zonedMs(zone)
  return text => readTime(text.trim(), toMs)
}

/** Whether local time in the zone is UTC. */
function isUtc(zone: string): boolean {
  return /^(etc\/)?(utc|uct|gmt|zulu|universal)$/i.test(zone)
}

async function zonedMs(zone: string): Promise<(local: LocalTime) => number> {
  const { DateTime } = await import('luxon')
  // Rows come in order, and zones change at full quarters of an hour: one look-up serves 15 minutes of a recording.
  let quarter = Number.NaN
  let offset = 0
  return local => {
    const asUtcMs = utcMs(local)
    if (Math.floor(asUtcMs / QUARTER_MS) !== quarter) {
      quarter = Math.floor(asUtcMs / QUARTER_MS)
      const start = quarter * QUARTER_MS
      const { year, month, day, hour, minute } = DateTime.fromMillis(start, { zone: 'UTC' })
      offset = start - first(DateTime.fromObject({ year, month, day, hour, minute }, { zone }))
    }
    return asUtcMs - offset
  }
}

/**
 * Of a local time that the zone has twice, the first: luxon alone would take the one whose offset is today's. A time that the
 * zone skips lies behind the gap.
 */
function first(time: DateTime): number {
  return Math.min(...time.getPossibleOffsets().map(possible => possible.toMillis()))
}

function readTime(text: string, toMs: (local: LocalTime) => number): number | null {
  const match = ISO.exec(text)
  if (match === null) return UNIX.test(text) && text.split('.')[0].length >= UNIX_MS_DIGITS_MIN ? wholeMs(Number(text)) : null
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '', zone] = match
  const local = {
    year: Number(year),
    month: Number(month),
    day: Number(day),
    hour: Number(hour),
    minute: Number(minute),
    second: Number(second),
    millisecond: Number(fraction.slice(0, 3).padEnd(3, '0'))
  }
  if (!exists(local)) return null
  return zone === undefined ? toMs(local) : utcMs(local) - offsetMs(zone)
}

function utcMs(local: LocalTime): number {
  return Date.UTC(local.year, local.month - 1, local.day, local.hour, local.minute, local.second, local.millisecond)
}

function exists({ year, month, day, hour, minute, second }: LocalTime): boolean {
  const date = new Date(Date.UTC(year, month - 1, day))
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day && hour < 24 && minute < 60 && second < 60
}

function offsetMs(zone: string): number {
  if (zone === 'Z' || zone === 'z') return 0
  const digits = zone.replace(/\D/g, '').padEnd(4, '0')
  return (zone.startsWith('-') ? -1 : 1) * (Number(digits.slice(0, 2)) * 60 + Number(digits.slice(2))) * 60_000
}

/** Largest magnitude that a Date can hold, in Unix ms (ECMA-262, 21.4.1.1). */
const TIME_MS_MAX = 8.64e15

function wholeMs(ms: number): number | null {
  return Math.abs(ms) <= TIME_MS_MAX ? Math.floor(ms) : null
}
