/** What is served, against all rows that the same log gives, wherever they lie just then. */
import { DuckDBInstance } from '@duckdb/node-api'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { dataPaths } from '../../../gateway/src/archive/paths.js'
import type { FeatureCells } from '../../../gateway/src/serving/messages.js'
import { compareKeys, decodeCursor, type ReadingKey } from '../../../gateway/src/serving/reading-key.js'
import { readReadings } from '../../../gateway/src/serving/readings-query.js'
import { mergedHours } from '../../../gateway/src/serving/serving.js'
import { log, writeLog } from '../../kit/arbitrary-log.js'
import { EVERYTHING } from '../../kit/expect-features.js'
import type { Row } from '../../kit/flush-rows.js'
import { at, PUMP, Timeline } from '../../kit/timeline.js'
import { until } from '../../kit/until.js'
import { ServedLog } from './kit.js'

const DEVICES = ['pump-1', 'pump-2', 'pump-3', 'pump-4', 'pump-5']
const DAY = { fromMs: at('00:00'), toMs: at('24:00') }

type Json = Record<string, unknown>

async function page(
  served: ServedLog,
  deviceId: string,
  after: string | null,
  limit: number,
  metrics: string[] | null = null
): Promise<{ readings: Json[]; next: string | null } | null> {
  const request = { deviceId, ...DAY, after: after === null ? null : decodeCursor(after), limit, metrics }
  const bytes = await served.serving.readings(request)
  return bytes === null ? null : JSON.parse(new TextDecoder().decode(bytes))
}

/** All readings of a device, page by page; null: it is not known. */
async function allReadings(served: ServedLog, deviceId: string, limit: number): Promise<Json[] | null> {
  const readings: Json[] = []
  let next: string | null = null
  do {
    const got = await page(served, deviceId, next, limit)
    if (got === null) return null
    expect(got.readings.length).toBeLessThanOrEqual(limit)
    readings.push(...got.readings)
    next = got.next
  } while (next !== null)
  return readings
}

function keyOf(row: Row): ReadingKey {
  return [Number(row.event_time), Number(row.epoch ?? 0), Number(row.seq ?? 0), String(row.event_id ?? ''), Number(row.ingest_time)]
}

const isoTime = (ms: unknown) => new Date(ms as number).toISOString()

/** A reading of the processor's as it is to be served; columns that a profile's other version has may be null beside. */
function asServed({ device_id: _, event_time: eventTime, ingest_time: ingestTime, ...row }: Row): Json {
  return { ...row, event_time: isoTime(eventTime), ingest_time: isoTime(ingestTime) }
}

function withoutNulls(row: Json | FeatureCells | Row | null): Json | null {
  return row === null ? null : Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null))
}

function newest(rows: readonly Row[]): Row | null {
  const order = (a: Row, b: Row) =>
    (['as_of', 'revision', 'known_at'] as const).map(name => (a[name] as number) - (b[name] as number)).find(d => d !== 0) ?? 0
  return [...rows].sort(order).at(-1) ?? null
}

/** The definition: of what was available then, the latest as_of, then the latest revision. */
function asOf(rows: readonly Row[], deviceId: string, profile: string, timeMs: number, embargoMs: number): Row | null {
  return newest(
    rows.filter(
      row =>
        row.device_id === deviceId && row.profile === profile && Math.max(row.known_at as number, row.as_of as number) + embargoMs <= timeMs
    )
  )
}

async function expectServed(served: ServedLog, limit: number): Promise<void> {
  const { readings, features } = served.rows()
  for (const deviceId of DEVICES) {
    const expected = readings.filter(row => row.device_id === deviceId).sort((a, b) => compareKeys(keyOf(a), keyOf(b)))
    const got = await allReadings(served, deviceId, limit)
    expect((got ?? []).map(withoutNulls)).toEqual(expected.map(row => withoutNulls(asServed(row))))
    const own = features.filter(row => row.device_id === deviceId)
    const latest = await served.serving.latest(deviceId)
    expect(latest === null).toBe(got === null)
    const profiles = [...new Set(own.map(row => row.profile))].sort()
    expect((latest?.rows ?? []).map(withoutNulls)).toEqual(
      profiles.map(profile => withoutNulls(newest(own.filter(row => row.profile === profile))))
    )
  }
}

async function expectAsOf(served: ServedLog, embargoMs: number): Promise<void> {
  const { features } = served.rows()
  const nowMs = served.entries.at(-1)!.ingestMs
  const times = [
    ...new Set(features.flatMap(row => [row.known_at as number, (row.known_at as number) - 1, row.as_of as number])),
    nowMs
  ].map(ms => ms + embargoMs)
  const wanted = DEVICES.flatMap(deviceId =>
    times.filter((_, k) => k % 5 === 0 || k === times.length - 1).map(timeMs => ({ deviceId, timeMs }))
  ).slice(0, 400)
  for (const profile of ['pump', 'everything']) {
    const { rows } = await served.serving.asOf({ wanted, profile, embargoMs })
    const expected = wanted.map(({ deviceId, timeMs }) => asOf(features, deviceId, profile, timeMs, embargoMs))
    expect(rows.map(withoutNulls)).toEqual(expected.map(withoutNulls))
  }
}

test('of any log, at any entry, wherever its rows lie: each reading once, the latest rows, and those of any time before', async () => {
  await fc.assert(
    fc.asyncProperty(
      log,
      fc.array(fc.tuple(fc.nat(200), fc.constantFrom(0, 1, 2, 2), fc.boolean()), { minLength: 2, maxLength: 4 }),
      fc.constantFrom(0, 45_000),
      async (steps, looks, embargoMs) => {
        const t = new Timeline()
        writeLog(t, steps)
        const served = new ServedLog()
        for (const entry of t.entries) {
          served.apply(entry)
          for (const [_, left, isNew] of looks.filter(([place]) => place % t.entries.length === entry.entry - 1)) {
            await served.commit(left)
            if (isNew) served.forgetLatest()
            await expectServed(served, 1 + (entry.entry % 7))
            await expectAsOf(served, embargoMs)
          }
        }
        await served.commit()
        await expectServed(served, 1000)
      }
    ),
    { numRuns: 6, endOnFailure: true }
  )
}, 120_000)

/** Readings of one minute each from 14:00 on, `flushes` committed and the rest not. */
async function minutes(count: number, commits: number): Promise<ServedLog> {
  const t = new Timeline().start({ smallHourWaitMs: 0, smallHourRows: 0 })
  t.nowMs = at('14:00')
  for (let seq = 1; seq <= count; seq++) {
    t.tick(60_000, 30_000)
    t.reading({ seq, eventTimeMs: t.nowMs - 1000, values: { temperature: seq, flow: seq / 2 } })
  }
  const served = new ServedLog()
  for (const entry of t.entries) {
    served.apply(entry)
    await served.commit(Number.POSITIVE_INFINITY)
  }
  await served.commit(Math.max(0, count - commits))
  return served
}

const seqsOf = (got: { readings: Json[] } | null) => got?.readings.map(({ seq }) => seq)

describe('readings', () => {
  test('are the same when their files are merged between the list and the reading, and when one is gone they are asked for anew', async () => {
    const served = await minutes(12, 8)
    const expected = Array.from({ length: 12 }, (_, k) => k + 1)
    expect(seqsOf(await page(served, 'pump-7', null, 100))).toEqual(expected)
    let asked = 0
    served.onAsked = async () => {
      if (++asked === 1) expect(await served.compact()).toBeGreaterThan(1)
    }
    expect(seqsOf(await page(served, 'pump-7', null, 100)), 'superseded files are read where they lie').toEqual(expected)
    expect(asked).toBe(1)
    served.onAsked = async () => {
      if (++asked === 2) await served.compact('and delete what it replaces')
    }
    await served.commit()
    expect(seqsOf(await page(served, 'pump-7', null, 100)), 'deleted files are asked for anew').toEqual(expected)
    expect(asked).toBe(3)
  })

  test('are cut to the metrics, the range and the limit, and go on where they were cut', async () => {
    const served = await minutes(5, 3)
    const first = await page(served, 'pump-7', null, 2, ['flow'])
    expect(seqsOf(first)).toEqual([1, 2])
    expect(first?.readings[0]).toEqual({
      profile: 'pump',
      event_time: '2026-11-24T14:00:59.000Z',
      ingest_time: '2026-11-24T14:01:00.000Z',
      epoch: 1,
      seq: 1,
      event_id: null,
      late: false,
      clock: 'synced',
      profile_version: 1,
      flow: 0.5
    })
    expect(seqsOf(await page(served, 'pump-7', first!.next, 100))).toEqual([3, 4, 5])
    const range = { fromMs: at('14:01:59'), toMs: at('14:03:59') }
    const bytes = await served.serving.readings({ deviceId: 'pump-7', ...range, after: null, limit: 10, metrics: null })
    expect(seqsOf(JSON.parse(new TextDecoder().decode(bytes!))), 'from is in the range, to is not').toEqual([2, 3])
    expect(seqsOf(await page(served, 'pump-7', null, 100, ['level'])), 'no reading of it has such a metric').toEqual([])
  })

  test('of an answer that took too long end at an hour, and go on behind it with those of files and of memory, each once', async () => {
    const t = new Timeline().start({ smallHourWaitMs: 0, smallHourRows: 0 })
    const fromMs = t.nowMs
    const hours = 60
    for (let seq = 1; seq <= hours; seq++) {
      t.reading({ seq, eventTimeMs: t.nowMs })
      t.nowMs += 3_600_000
    }
    t.drain()
    t.reading({ seq: hours + 1, eventTimeMs: t.nowMs })
    const served = new ServedLog()
    for (const entry of t.entries) served.apply(entry)
    await served.commit()
    const instance = await DuckDBInstance.create(':memory:')
    onTestFinished(() => instance.closeSync())
    const connection = await instance.connect()
    await connection.run("SET TimeZone = 'UTC'")
    const read = vi.spyOn(served.client, 'read')
    const pages: (unknown[] | undefined)[] = []
    for (let after: string | null = ''; after !== null; ) {
      const request = { deviceId: 'pump-7', fromMs, toMs: t.nowMs + 3_600_000, limit: 1000, metrics: null }
      await served.serving.readings({ ...request, after: after === '' ? null : decodeCursor(after) })
      const job = read.mock.lastCall![0]
      if (job.job !== 'readings') throw new Error('no readings were asked for')
      let nowMs = 0
      const clock = vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += 10_000))
      const bytes = await readReadings(connection, dataPaths(served.dataDir), job).finally(() => clock.mockRestore())
      const got: { readings: Json[]; next: string | null } = JSON.parse(new TextDecoder().decode(bytes))
      pages.push(seqsOf(got))
      after = got.next
    }
    expect(pages.length).toBeGreaterThan(1)
    expect(pages.flat()).toEqual(Array.from({ length: hours + 1 }, (_, k) => k + 1))
  })

  test('of a device that nobody knows are none, and a cursor that is none is refused', async () => {
    expect(await page(await minutes(1, 1), 'pump-9', null, 10)).toBeNull()
    for (const text of ['', 'x', Buffer.from('[1,2]').toString('base64url')]) expect(decodeCursor(text)).toBeNull()
  })
})

test('more than a few at once are refused at once, and the next is answered when they are done', async () => {
  const served = await minutes(2, 2)
  const waiting: (() => void)[] = []
  served.onAsked = () => new Promise(resolve => waiting.push(resolve))
  const asked = Array.from({ length: 20 }, () => page(served, 'pump-7', null, 10).then(seqsOf, (error: { code: string }) => error.code))
  await until('two to be under way', () => waiting.length === 2)
  expect(await Promise.all(asked.slice(18))).toEqual(['SERVING_BUSY', 'SERVING_BUSY'])
  served.onAsked = async () => {}
  for (const go of waiting) go()
  expect(await Promise.all(asked.slice(0, 18))).toEqual(Array.from({ length: 18 }, () => [1, 2]))
  expect(seqsOf(await page(served, 'pump-7', null, 10))).toEqual([1, 2])
})

describe('features as of a time', () => {
  test('are those that a training set has', async () => {
    const served = await minutes(20, 3)
    const late = new Timeline().start()
    late.nowMs = served.entries.at(-1)!.ingestMs
    const payload = late.encode({
      readings: [{ seq: 21, eventTimeMs: at('14:05:30'), values: { temperature: 140 } }],
      highestSampledSeq: 21
    })
    served.append({ kind: 'batch', device: 'pump-7', payload })
    for (let k = 1; k <= 70; k++) served.append({ kind: 'tick' }, k === 1 ? 0 : 1000)
    const known = served.rows().features
    expect(Math.max(...known.map(row => row.revision as number)), 'there are corrections').toBeGreaterThan(0)
    const wanted = known.flatMap(row => [0, 1, 30_000].map(ms => ({ deviceId: 'pump-7', timeMs: (row.known_at as number) + ms })))
    for (const embargoMs of [0, 120_000]) {
      const { rows } = await served.serving.asOf({ wanted, profile: null, embargoMs })
      await served.commit()
      expect(rows.map(row => [row?.as_of, row?.revision, row?.known_at, row?.temp_mean_5m])).toEqual(
        await served.trainingSet(wanted, embargoMs)
      )
    }
  })

  test('of times far apart are each looked for where they are', async () => {
    const t = new Timeline().start()
    const timesMs = [0, 30 * 3_600_000, 300 * 3_600_000].map(ms => at('14:00') + ms)
    const served = new ServedLog()
    for (const [k, timeMs] of timesMs.entries()) {
      t.nowMs = timeMs
      t.reading({ seq: 2 * k + 1, eventTimeMs: timeMs })
      t.reading({ seq: 2 * k + 2, eventTimeMs: timeMs + 120_000 })
      t.drain()
    }
    for (const entry of t.entries) served.apply(entry)
    await served.commit()
    const wanted = [...timesMs, timesMs[0] - 1, timesMs[1] - 1, timesMs[2] - 1].map(timeMs => ({
      deviceId: 'pump-7',
      timeMs: timeMs + 130_000
    }))
    const far = { deviceId: 'pump-7', timeMs: timesMs[2] - 3_600_000 }
    const { rows } = await served.serving.asOf({
      wanted: [...wanted, far, { deviceId: 'stranger', timeMs: timesMs[2] }],
      profile: null,
      embargoMs: 0
    })
    const { features } = served.rows()
    expect(rows.map(row => row?.as_of ?? null)).toEqual(
      [...wanted, far].map(({ timeMs }) => asOf(features, 'pump-7', 'pump', timeMs, 0)?.as_of ?? null).concat([null])
    )
    expect(new Set(rows.map(row => row?.as_of)).size).toBeGreaterThan(3)
  })

  test('need a profile where there are several', async () => {
    const served = new ServedLog()
    const t = new Timeline().start({}, [PUMP, EVERYTHING])
    for (const profile of [PUMP, EVERYTHING]) {
      const values = profile === PUMP ? {} : { level: 1, pulses: 1 }
      for (const seq of [1, 2]) t.reading({ device: profile.name, profile, seq, eventTimeMs: t.nowMs + (seq - 2) * 1_200_000, values })
    }
    for (const entry of t.entries) served.apply(entry)
    const wanted = [{ deviceId: 'pump', timeMs: t.nowMs + 3_600_000 }]
    await expect(served.serving.asOf({ wanted, profile: null, embargoMs: 0 })).rejects.toMatchObject({
      code: 'PROFILE_NEEDED',
      profiles: ['everything', 'pump']
    })
    const { rows } = await served.serving.asOf({ wanted, profile: 'pump', embargoMs: 0 })
    expect(rows[0]).toMatchObject({ profile: 'pump', device_id: 'pump' })
  })
})

test('ranges of hours that touch become one', () => {
  const hour = 3_600_000
  const range = (from: number, through: number) => ({ fromMs: from * hour, throughMs: through * hour })
  expect(mergedHours([range(5, 6), range(1, 2), range(3, 3), range(2, 2), range(9, 9)])).toEqual([range(1, 3), range(5, 6), range(9, 9)])
})
