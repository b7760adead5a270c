import {
  decodeAck,
  decodeStatus,
  durationMs,
  epochFromBytes,
  isDeviceId,
  isEventInteger,
  parseTopic,
  STATUS_BYTES_MAX,
  topicOf
} from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

describe('topics', () => {
  test('name a device and a kind, there and back', () => {
    const deviceId = fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/)
    fc.assert(
      fc.property(
        deviceId,
        fc.constantFrom('batch' as const, 'json' as const, 'status' as const, 'config' as const, 'ack' as const),
        (id, kind) => {
          expect(parseTopic(topicOf(id, kind))).toEqual({ deviceId: id, kind })
        }
      )
    )
    expect(topicOf('pump-7', 'batch')).toBe('tm/1/pump-7/batch')
  })

  test('of anything else are none', () => {
    const others = [
      '',
      'tm',
      'tm/1',
      'tm/1/',
      'tm/1/a',
      'tm/1/a/',
      'tm/1//batch',
      'tm/2/a/batch',
      'TM/1/a/batch',
      '/tm/1/a/batch',
      'tm/1/a/batch/',
      'tm/1/a/b/batch',
      'tm/1/a/Batch',
      'tm/1/$alerts/x',
      'tm/1/+/batch',
      'tm/1/#',
      'tm/1/a/constructor',
      'tm/1/a b/batch',
      'tm/1/a\n/batch',
      `tm/1/${'x'.repeat(65)}/batch`
    ]
    for (const topic of others) expect(parseTopic(topic), topic).toBeNull()
    fc.assert(fc.property(fc.string(), text => parseTopic(text) === null))
  })

  test('a device ID is 1 to 64 of A-Z, a-z, 0-9, dot, underscore and hyphen', () => {
    for (const id of ['a', 'pump-7', 'A.b_c-0', 'x'.repeat(64)]) expect(isDeviceId(id)).toBe(true)
    for (const id of ['', 'x'.repeat(65), 'ä', 'a/b', 'a b', '$a', 'a\n', 'a\u0000']) expect(isDeviceId(id)).toBe(false)
  })
})

describe('durations', () => {
  test('are a whole number and a unit', () => {
    expect(['500ms', '5s', '10m', '24h', '7d', '0s', '007s'].map(durationMs)).toEqual([
      500, 5000, 600_000, 86_400_000, 604_800_000, 0, 7000
    ])
    expect(Number.isSafeInteger(durationMs('99999999d'))).toBe(true)
  })

  test('of any other form are refused with an example', () => {
    for (const text of ['', '5', 's', '5 s', '-5s', '1.5s', '5S', '5sec', '1h30m', '5s ', '\n5s', '5s\n', '100000000s', '٣s'])
      expect(() => durationMs(text), text).toThrow(/is no duration: .* like 10m/)
  })
})

describe('event IDs', () => {
  test('an epoch is 53 random bits, never 0', () => {
    expect(epochFromBytes(new Uint8Array(7))).toBe(1)
    expect(epochFromBytes(new Uint8Array(7).fill(0xff))).toBe(Number.MAX_SAFE_INTEGER)
    expect(epochFromBytes(Uint8Array.of(0, 0, 0, 0, 0, 1, 2, 99))).toBe(258)
    expect(() => epochFromBytes(new Uint8Array(6))).toThrow(/7 random bytes/)
    fc.assert(fc.property(fc.uint8Array({ minLength: 7, maxLength: 7 }), drawn => isEventInteger(epochFromBytes(drawn))))
  })

  test('seqs and epochs are integers from 1 to 2^53 - 1', () => {
    for (const value of [1, 2, Number.MAX_SAFE_INTEGER]) expect(isEventInteger(value)).toBe(true)
    for (const value of [0, -0, -1, 1.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, '1', 1n, null, undefined])
      expect(isEventInteger(value)).toBe(false)
  })
})

describe('status and ack', () => {
  const birth = {
    state: 'online',
    session: 's1',
    epoch: 42,
    agent: 'tidemark-agent 0.1.0',
    profiles: [{ name: 'host', version: 1, digest: '0123456789abcdef' }]
  }

  test('a birth says who is there, a death only whose death it is', () => {
    expect(decodeStatus(json(birth))).toEqual(birth)
    expect(decodeStatus(json({ state: 'offline', session: 's1' }))).toEqual({ state: 'offline', session: 's1' })
  })

  test('fields that are not known yet are left out', () => {
    expect(decodeStatus(json({ ...birth, mood: 'good', __proto__: 1 }))).toEqual(birth)
    expect(decodeAck(json({ epoch_spent: 42, since: 1 }))).toEqual({ epoch_spent: 42 })
  })

  test('what is none is null', () => {
    const bad = [
      {},
      null,
      [],
      'online',
      { ...birth, epoch: 0 },
      { ...birth, epoch: 1.5 },
      { ...birth, session: '' },
      { ...birth, session: 'x'.repeat(65) },
      { ...birth, profiles: new Array(65).fill(birth.profiles[0]) },
      { ...birth, state: 'gone' },
      { state: 'offline' }
    ]
    for (const value of bad) expect(decodeStatus(json(value)), JSON.stringify(value).slice(0, 60)).toBeNull()
    for (const value of [{}, null, { epoch_spent: 0 }, { epoch_spent: '42' }, { epoch_spent: 2 ** 53 }])
      expect(decodeAck(json(value))).toBeNull()
    expect(decodeStatus(Uint8Array.of(0xff, 0xfe))).toBeNull()
    expect(decodeStatus(new Uint8Array(0))).toBeNull()
  })

  test('16 KiB is the most that is looked at', () => {
    const padded = (length: number) => new TextEncoder().encode(JSON.stringify(birth).padEnd(length))
    expect(decodeStatus(padded(STATUS_BYTES_MAX))).toEqual(birth)
    expect(decodeStatus(padded(STATUS_BYTES_MAX + 1))).toBeNull()
  })

  test('any bytes are a status or null', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map(text => new TextEncoder().encode(text))
        ),
        payload => decodeStatus(payload) === null && decodeAck(payload) === null
      )
    )
    for (const text of ['['.repeat(16_384), '{"a":'.repeat(3000)]) expect(decodeStatus(new TextEncoder().encode(text))).toBeNull()
  })
})
