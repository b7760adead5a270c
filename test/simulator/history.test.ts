import { decodeBatch } from '@tidemark/protocol'
import { afterEach, describe, expect, test } from 'vitest'
import { deviceOf, PROFILE, trueTimeMs } from '../../simulator/src/device.js'
import { NO_FAULTS } from '../../simulator/src/faults.js'
import { sendHistory } from '../../simulator/src/history.js'
import { highestSeqAt } from '../../simulator/src/history-batch.js'
import type { HistoryOptions } from '../../simulator/src/history-options.js'
import { labelsOf } from '../../simulator/src/labels.js'
import { OUTAGE_MS_MAX, OUTAGE_MS_MIN } from '../../simulator/src/limits.js'
import { failuresAround } from '../../simulator/src/machine.js'
import { isOut } from '../../simulator/src/outages.js'
import { startBroker, type TestBroker, type Verdict } from './mqtt-broker.js'

const HOUR_MS = 3_600_000
const START_MS = Date.UTC(2026, 0, 5)

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

async function brokerFor(judge?: (n: number) => Verdict): Promise<TestBroker> {
  const broker = await startBroker(judge)
  cleanups.push(() => broker.close())
  return broker
}

const options = (url: string, more: Partial<HistoryOptions> = {}): HistoryOptions => ({
  ...{ url, devices: 5, forMs: 24 * HOUR_MS, startMs: START_MS, intervalMs: 10 * 60_000, publishEveryMs: HOUR_MS, seed: 3, outages: 0 },
  speed: Number.POSITIVE_INFINITY,
  ...more
})

/** The seqs and event times that each device's batches hold, in the order in which the broker first took them in. */
function sentBy(broker: TestBroker): Map<string, { seqs: number[]; times: number[]; ends: number[] }> {
  const sent = new Map<string, { seqs: number[]; times: number[]; ends: number[] }>()
  const seen = new Set<string>()
  for (const { deviceId, payload } of broker.received) {
    const key = `${deviceId} ${Buffer.from(payload).toString('hex')}`
    if (seen.has(key)) continue
    seen.add(key)
    const decoded = decodeBatch(payload, () => PROFILE)
    if (decoded === null || decoded.reject !== null) throw new Error('the broker got what is no batch')
    const of = sent.get(deviceId) ?? { seqs: [], times: [], ends: [] }
    of.seqs.push(...decoded.header.seqs)
    of.times.push(...(decoded.eventTimesMs ?? []))
    if (decoded.endOfStreamSeq !== null) of.ends.push(decoded.endOfStreamSeq)
    sent.set(deviceId, of)
  }
  return sent
}

describe('a history', () => {
  test('reaches the broker whole and in order, a batch an hour, and ends every stream', async () => {
    const broker = await brokerFor()
    const times: number[] = []
    const report = await sendHistory(options(broker.url, { setClock: timeMs => times.push(timeMs) }))
    expect(report).toMatchObject({ devices: 5, ended: 5, disconnects: 0, backlogBatches: 0, endMs: START_MS + 24 * HOUR_MS })
    expect(times).toEqual(Array.from({ length: 24 }, (_, k) => START_MS + (k + 1) * HOUR_MS))
    const sent = sentBy(broker)
    expect(sent.size).toBe(5)
    for (const [i, id] of [...sent.keys()].sort().entries()) {
      const { seqs, times, ends } = sent.get(id)!
      const lastSeq = report.run.seqs[i]
      expect(seqs).toEqual(Array.from({ length: lastSeq }, (_, k) => k + 1))
      expect(times).toEqual(seqs.map(seq => trueTimeMs(report.run.plan, deviceOf(report.run.plan, i), seq)))
      expect(ends).toEqual([lastSeq])
      expect(lastSeq).toBe(highestSeqAt(report.run.plan, deviceOf(report.run.plan, i), report.endMs))
    }
    expect(report.readings).toBe(report.run.seqs.reduce((sum, seq) => sum + seq, 0))
  })

  test('is never ahead of its clock: what is sent in a step was measured before', async () => {
    let nowMs = START_MS
    const late: number[] = []
    const broker = await brokerFor(() => 'ack')
    const seen = () => broker.received.length
    const marks: { readonly nowMs: number; readonly from: number }[] = []
    await sendHistory(
      options(broker.url, {
        setClock: timeMs => {
          nowMs = timeMs
          marks.push({ nowMs, from: seen() })
        }
      })
    )
    for (const [k, { nowMs, from }] of marks.entries()) {
      for (const { payload } of broker.received.slice(from, marks[k + 1]?.from)) {
        const times = decodeBatch(payload, () => PROFILE)?.eventTimesMs ?? []
        late.push(...[...times].filter(time => time > nowMs))
      }
    }
    expect(marks.length).toBe(24)
    expect(late).toEqual([])
  })

  test('holds back what a device measures while it is out of reach, and sends it in order after', async () => {
    const broker = await brokerFor()
    const report = await sendHistory(options(broker.url, { devices: 8, forMs: 72 * HOUR_MS, outages: 0.5 }))
    expect(report.backlogBatches).toBeGreaterThan(3)
    expect(report.ended).toBe(8)
    for (const [, { seqs }] of sentBy(broker)) expect(seqs).toEqual(seqs.map((_, k) => k + 1))
    expect(report.readings).toBe(report.run.seqs.reduce((sum, seq) => sum + seq, 0))
  })

  test('loses nothing when connections and PUBACKs are lost', async () => {
    const broker = await brokerFor(n => (n % 17 === 0 ? 'lose' : n % 13 === 0 ? 'lose-ack' : 'ack'))
    const report = await sendHistory(options(broker.url, { forMs: 12 * HOUR_MS }))
    expect(report.disconnects).toBeGreaterThan(2)
    expect(report.ended).toBe(5)
    for (const [, { seqs }] of sentBy(broker)) expect(new Set(seqs).size).toBe(Math.max(...seqs))
  })

  test('ends where it is when it is told to stop', async () => {
    const broker = await brokerFor()
    const stop = new AbortController()
    const report = await sendHistory(
      options(broker.url, { signal: stop.signal, setClock: timeMs => timeMs >= START_MS + 5 * HOUR_MS && stop.abort() })
    )
    expect(report).toMatchObject({ endMs: START_MS + 5 * HOUR_MS, ended: 5 })
    for (const [, { seqs, ends }] of sentBy(broker)) expect(ends).toEqual([seqs.length])
  })

  test.each([
    [{ devices: 0 }, 'the number of devices'],
    [{ outages: 2 }, 'a rate of 2'],
    [{ speed: 0 }, 'the speed'],
    [{ forMs: 1 }, 'the length of the history'],
    [{ startMs: 5 }, 'the start in Unix ms']
  ])('refuses %o', async (more, message) => {
    await expect(sendHistory(options('mqtt://127.0.0.1:1', more))).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(message)
    })
  })
})

test('an outage lasts two hours or more, a device without a rate has none, and the rate says how often', () => {
  const step = HOUR_MS / 2
  const endMs = START_MS + 60 * 24 * HOUR_MS
  const lengths: number[] = []
  for (let device = 0; device < 40; device++) {
    expect([0, 1, 2, 3].some(day => isOut(9, device, 0, START_MS + day * 24 * HOUR_MS))).toBe(false)
    let lengthMs = 0
    for (let timeMs = START_MS; timeMs < endMs; timeMs += step) {
      if (isOut(9, device, 0.05, timeMs)) lengthMs += step
      else if (lengthMs > 0) {
        if (timeMs - lengthMs > START_MS) lengths.push(lengthMs) // else it had begun before
        lengthMs = 0
      }
    }
  }
  const perDay = lengths.length / (40 * 60)
  expect(perDay).toBeGreaterThan(0.03)
  expect(perDay).toBeLessThan(0.06)
  expect(Math.min(...lengths)).toBeGreaterThanOrEqual(OUTAGE_MS_MIN - step)
  expect(lengths.reduce((sum, length) => sum + length, 0) / lengths.length).toBeLessThan(OUTAGE_MS_MAX)
})

describe('labels', () => {
  const plan = { seed: 5, firstDevice: 0, devices: 60, startMs: START_MS, intervalMs: HOUR_MS / 4, rates: NO_FAULTS }
  const seqs = new Array<number>(60).fill(20 * 24 * 4)
  const labels = [...labelsOf(plan, seqs, HOUR_MS, 24 * HOUR_MS)]

  test('are 1 exactly in the day before a failure', () => {
    expect(labels.filter(({ label }) => label === 1).length).toBeGreaterThan(24)
    const wrong = labels.filter(({ timeMs, label, failsMs }) => failsMs <= timeMs || label !== (failsMs - timeMs <= 24 * HOUR_MS ? 1 : 0))
    expect(wrong).toEqual([])
  })

  test('stand at each hour, except while the machine stands for its repair', () => {
    const wrong: { id: string; timeMs: number }[] = []
    for (let i = 0; i < plan.devices; i++) {
      const { id, machine } = deviceOf(plan, i)
      const times = new Set(labels.filter(({ deviceId }) => deviceId === id).map(({ timeMs }) => timeMs))
      for (let timeMs = START_MS + HOUR_MS; timeMs < START_MS + 20 * 24 * HOUR_MS; timeMs += HOUR_MS) {
        const stands = timeMs < failuresAround(machine, timeMs).lastMs + machine.repairMs
        if (times.has(timeMs) === stands) wrong.push({ id, timeMs })
      }
    }
    expect(wrong).toEqual([])
  })

  test('there are none for a device that was not measured', () => {
    expect([...labelsOf({ ...plan, devices: 1 }, [0], HOUR_MS, HOUR_MS)]).toEqual([])
  })
})
