import { decodeJson, JSON_DEPTH_MAX, PAYLOAD_BYTES_MAX, READINGS_PER_BATCH_MAX, rfc3339Ms } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const bytes = (text: string) => new TextEncoder().encode(text)
const decoded = (value: unknown) => decodeJson(bytes(JSON.stringify(value)))
const GOOD = { event_id: 'a-1', event_time: '2026-11-24T13:00:00Z', profile: 'water-loop', temperature: 20.5 }

describe('a JSON message', () => {
  test('is one reading, its metrics by name', () => {
    expect(decoded(GOOD)).toEqual([
      {
        ok: true,
        reading: {
          eventId: 'a-1',
          eventTimeMs: Date.UTC(2026, 10, 24, 13),
          profile: 'water-loop',
          fields: new Map([['temperature', 20.5]])
        }
      }
    ])
  })

  test('is an array of readings, each judged by itself', () => {
    const items = decoded([GOOD, 7, { ...GOOD, event_id: '' }, GOOD])
    expect(items?.map(item => (item.ok ? 'ok' : item.reason))).toEqual(['ok', 'undecodable', 'event-id-invalid', 'ok'])
    expect(decoded([])).toEqual([])
  })

  test('is null where it is neither an object nor an array', () => {
    for (const text of ['', '7', '"x"', 'null', 'true', '{', '[{}', '{} {}', '\u0000', 'NaN']) expect(decodeJson(bytes(text))).toBeNull()
    expect(decodeJson(Uint8Array.of(0x22, 0xff, 0x22))).toBeNull() // not UTF-8
  })

  test('leaves the profile to the registry where it names none', () => {
    for (const profile of [undefined, null]) expect(decoded({ ...GOOD, profile })).toMatchObject([{ ok: true, reading: { profile: null } }])
    for (const profile of [7, {}, 'x'.repeat(65)])
      expect(decoded({ ...GOOD, profile })).toMatchObject([{ ok: false, reason: 'unknown-profile' }])
  })

  test('needs an event ID of 1 to 128 characters, all of which can be stored', () => {
    expect(decoded({ ...GOOD, event_id: 'x'.repeat(128) })).toMatchObject([{ ok: true }])
    expect(decoded({ ...GOOD, event_id: '机-😀' })).toMatchObject([{ ok: true, reading: { eventId: '机-😀' } }])
    for (const event_id of ['', 'x'.repeat(129), 7, null, undefined, ['a'], '\ud800', 'x\udc00y']) {
      expect(decoded({ ...GOOD, event_id })).toMatchObject([{ ok: false, reason: 'event-id-invalid' }])
    }
  })

  test('takes whole Unix ms as a number, and nothing else', () => {
    expect(decoded({ ...GOOD, event_time: 1_793_000_000_123 })).toMatchObject([{ ok: true, reading: { eventTimeMs: 1_793_000_000_123 } }])
    expect(decodeJson(bytes('{"event_id":"a","event_time":-0}'))).toMatchObject([{ ok: true, reading: { eventTimeMs: 0 } }])
    const bad = [
      '1.5',
      '1e400',
      '-1e400',
      '9007199254740993',
      '4000000000000001',
      'null',
      'true',
      '[]',
      '"1793000000123"',
      '"yesterday"',
      '""',
      `"${'0'.repeat(50)}"`
    ]
    for (const time of bad) {
      expect(decodeJson(bytes(`{"event_id":"a","event_time":${time}}`)), time).toMatchObject([{ ok: false, reason: 'event-time-invalid' }])
    }
    expect(decoded({ event_id: 'a' })).toMatchObject([{ ok: false, reason: 'event-time-invalid' }])
  })

  test('says what is wrong in words', () => {
    expect(decoded({ ...GOOD, event_id: 7 })).toMatchObject([{ detail: 'event_id: Invalid input: expected string, received number' }])
    expect(decoded({ ...GOOD, event_time: '2026-11-24' })).toMatchObject([
      { detail: 'event_time is neither RFC 3339 with a zone nor whole Unix ms' }
    ])
  })

  test('keeps a field named __proto__ as a field like any other', () => {
    const items = decodeJson(bytes('{"event_id":"a","event_time":0,"__proto__":{"event_id":"b","polluted":true},"constructor":1}'))
    const [item] = items!
    expect(item.ok && [...item.reading.fields.keys()]).toEqual(['__proto__', 'constructor'])
    expect(item.ok && item.reading.eventId).toBe('a')
    expect('polluted' in {}).toBe(false)
  })

  test('does not take its event ID from __proto__', () => {
    expect(decodeJson(bytes('{"__proto__":{"event_id":"b"},"event_time":0}'))).toMatchObject([{ ok: false, reason: 'event-id-invalid' }])
  })

  test('may hold at most 1000 readings and 128 KiB', () => {
    expect(decoded(new Array(READINGS_PER_BATCH_MAX).fill(0))).toHaveLength(READINGS_PER_BATCH_MAX)
    expect(decoded(new Array(READINGS_PER_BATCH_MAX + 1).fill(0))).toBeNull()
    const padded = (length: number) => bytes(JSON.stringify(GOOD).padEnd(length))
    expect(decodeJson(padded(PAYLOAD_BYTES_MAX))).toHaveLength(1)
    expect(decodeJson(padded(PAYLOAD_BYTES_MAX + 1))).toBeNull()
  })

  test('may nest 16 deep, so that a field can be written out again', () => {
    const nested = (depth: number) => bytes(`{"event_id":"a","event_time":0,"x":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`)
    expect(decodeJson(nested(JSON_DEPTH_MAX))).toMatchObject([{ ok: true }])
    expect(decodeJson(nested(JSON_DEPTH_MAX + 1))).toBeNull()
    for (const open of ['[', '{"a":']) expect(decodeJson(bytes(open.repeat(20_000)))).toBeNull()
    expect(decodeJson(bytes(JSON.stringify({ ...GOOD, event_id: '[[[[{{{{[[[[{{{{"\\[[[[[[[' })))).toMatchObject([{ ok: true }])
  })

  test('is null or a list, whatever the bytes', () => {
    const piece = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      '"',
      '\\',
      ',',
      ':',
      'event_id',
      '"event_id":"a"',
      '"event_time":0',
      '1e999',
      'null',
      '__proto__',
      ' '
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.array(piece, { maxLength: 40 }).map(parts => bytes(parts.join('')))
        ),
        payload => {
          const items = decodeJson(payload)
          expect(items === null || Array.isArray(items)).toBe(true)
        }
      ),
      { numRuns: 5000 }
    )
  })

  test('any JSON objects give one answer each', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('event_id', 'event_time', 'profile')), fc.jsonValue({ maxDepth: 3 })),
          { maxLength: 5 }
        ),
        objects => {
          expect(decoded(objects)).toHaveLength(objects.length)
        }
      ),
      { numRuns: 1000 }
    )
  })
})

describe('RFC 3339', () => {
  test('reads what a Date writes', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('0100-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true }),
        date => {
          expect(rfc3339Ms(date.toISOString())).toBe(date.getTime())
        }
      )
    )
  })

  const base = Date.UTC(2026, 1, 28, 23, 59, 59)
  const good: [string, number][] = [
    ['2026-02-28T23:59:59Z', base],
    ['2026-02-28t23:59:59z', base],
    ['2026-02-28 23:59:59Z', base],
    ['2026-02-28T23:59:59.1Z', base + 100],
    ['2026-02-28T23:59:59.001Z', base + 1],
    ['2026-02-28T23:59:59.29Z', base + 290],
    ['2026-02-28T23:59:59.999999999Z', base + 999],
    ['2026-03-01T01:59:59+02:00', base],
    ['2026-02-28T18:29:59-05:30', base],
    ['2026-02-28T23:59:59-00:00', base],
    ['2026-03-01T23:58:59+23:59', base],
    ['2024-02-29T00:00:00Z', Date.UTC(2024, 1, 29)],
    ['2000-02-29T00:00:00Z', Date.UTC(2000, 1, 29)],
    ['1969-12-31T23:59:59.5Z', -500]
  ]
  for (const [text, ms] of good) test(`${text} is a time`, () => expect(rfc3339Ms(text)).toBe(ms))

  const bad: [string, string][] = [
    ['2026-02-28T23:59:59', 'has no zone'],
    ['2026-02-29T00:00:00Z', 'is no day of that year'],
    ['1900-02-29T00:00:00Z', 'is no day of that year'],
    ['2026-04-31T00:00:00Z', 'is no day of that month'],
    ['2026-00-01T00:00:00Z', 'has no month'],
    ['2026-13-01T00:00:00Z', 'has a 13th month'],
    ['2026-01-00T00:00:00Z', 'has no day'],
    ['2026-01-01T24:00:00Z', 'has a 25th hour'],
    ['2026-01-01T00:60:00Z', 'has a 61st minute'],
    ['2016-12-31T23:59:60Z', 'is a leap second, which Unix time does not have'],
    ['0099-01-01T00:00:00Z', 'is before the year 100'],
    ['2026-1-1T00:00:00Z', 'lacks digits'],
    ['2026-01-01T00:00Z', 'has no seconds'],
    ['2026-01-01T00:00:00.Z', 'has an empty fraction'],
    ['2026-01-01T00:00:00.0000000001Z', 'has ten digits of fraction'],
    ['2026-01-01T00:00:00+24:00', 'has a zone of a day'],
    ['2026-01-01T00:00:00+01:60', 'has a zone of 60 minutes'],
    ['2026-01-01T00:00:00+0100', 'has a zone without a colon'],
    ['2026-01-01T00:00:00Z\n', 'ends in a line feed'],
    [' 2026-01-01T00:00:00Z', 'begins with a space'],
    ['+02026-01-01T00:00:00Z', 'has five digits of year']
  ]
  for (const [text, why] of bad) test(`${JSON.stringify(text)} is none: it ${why}`, () => expect(rfc3339Ms(text)).toBeNull())
})
