import { encode } from '@msgpack/msgpack'
import { EVENT_TIME_MS_MIN, profileSchema } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readFrames } from '../../../gateway/src/log/frames.js'
import { at, NOON_MS, PUMP, type Timeline, timeline } from '../../kit/timeline.js'

const eventTimeMs = at('13:00')

/** A batch of `count` readings from seq 1 with a body of the test's making. */
function rawBatch(body: unknown, { profile = 'pump', version = 1, count = 2 } = {}): Uint8Array {
  const header = encode([1, profile, version, 1, 0, count, count, 1, eventTimeMs, count])
  const rest = body instanceof Uint8Array ? body : encode(body)
  return new Uint8Array([...header, ...rest])
}

/** temperature, flow, rpm, running, place: each one value for all readings. */
function columns(...values: unknown[]): unknown {
  return [1000, values]
}

function rejects(t: Timeline): unknown[] {
  t.drain()
  return t.quarantine().map(({ seq, reason, accounted }) => [seq, reason, accounted])
}

describe('a reading in a batch is quarantined', () => {
  test.each([
    ['metric-missing', { temperature: null }, 'temperature is null'],
    ['metric-out-of-range', { temperature: 150.1 }, 'temperature: 150.1'],
    ['metric-out-of-range', { temperature: -41 }, 'temperature: -41'],
    ['metric-out-of-range', { place: 'far too long' }, 'place: far too long'],
    ['metric-not-finite', { temperature: Number.NaN }, 'temperature: NaN'],
    ['metric-not-finite', { flow: Number.POSITIVE_INFINITY }, 'flow: Infinity']
  ] as const)('as %s for %o, alone of its batch', (reason, values, detail) => {
    const t = timeline()
    t.batch({
      readings: [
        { seq: 1, eventTimeMs },
        { seq: 2, eventTimeMs, values },
        { seq: 3, eventTimeMs }
      ]
    })
    t.drain()
    expect(t.quarantine()).toMatchObject([{ seq: 2, epoch: 1, reason, detail, accounted: true, profile: 'pump', event_time: eventTimeMs }])
    expect(t.readings().map(row => row.seq)).toEqual([1, 3])
    expect(t.ledger()).toMatchObject({ archived: 2, quarantined: 1, missing: 0 })
  })

  test('as metric-wrong-type where a value is of another type', () => {
    const t = timeline()
    t.message('batch', rawBatch(columns(20, null, [1000, 'fast'], null, null)))
    expect(rejects(t)).toEqual([[2, 'metric-wrong-type', true]])
  })

  test('at the bounds is none: they are valid', () => {
    const t = timeline()
    t.reading({ seq: 1, eventTimeMs, values: { temperature: -40, flow: 100, rpm: 3000, place: '12345678' } })
    expect(rejects(t)).toEqual([])
  })

  test.each([
    ['event-time-in-future', at('14:05') + 1, 'just over 5 min ahead'],
    ['event-time-too-old', EVENT_TIME_MS_MIN - 1, 'just before 2000']
  ])('as %s at %d ms, %s', (reason, time) => {
    const t = timeline()
    t.reading({ seq: 1, eventTimeMs: time })
    expect(rejects(t)).toEqual([[1, reason, true]])
    expect(t.watermark()).toBe(Number.NEGATIVE_INFINITY)
    expect(t.ledger()).toMatchObject({ quarantined: 1, buffered: 0, missing: 0 })
  })

  test.each([at('14:05'), EVENT_TIME_MS_MIN])('for no event time within the bounds: %d ms', time => {
    const t = timeline()
    t.reading({ seq: 1, eventTimeMs: time })
    expect(rejects(t)).toEqual([])
    expect(t.readings()).toMatchObject([{ event_time: time, late: false }])
  })
})

describe('a metric that says on_out_of_range: null', () => {
  test('loses a value out of its range, and the reading is archived', () => {
    const t = timeline()
    t.batch({ readings: [50, 100.5, -1, 60].map((flow, i) => ({ seq: i + 1, eventTimeMs: eventTimeMs + i, values: { flow, rpm: 100 } })) })
    t.drain()
    expect(t.readings().map(({ flow, rpm }) => [flow, rpm])).toEqual([
      [50, 100],
      [null, 100],
      [null, 100],
      [60, 100]
    ])
  })
})

describe('a batch whose header reads', () => {
  test.each([
    ['has no body', new Uint8Array(0)],
    ['has a body that is no array', encode(17)],
    ['has bytes behind its body', new Uint8Array([...encode(columns(20, null, null, null, null) as unknown[]), 0])],
    ['is cut off', encode(columns(20, null, null, null, null)).subarray(0, 5)],
    ['has a column too few', encode(columns(20, null, null, null))],
    ['has a column of another length', encode(columns([20, 21, 22], null, null, null, null))]
  ])('but %s is accounted reading by reading, with its bytes kept once', (_, body) => {
    const t = timeline()
    const payload = rawBatch(body)
    t.message('batch', payload)
    t.message('batch', payload)
    expect(rejects(t)).toEqual([
      [1, 'columns-damaged', true],
      [2, 'columns-damaged', true]
    ])
    expect(t.quarantine().map(row => row.payload)).toEqual([payload, null])
    expect(t.ledger()).toMatchObject({ quarantined: 2, duplicates: 2, buffered: 0, missing: 0 })
  })

  test('is kept though it holds no reading', () => {
    const t = timeline()
    const payload = new Uint8Array([...encode([1, 'pump', 1, 1, 0, 0, 0, 1, 0, 0]), ...encode(['damaged', []])])
    t.message('batch', payload)
    t.drain()
    expect(t.quarantine()).toMatchObject([{ reason: 'columns-damaged', seq: null, accounted: false, payload }])
  })

  test('keeps its tombstones though its columns are damaged', () => {
    const t = timeline()
    const header = encode([1, 'pump', 1, 1, 0, 10, 10, 1, eventTimeMs, 1])
    t.message('batch', new Uint8Array([...header, ...encode([0, 'damaged', [[3, 9, 0, 'expired']]])]))
    t.drain()
    expect(t.ledger()).toMatchObject({ quarantined: 1, shed: 7, buffered: 2 })
  })

  test.each([
    ['unknown-profile', { profile: 'turbine' }],
    ['unknown-profile-version', { version: 2 }]
  ])('but names what the gateway has not is quarantined as %s', (reason, header) => {
    const t = timeline()
    t.message('batch', rawBatch(columns(20, null, null, null, null), header))
    expect(rejects(t)).toEqual([
      [1, reason, true],
      [2, reason, true]
    ])
  })

  test('is archived once its profile is known', () => {
    const t = timeline()
    const version2 = profileSchema.parse({ ...PUMP, version: 2 })
    t.batch({ profile: version2, readings: [{ seq: 1, eventTimeMs }] })
    t.start({}, [PUMP, version2])
    t.batch({ profile: version2, readings: [{ seq: 2, eventTimeMs }] })
    expect(rejects(t)).toEqual([[1, 'unknown-profile-version', true]])
    expect(t.readings()).toMatchObject([{ seq: 2, profile_version: 2 }])
  })
})

test('a message without a header is quarantined whole, and no seq is accounted', () => {
  const t = timeline()
  const payload = new Uint8Array([1, 2, 3])
  t.message('batch', payload)
  t.drain()
  expect(t.quarantine()).toMatchObject([
    {
      device_id: 'pump-7',
      reason: 'undecodable',
      accounted: false,
      payload,
      seq: null,
      epoch: null,
      kind: 'batch',
      ingest_time: at('14:00'),
      entry: 2,
      frame_index: 0
    }
  ])
  expect(t.ledger()).toBeUndefined()
})

describe('an unknown field', () => {
  const extra = [{ name: 'firmware', values: ['1.2', null] }]
  const readings = [
    { seq: 1, eventTimeMs },
    { seq: 2, eventTimeMs: eventTimeMs + 1 }
  ]

  test('is refused under evolution strict', () => {
    const t = timeline()
    t.batch({ readings, extra })
    expect(rejects(t)).toEqual([[1, 'unknown-metric', true]])
    expect(t.stats().unknownFields).toEqual({ 'pump.firmware': 1 })
  })

  test.each(['add_only', 'flexible'] as const)('is kept in extra under evolution %s, and counted', evolution => {
    const profile = profileSchema.parse({ ...PUMP, evolution })
    const t = timeline({}, [profile])
    t.batch({ profile, readings, extra })
    t.drain()
    expect(t.readings().map(row => row.extra)).toEqual(['{"firmware":"1.2"}', null])
    expect(t.stats().unknownFields).toEqual({ 'pump.firmware': 1 })
  })
})

describe('a JSON reading is quarantined', () => {
  const sound = { event_id: 'a', event_time: eventTimeMs, profile: 'pump', temperature: 20 }

  test.each([
    ['event-id-invalid', { event_id: 7 }, false],
    ['event-id-invalid', { event_id: 'x'.repeat(129) }, false],
    ['event-time-invalid', { event_time: 'yesterday' }, false],
    ['event-time-invalid', { event_time: 1.5 }, false],
    ['event-time-in-future', { event_time: at('15:00') }, true],
    ['event-time-too-old', { event_time: 0 }, true],
    ['unknown-profile', { profile: 'turbine' }, true],
    ['unknown-profile', { profile: undefined }, true],
    ['metric-missing', { temperature: undefined }, true],
    ['metric-wrong-type', { temperature: '20' }, true],
    ['metric-wrong-type', { rpm: 1.5 }, true],
    ['metric-out-of-range', { temperature: 151 }, true],
    ['unknown-metric', { colour: 'red' }, true]
  ])('as %s for %o, alone of its array', (reason, change, accounted) => {
    const t = timeline()
    t.json([
      { ...sound, event_id: 'b' },
      { ...sound, ...change }
    ])
    t.drain()
    expect(t.quarantine()).toMatchObject([{ reason, accounted, kind: 'json', device_id: 'meter-1' }])
    expect(t.readings()).toMatchObject([{ event_id: 'b', temperature: 20, epoch: null, seq: null }])
    expect(t.ledger('meter-1', 0)).toMatchObject({ archived: 1, quarantined: accounted ? 1 : 0 })
  })

  test.each(['{', '17', 'null', '"reading"'])('as undecodable for %s', text => {
    const t = timeline()
    t.message('json', new TextEncoder().encode(text), 'meter-1')
    t.drain()
    expect(t.quarantine()).toMatchObject([{ reason: 'undecodable', accounted: false, payload: new TextEncoder().encode(text) }])
  })

  test('under evolution flexible keeps a value of the wrong type in extra', () => {
    const t = timeline({}, [profileSchema.parse({ ...PUMP, evolution: 'flexible' })])
    t.json({ ...sound, rpm: 'fast', colour: 'red' })
    t.drain()
    expect(t.readings()).toMatchObject([{ rpm: null, extra: '{"rpm":"fast","colour":"red"}' }])
  })

  test('under evolution add_only has it refused', () => {
    const t = timeline({}, [profileSchema.parse({ ...PUMP, evolution: 'add_only' })])
    t.json([
      { ...sound, rpm: 'fast' },
      { ...sound, event_id: 'b', colour: 'red' }
    ])
    t.drain()
    expect(t.quarantine()).toMatchObject([{ reason: 'metric-wrong-type' }])
    expect(t.readings()).toMatchObject([{ extra: '{"colour":"red"}' }])
  })
})

test('an archived reading has all its columns', () => {
  const t = timeline()
  const values = { temperature: -0, flow: 0.1, rpm: 1480, running: true, place: 'hall 1' }
  t.batch({ epoch: 77, readings: [{ seq: 1, eventTimeMs, values }], clock: 'estimated' })
  t.drain()
  expect(t.readings()).toEqual([
    {
      device_id: 'pump-7',
      event_time: eventTimeMs,
      ingest_time: at('14:00'),
      epoch: 77,
      seq: 1,
      event_id: null,
      late: false,
      clock: 'estimated',
      profile_version: 1,
      ...values,
      extra: null
    }
  ])
})

test('rows are filed by the hour of their event time, the quarantine by ingest time', () => {
  const t = timeline()
  t.batch({
    readings: [
      { seq: 1, eventTimeMs: at('12:59:59.999') },
      { seq: 2, eventTimeMs: at('13:00') },
      { seq: 3, eventTimeMs: at('13:00:00.001'), values: { temperature: 999 } }
    ]
  })
  const { files } = t.drain()
  const hour = (ms: number) => NOON_MS + ms * 3_600_000
  expect(files.map(({ layer, profile, hourMs, rows }) => [layer, profile, hourMs, rows])).toEqual([
    ['processed', 'pump', hour(0), 1],
    ['processed', 'pump', hour(1), 1],
    ['quarantine', null, hour(2), 1],
    ['curated', 'pump', hour(1), 1]
  ])
})

test('frames of an entry are numbered, and the quarantine names the one', () => {
  const t = timeline()
  t.append(
    { kind: 'tick' },
    { kind: 'json', device: 'm', payload: new Uint8Array([1]) },
    { kind: 'batch', device: 'p', payload: new Uint8Array([2]) }
  )
  t.drain()
  expect(t.quarantine().map(row => [row.device_id, row.entry, row.frame_index])).toEqual([
    ['m', 2, 1],
    ['p', 2, 2]
  ])
})

test('whatever bytes a device sends, each reading has one fate and nothing throws', () => {
  const sound = timeline().encode({
    readings: [1, 2, 3].map(seq => ({ seq, eventTimeMs: eventTimeMs + seq, values: { place: 'hall 1' } }))
  })
  const spoiled = fc.tuple(fc.nat(sound.length - 1), fc.nat(255)).map(([at, byte]) => sound.with(at, byte))
  const payload = fc.oneof(spoiled, fc.uint8Array({ maxLength: 60 }))
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom('batch' as const, 'json' as const), payload), { maxLength: 8 }), messages => {
      const t = timeline()
      for (const [kind, bytes] of messages) t.message(kind, bytes)
      t.drain()
      for (const { highestSampledSeq, archived, quarantined, shed, buffered, missing } of t.allLedgers()) {
        expect(archived + quarantined + shed + buffered + missing).toBe(highestSampledSeq)
      }
      const undecodable = t.quarantine().filter(row => row.reason === 'undecodable').length
      expect(t.stats()).toMatchObject({
        messages: messages.length,
        undecodable,
        quarantined: t.quarantine().length,
        archived: t.readings().length
      })
    }),
    { numRuns: 300 }
  )
})

test('an entry that is no list of frames is damage to the log', () => {
  expect(() => [...readFrames(new Uint8Array([1, 200]))]).toThrow('no list of frames')
})
