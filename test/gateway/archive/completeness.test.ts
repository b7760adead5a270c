/** Hours of event time: what is counted in them, when they are complete, settled or open, and their markers. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { describe, expect, test } from 'vitest'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { at } from '../../kit/timeline.js'
import { ArchivedTimeline } from './completeness-kit.js'

describe('an hour counts', () => {
  test('what was received, quarantined, late and doubled, by event time', async () => {
    const a = new ArchivedTimeline()
    a.send('pump-1', 1, ['12:10', '12:20', '13:10'])
    a.send('pump-1', 1, ['12:10', '12:20'])
    a.t.reading({ device: 'pump-1', seq: 4, eventTimeMs: at('12:30'), values: { temperature: 999 }, oldestHeldSeq: 4 })
    a.t.reading({ device: 'pump-1', seq: 5, eventTimeMs: at('12:40'), oldestHeldSeq: 5 })
    await a.commit()
    expect(a.hours()).toMatchObject([
      { hourMs: at('12:00'), profile: 'pump', received: 4, quarantined: 1, late: 1, duplicates: 2, shed: 0, devices: 1 },
      { hourMs: at('13:00'), profile: 'pump', received: 1, quarantined: 0, late: 0, duplicates: 0, shed: 0, devices: 1 }
    ])
    a.send('pump-2', 1, ['12:50'])
    await a.commit()
    expect(a.hour(12), 'added up over boundaries').toMatchObject({ received: 5, devices: 2 })
    expect(a.hour(12, 'pump-2'), 'of one device').toMatchObject({ received: 1, devices: 1 })
  })

  test('JSON readings too', async () => {
    const a = new ArchivedTimeline()
    const reading = { event_id: 'a', event_time: at('12:10'), profile: 'pump', temperature: 21 }
    a.t.json([reading, { ...reading, event_id: 'b', event_time: at('12:20') }])
    a.t.json(reading)
    await a.commit()
    expect(a.hour(12)).toMatchObject({ received: 2, duplicates: 1 })
  })

  test('no reading whose event time cannot be true', async () => {
    const a = new ArchivedTimeline()
    a.t.reading({ seq: 1, eventTimeMs: at('23:00') })
    a.t.reading({ seq: 2, eventTimeMs: Date.UTC(1980, 0, 1) })
    await a.commit()
    expect(a.t.quarantine()).toHaveLength(2)
    expect(a.hours()).toEqual([])
  })

  //  seq    10     11 … 20        21
  //  event  12:50  shed           13:10   half of the time between lies in each hour
  test('shed seqs, spread evenly between the readings beside them', async () => {
    const a = new ArchivedTimeline()
    a.t.batch({ readings: [{ seq: 10, eventTimeMs: at('12:50') }], oldestHeldSeq: 10 })
    a.t.batch({
      oldestHeldSeq: 21,
      highestSampledSeq: 21,
      tombstones: [{ firstSeq: 11, lastSeq: 20, keepEvery: 0 }],
      readings: [{ seq: 21, eventTimeMs: at('13:10') }]
    })
    await a.commit()
    expect([a.hour(12)?.shed, a.hour(13)?.shed]).toEqual([5, 5])
    expect(a.hour(12)?.unseen, 'seqs 1 to 9 were never seen').toMatchObject([{ firstSeq: 1, lastSeq: 9 }])
  })
})

describe('an hour is complete', () => {
  test('when every device is past it', async () => {
    const a = new ArchivedTimeline()
    a.send('pump-1', 1, ['12:10', '13:10'])
    a.send('pump-2', 1, ['12:20', '12:59'])
    await a.commit()
    expect(a.hour(12)).toMatchObject({ state: 'open', behind: 1, behindDevices: ['pump-2'] })
    expect(a.marker(12)).toBeNull()
    a.send('pump-2', 3, ['13:00'])
    await a.commit()
    expect(a.hour(12)).toMatchObject({ state: 'complete', behind: 0, silent: 0, unseen: [] })
    expect(a.hour(13)).toMatchObject({ state: 'open', behind: 2 })
    expect(a.marker(12)).toMatchObject({ profile: 'pump', hour: '2026-11-24T12:00:00.000Z', rows: 3, received: 3, devices: 2 })
  })

  test('not while a seq of it is missing, and that is named', async () => {
    const a = new ArchivedTimeline()
    a.send('pump-1', 1, ['12:10'])
    a.send('pump-1', 4, ['12:40', '13:10'], 4)
    await a.commit()
    expect(a.hour(12)).toMatchObject({ state: 'open', behind: 0 })
    expect(a.hour(12)?.unseen).toEqual([
      { deviceId: 'pump-1', epoch: 1, firstSeq: 2, lastSeq: 3, seqs: 2, held: false, fromMs: at('12:10'), toMs: at('12:40') }
    ])
    a.send('pump-1', 2, ['12:20', '12:30'])
    await a.commit()
    expect(a.hour(12), 'they came after all').toMatchObject({ state: 'complete', received: 4, late: 2 })
  })

  test('not while the device holds a seq of it back, though its watermark has gone on without it', async () => {
    const a = new ArchivedTimeline()
    a.send('pump-1', 1, ['12:50'])
    a.send('pump-1', 3, ['13:50'], 1)
    a.t.tick(61_000)
    await a.commit()
    expect(a.t.watermark('pump-1')).toBe(at('13:40'))
    expect(a.hour(12)).toMatchObject({ state: 'open', behind: 0, unseen: [{ firstSeq: 2, lastSeq: 2, held: true }] })
    a.send('pump-1', 2, ['12:55'], 1)
    await a.commit()
    expect(a.hour(12)).toMatchObject({ state: 'complete', unseen: [] })
  })

  test('though seqs of it were shed or quarantined: they are accounted for', async () => {
    const a = new ArchivedTimeline()
    a.send('pump-1', 1, ['12:10'])
    a.t.batch({
      device: 'pump-1',
      oldestHeldSeq: 4,
      highestSampledSeq: 5,
      tombstones: [{ firstSeq: 2, lastSeq: 3, keepEvery: 0 }],
      readings: [
        { seq: 4, eventTimeMs: at('12:40'), values: { temperature: 999 } },
        { seq: 5, eventTimeMs: at('13:00') }
      ]
    })
    await a.commit()
    expect(a.hour(12)).toMatchObject({ state: 'complete', received: 2, quarantined: 1, shed: 2 })
  })

  test('only when none of its rows waits for a file', async () => {
    const a = new ArchivedTimeline({ smallHourWaitMs: 600_000 })
    a.send('pump-1', 1, ['12:10', '13:10'])
    a.t.tick(61_000)
    await a.commit({ drain: false })
    expect(a.hour(12)).toMatchObject({ state: 'open', waiting: 1 })
    expect(a.marker(12)).toBeNull()
    await a.commit()
    expect(a.hour(12)).toMatchObject({ state: 'complete', waiting: 0 })
    expect(a.marker(12)).toMatchObject({ rows: 1 })
  })

  test('without a device that is retired, and not without it when it is taken back', async () => {
    const a = new ArchivedTimeline()
    a.send('pump-1', 1, ['12:10', '13:10'])
    a.send('pump-2', 1, ['12:10'])
    a.send('pump-2', 3, ['12:20'], 3)
    a.t.set('pump-2', { retired: true })
    await a.commit()
    expect(a.hour(12)).toMatchObject({ state: 'complete', received: 3 })
    expect(a.marker(12)).not.toBeNull()
    a.t.set('pump-2', { retired: false })
    await a.commit()
    expect(a.hour(12)).toMatchObject({ state: 'open', behindDevices: ['pump-2'], unseen: [{ firstSeq: 2 }] })
    expect(a.marker(12)).toBeNull()
  })

  test('though a device that never sent was registered after it; hours from then on wait for that device', async () => {
    const a = new ArchivedTimeline()
    a.send('pump-1', 1, ['12:10', '13:50'])
    a.t.set('pump-9', {})
    await a.commit()
    expect(a.hour(12)?.state, 'registered at 14:00').toBe('complete')
    a.t.leap(7_200_000)
    a.send('pump-1', 3, ['14:10', '15:10'])
    await a.commit()
    expect(a.hour(14)).toMatchObject({ state: 'open', behindDevices: ['pump-9'] })
  })
})

describe('a device that has ended its stream', () => {
  const ending = { device: 'pump-1', oldestHeldSeq: 3, highestSampledSeq: 2, endOfStreamSeq: 2 }

  test('holds no hour back, however long it is silent', async () => {
    const a = new ArchivedTimeline({ idleTimeoutMs: 600_000 })
    a.send('pump-1', 1, ['12:10', '12:20'], 1)
    a.send('pump-2', 1, ['12:20', '13:30'])
    a.t.batch(ending)
    a.t.tick(60_000)
    await a.commit()
    expect(a.hour(12)).toMatchObject({ state: 'complete', behind: 0, silent: 0 })
    expect(a.marker(12)).toMatchObject({ rows: 3 })
    a.t.tick(1_200_000, 1000)
    await a.commit()
    expect(a.hour(12)).toMatchObject({ state: 'complete', silent: 0 })
    expect(a.t.device('pump-1')).toMatchObject({ ended: true })
  })

  test('but one that lacks a seq, and one that has gone on', async () => {
    const a = new ArchivedTimeline()
    a.send('pump-1', 1, ['12:10'], 1)
    a.send('pump-2', 1, ['12:20', '13:30'])
    a.t.batch(ending)
    await a.commit()
    expect(a.hour(12), 'its seq 2 is missing').toMatchObject({ state: 'open', behind: 0, unseen: [{ firstSeq: 2, lastSeq: 2 }] })
    a.send('pump-1', 2, ['12:20'], 1)
    await a.commit()
    expect(a.hour(12)).toMatchObject({ state: 'complete' })
    a.t.batch({ device: 'pump-1', epoch: 9, readings: [{ seq: 1, eventTimeMs: at('12:40') }] })
    await a.commit()
    expect(a.hour(12), 'under a new epoch').toMatchObject({ state: 'open', behind: 1, behindDevices: ['pump-1'] })
    expect(a.marker(12)).toBeNull()
  })
})

test('an hour is settled when only silent devices are behind, and their number is stated', async () => {
  const a = new ArchivedTimeline()
  a.send('pump-1', 1, ['12:10'])
  a.send('pump-2', 1, ['12:10'])
  a.send('pump-3', 1, ['12:10', '13:10'])
  await a.commit()
  expect(a.hour(12)).toMatchObject({ state: 'open', behind: 2, silent: 0 })
  a.t.tick(540_000)
  a.send('pump-3', 3, ['13:20'])
  a.t.tick(120_000)
  await a.commit()
  expect(a.hour(12)).toMatchObject({ state: 'settled', behind: 0, silent: 2, silentDevices: ['pump-1', 'pump-2'] })
  expect(a.marker(12), 'settled is not complete').toBeNull()
  a.send('pump-1', 2, ['13:10'])
  a.send('pump-2', 2, ['13:10'])
  await a.commit()
  expect(a.hour(12)?.state).toBe('complete')
})

describe('the marker', () => {
  test('is withdrawn when late data waits, and restored, with new counts, when that is in its file', async () => {
    const a = new ArchivedTimeline({ smallHourWaitMs: 600_000 })
    a.send('pump-1', 1, ['12:10', '13:10'])
    await a.commit()
    expect(a.marker(12)).toMatchObject({ rows: 1, late: 0 })
    a.send('pump-1', 3, ['12:30'])
    a.t.tick(61_000)
    await a.commit({ drain: false })
    expect(a.hour(12)).toMatchObject({ state: 'open', late: 1, waiting: 1 })
    expect(a.marker(12)).toBeNull()
    await a.commit()
    expect(a.marker(12)).toMatchObject({ rows: 2, late: 1, received: 2, boundary_entry: a.t.entries.length })
  })

  test('speaks of the late row that a boundary both brings and writes out', async () => {
    const a = new ArchivedTimeline()
    a.send('pump-1', 1, ['12:10', '13:10'])
    await a.commit()
    expect(a.marker(12)).toMatchObject({ rows: 1, late: 0 })
    a.send('pump-1', 3, ['12:30'])
    await a.commit()
    expect(a.marker(12)).toMatchObject({ rows: 2, late: 1, boundary_entry: a.t.entries.length })
  })

  test('waits for a seq that is missing in its hour', async () => {
    const a = new ArchivedTimeline()
    a.send('pump-1', 1, ['12:10', '12:20', '13:10'])
    a.send('pump-1', 5, ['13:30'], 5)
    a.send('pump-2', 1, ['12:10'])
    a.send('pump-2', 3, ['12:40', '13:10', '14:00'], 3)
    await a.commit()
    expect(a.hour(12)).toMatchObject({ state: 'open', behind: 0, unseen: [{ deviceId: 'pump-2', firstSeq: 2, lastSeq: 2 }] })
    expect(a.marker(12)).toBeNull()
    a.send('pump-2', 2, ['12:20'], 2)
    await a.commit()
    expect(a.marker(12)).toMatchObject({ rows: 5, late: 1 })
  })

  test('is withdrawn when a device shows up that has the hour still before it', async () => {
    const a = new ArchivedTimeline()
    a.send('pump-1', 1, ['12:10', '13:10'])
    await a.commit()
    expect(a.marker(12)).not.toBeNull()
    a.send('pump-2', 1, ['11:10'])
    await a.commit()
    expect(a.hour(12)).toMatchObject({ state: 'open', behindDevices: ['pump-2'] })
    expect(a.marker(12)).toBeNull()
    a.send('pump-2', 2, ['12:10', '13:10'])
    await a.commit()
    expect(a.marker(12)).toMatchObject({ rows: 2, devices: 2 })
  })

  test('stays as it is while nothing changes', async () => {
    const a = new ArchivedTimeline()
    a.send('pump-1', 1, ['12:10', '13:10'])
    await a.commit()
    const first = a.marker(12)
    a.send('pump-1', 3, ['13:20'])
    await a.commit()
    expect(a.marker(12)).toEqual(first)
  })

  test('is put back by recovery where it is gone or torn, and deleted where it should not be', async () => {
    const a = new ArchivedTimeline()
    a.send('pump-1', 1, ['11:10', '12:10', '13:10'])
    await a.commit()
    const [eleven, twelve] = [a.marker(11), a.marker(12)]
    rmSync(a.markerPath(11))
    writeFileSync(a.markerPath(12), '{"torn"')
    mkdirSync(dirname(a.markerPath(14)), { recursive: true })
    for (const hour of [13, 14]) writeFileSync(a.markerPath(hour), '{}')
    recoverArchive(a.dataDir, 0, message => expect.unreachable(message))
    expect([a.marker(11), a.marker(12), a.marker(13), a.marker(14)]).toEqual([eleven, twelve, null, null])
  })
})
