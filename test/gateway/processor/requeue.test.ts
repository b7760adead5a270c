/** Quarantined readings that are given to the processor again. */
import { profileSchema } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeRequeue, encodeRequeue, type Requeue } from '../../../gateway/src/processor/requeue.js'
import { requeueFrames, unresolvedRows } from '../../kit/requeues.js'
import { at, PUMP, SETTINGS, type Timeline, timeline } from '../../kit/timeline.js'

const PUMP_2 = profileSchema.parse({ ...PUMP, version: 2 })
const HOT_PUMP = profileSchema.parse({
  ...PUMP,
  metrics: PUMP.metrics.map(metric => (metric.name === 'temperature' ? { ...metric, max: 500 } : metric))
})

function minute(seq: number): number {
  return at('13:00') + seq * 60_000
}

function readings(seqs: readonly number[], temperature = 20) {
  return seqs.map(seq => ({ seq, eventTimeMs: minute(seq), values: { temperature } }))
}

/** Commits what is there, and requeues what is unresolved. */
function requeueAll(t: Timeline, run = 'run'): number {
  t.drain()
  const frames = requeueFrames(run, t.flushes)
  if (frames.length > 0) t.append(...frames)
  return frames.length
}

function fates(t: Timeline, device = 'pump-7', epoch = 1): unknown {
  const { archived, quarantined, late, highestSampledSeq } = t.ledger(device, epoch)!
  return { archived, quarantined, late, highestSampledSeq }
}

/** Readings received and quarantined, by profile, over all hours; what is 0 is left out. */
function hourCounts(t: Timeline): Record<string, number[]> {
  const sums = new Map<string, number[]>()
  for (const { fleet } of t.flushes) {
    const { profiles, profile, counts } = fleet.hours
    for (const [place, index] of profile.entries()) {
      const [received, quarantined] = sums.get(profiles[index]) ?? [0, 0]
      sums.set(profiles[index], [received + counts.received[place], quarantined + counts.quarantined[place]])
    }
  }
  return Object.fromEntries([...sums].filter(([, [received, quarantined]]) => received !== 0 || quarantined !== 0))
}

describe('a requeue', () => {
  test('archives the readings of a version that has become known, and leaves the quarantine empty', () => {
    const t = timeline()
    t.batch({ profile: PUMP_2, readings: readings([1, 2, 3, 4]) })
    t.drain()
    expect(fates(t)).toEqual({ archived: 0, quarantined: 4, late: 0, highestSampledSeq: 4 })
    t.start({}, [PUMP, PUMP_2])
    requeueAll(t)
    t.drain()
    expect(fates(t)).toEqual({ archived: 4, quarantined: 0, late: 3, highestSampledSeq: 4 })
    expect(t.readings().map(row => [row.seq, row.late, row.profile_version])).toEqual([
      [1, true, 2],
      [2, true, 2],
      [3, true, 2],
      [4, false, 2]
    ])
    expect(unresolvedRows(t.flushes)).toEqual([])
  })

  test('leaves as it was what is still invalid, and what was archived', () => {
    const t = timeline()
    t.batch({ readings: [...readings([1, 2]), ...readings([3], 300), ...readings([4], 999)] })
    t.drain()
    t.start({}, [HOT_PUMP])
    requeueAll(t)
    t.drain()
    expect(t.readings().map(row => row.seq)).toEqual([1, 2, 3])
    expect(unresolvedRows(t.flushes)).toMatchObject([{ seq: 4, reason: 'metric-out-of-range', accounted: true }])
    expect(fates(t)).toEqual({ archived: 3, quarantined: 1, late: 1, highestSampledSeq: 4 })
  })

  test('corrects the features of hops that are out', () => {
    const t = timeline()
    t.batch({ readings: [...readings([1, 2, 4, 5, 6])] })
    t.reading({ seq: 3, eventTimeMs: minute(3), values: { temperature: 300 } })
    t.drain()
    t.start({}, [HOT_PUMP])
    requeueAll(t)
    t.tick(61_000)
    t.drain()
    const row = t.latestFeatures().find(({ as_of: asOf }) => asOf === minute(4))
    expect(row).toMatchObject({ revision: 1, readings_5m: 4, temp_mean_5m: 90, temp_max_5m: 300 })
  })

  test('gives the features of a profile that nobody knew', () => {
    const t = timeline({}, [HOT_PUMP])
    const unknown = profileSchema.parse({ ...PUMP, name: 'press' })
    const all = Array.from({ length: 50 }, (_, i) => i + 1)
    t.batch({ profile: unknown, readings: readings(all) })
    t.batch({ highestSampledSeq: 50, oldestHeldSeq: 51, endOfStreamSeq: 50 })
    t.drain()
    t.start({}, [HOT_PUMP, unknown])
    requeueAll(t)
    t.tick(61_000)
    t.drain()
    expect(t.latestFeatures().map(row => row.as_of)).toEqual(all.map(minute))
    expect(t.latestFeatures().at(-1)).toMatchObject({ readings_5m: 5, temp_mean_5m: 20 })
  })

  test('takes in a reading whose event time was in the future, and the watermark follows it', () => {
    const t = timeline()
    t.reading({ seq: 1, eventTimeMs: t.nowMs + 3_600_000 })
    t.drain()
    expect(t.watermark()).toBe(Number.NEGATIVE_INFINITY)
    const eventTimeMs = t.nowMs + 3_600_000
    requeueAll(t, 'too early')
    t.leap(3_600_000)
    requeueAll(t, 'in time')
    t.drain()
    expect(t.readings()).toMatchObject([{ seq: 1, late: false, event_time: eventTimeMs }])
    expect(t.watermark()).toBe(eventTimeMs)
  })

  test('above a gap moves the watermark only when the gap is settled', () => {
    const t = timeline()
    t.reading({ seq: 1, eventTimeMs: minute(1) })
    t.reading({ seq: 3, eventTimeMs: t.nowMs + 3_600_000 })
    const eventTimeMs = t.nowMs + 3_600_000
    t.drain()
    t.leap(3_600_000)
    requeueAll(t)
    expect(t.watermark()).toBe(minute(1))
    t.reading({ seq: 2, eventTimeMs: minute(2) })
    expect(t.watermark()).toBe(eventTimeMs)
  })

  test('twice in flight counts once: copies of its frames, and another run that had not seen it', () => {
    const t = timeline()
    t.batch({ profile: PUMP_2, readings: readings([1, 2]) })
    t.batch({ profile: PUMP_2, readings: readings([3]) })
    t.drain()
    t.start({}, [PUMP, PUMP_2])
    const first = requeueFrames('first', t.flushes)
    const second = requeueFrames('second', t.flushes)
    t.append(first[0])
    t.append(...second)
    t.append(first[0], first[1])
    t.append(...second, ...first)
    t.drain()
    expect(t.readings().map(row => row.seq)).toEqual([1, 2, 3])
    expect(fates(t)).toEqual({ archived: 3, quarantined: 0, late: 2, highestSampledSeq: 3 })
    expect(t.stats()).toMatchObject({ resolved: 3, staleRequeues: 7 })
  })

  test('that was cut off is finished by another run, once the first is committed', () => {
    const t = timeline()
    for (const seq of [1, 2, 3]) t.batch({ profile: PUMP_2, readings: readings([seq]) })
    t.drain()
    t.start({}, [PUMP, PUMP_2])
    t.append(...requeueFrames('cut off', t.flushes).slice(0, 2))
    expect(requeueAll(t, 'the rest')).toBe(1)
    t.drain()
    expect(t.readings().map(row => row.seq)).toEqual([1, 2, 3])
    expect(unresolvedRows(t.flushes)).toEqual([])
  })

  test('of a device that was one too many takes its message in', () => {
    const t = timeline({ devicesMax: 1 })
    t.reading({ device: 'pump-1', seq: 1, eventTimeMs: minute(1) })
    t.batch({ device: 'pump-2', readings: [...readings([1]), ...readings([2], 999)] })
    t.json({ event_id: 'a', event_time: minute(1), profile: 'pump', temperature: 20 }, 'meter-1')
    t.drain()
    t.start({ devicesMax: 3 })
    requeueAll(t)
    t.drain()
    expect(t.readings().map(row => [row.device_id, row.seq, row.event_id])).toEqual([
      ['pump-1', 1, null],
      ['pump-2', 1, null],
      ['meter-1', null, 'a']
    ])
    expect(unresolvedRows(t.flushes)).toMatchObject([{ device_id: 'pump-2', seq: 2, reason: 'metric-out-of-range', accounted: true }])
    expect(fates(t, 'pump-2')).toEqual({ archived: 1, quarantined: 1, late: 0, highestSampledSeq: 2 })
  })

  test('leaves what cannot be read, a reused event ID and a shed reading as they were', () => {
    const t = timeline()
    t.message('batch', new Uint8Array([0xc1, 0xff]))
    t.message('json', new TextEncoder().encode('[{"event_time": 1}, 5, {'), 'meter-1')
    t.json([5, { event_id: 'a', event_time: minute(1), profile: 'pump', temperature: 20 }], 'meter-1')
    t.batch({ readings: readings([1, 2, 3]) })
    t.batch({ readings: [{ seq: 2, eventTimeMs: minute(30) }] })
    t.batch({ highestSampledSeq: 5, tombstones: [{ firstSeq: 4, lastSeq: 4, keepEvery: 0 }] })
    t.batch({ readings: readings([4]) })
    t.drain()
    const before = unresolvedRows(t.flushes)
    expect(before.map(row => row.reason).sort()).toEqual(['event-id-reused', 'shed', 'undecodable', 'undecodable', 'undecodable'])
    requeueAll(t)
    t.drain()
    expect(unresolvedRows(t.flushes)).toEqual(before)
    expect(t.stats()).toMatchObject({ resolved: 0, duplicates: 0, archived: 4 })
  })

  test('shows the open hop of an idle device again', () => {
    const t = timeline()
    t.batch({ readings: readings([1, 2]) })
    t.batch({ readings: [{ seq: 3, eventTimeMs: minute(2), values: { temperature: 300 } }] })
    t.tick(700_000)
    t.start({}, [HOT_PUMP])
    requeueAll(t)
    t.tick(60_000)
    t.drain()
    const provisional = t.features().filter(row => row.as_of === minute(2))
    expect(provisional).toMatchObject([
      { provisional: true, readings_5m: 2 },
      { provisional: true, readings_5m: 3, temp_max_5m: 300 }
    ])
  })
})

describe('JSON readings that are requeued', () => {
  const press = profileSchema.parse({ ...PUMP, name: 'press' })
  const reading = (id: string, temperature = 20) => ({ event_id: id, event_time: minute(1), profile: 'press', temperature })

  test('are archived once, and their event IDs stay known', () => {
    const t = timeline()
    t.json([reading('a'), reading('b'), reading('a', 30), reading('c', 999)], 'meter-1')
    t.drain()
    t.start({}, [PUMP, press])
    requeueAll(t)
    t.json([reading('a'), reading('b'), reading('c')], 'meter-1')
    t.drain()
    expect(t.readings().map(row => [row.event_id, row.temperature])).toEqual([
      ['a', 20],
      ['b', 20]
    ])
    expect(unresolvedRows(t.flushes)).toMatchObject([{ event_id: 'c' }])
    expect(t.ledger('meter-1', 0)).toMatchObject({ archived: 2, quarantined: 1, duplicates: 4 })
  })

  test.each([null, 'pump'])(
    'are taken back from the hours of the profile that was the default then (%s), not of the one that is',
    before => {
      const press = profileSchema.parse({ ...HOT_PUMP, name: 'press' })
      const t = timeline({}, [PUMP, press])
      t.set('meter-1', { profile: before })
      t.json(
        [
          { event_id: 'a', event_time: minute(1), temperature: 300 },
          { ...reading('b', 300), profile: 'pump' }
        ],
        'meter-1'
      )
      t.drain()
      expect(hourCounts(t)).toEqual({
        [before ?? '']: [before === null ? 1 : 2, before === null ? 1 : 2],
        ...(before === null && { pump: [1, 1] })
      })
      t.set('meter-1', { profile: 'press' })
      requeueAll(t)
      t.drain()
      expect(hourCounts(t)).toEqual({ press: [1, 0], pump: [1, 1] })
    }
  )

  test('stay where they are when their event ID was forgotten and has come again', () => {
    const t = timeline()
    t.json([reading('a'), reading('b')], 'meter-1')
    t.drain()
    t.tick(80 * 3_600_000, 3_600_000)
    t.start({}, [PUMP, press])
    t.json(reading('a', 30), 'meter-1')
    requeueAll(t)
    t.json([reading('a'), reading('b')], 'meter-1')
    t.drain()
    expect(
      t
        .readings()
        .map(row => [row.event_id, row.temperature])
        .sort()
    ).toEqual([
      ['a', 30],
      ['b', 20]
    ])
    expect(unresolvedRows(t.flushes)).toMatchObject([{ event_id: 'a' }])
  })

  test('for which the store was full are taken in when there is room', () => {
    const t = timeline({ eventIdBytesMax: 60 }, [PUMP, press])
    t.json([reading('a'), reading('b'), reading('b', 30)], 'meter-1')
    t.drain()
    expect(unresolvedRows(t.flushes)).toMatchObject([{ event_id: 'b', accounted: false }, { event_id: 'b' }])
    t.start({ eventIdBytesMax: SETTINGS.eventIdBytesMax }, [PUMP, press])
    requeueAll(t)
    t.drain()
    expect(t.readings().map(row => [row.event_id, row.temperature])).toEqual([
      ['a', 20],
      ['b', 20]
    ])
    expect(unresolvedRows(t.flushes)).toEqual([])
    expect(t.ledger('meter-1', 0)).toMatchObject({ archived: 2, quarantined: 0 })
  })
})

describe('a requeue frame', () => {
  const requeue: fc.Arbitrary<Requeue> = fc.record({
    run: fc.string({ minLength: 1, maxLength: 64 }),
    asOfEntry: fc.nat(),
    entry: fc.integer({ min: 1 }),
    frameIndex: fc.nat(),
    ingestMs: fc.integer(),
    kind: fc.constantFrom('batch', 'json'),
    accounted: fc.array(fc.oneof(fc.integer({ min: 1 }), fc.string({ maxLength: 128 })), { maxLength: 20 }),
    unaccounted: fc.array(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), { maxLength: 20 }),
    isWhole: fc.boolean(),
    payload: fc.uint8Array({ maxLength: 300 })
  })

  test('gives back what was written into it', () => {
    fc.assert(
      fc.property(requeue, each => {
        const { payload, ...head } = decodeRequeue(encodeRequeue(each))
        expect({ ...head, payload: Uint8Array.from(payload) }).toEqual(each)
      })
    )
  })

  test('is refused where its head is cut off', () => {
    fc.assert(
      fc.property(requeue, each => {
        const bytes = encodeRequeue({ ...each, payload: new Uint8Array(0) })
        for (let length = 0; length < bytes.length; length++) expect(() => decodeRequeue(bytes.subarray(0, length))).toThrow()
      }),
      { numRuns: 20 }
    )
  })
})
