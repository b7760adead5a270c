import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeBatch, ROTATING_MACHINE } from '@tidemark/protocol'
import { afterEach, describe, expect, test } from 'vitest'
import { BrokerUnreachableError, UsageError } from '../../simulator/src/broker.js'
import { BrokerRefusedError } from '../../simulator/src/connection.js'
import type { FleetOptions, FleetProgress } from '../../simulator/src/fleet-options.js'
import { runFleet } from '../../simulator/src/run-fleet.js'
import { verifyArchive } from '../../simulator/src/verify.js'
import { takeIn, writeArchive } from './archive-writer.js'
import { startBroker, type TestBroker } from './mqtt-broker.js'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

async function brokerFor(...options: Parameters<typeof startBroker>): Promise<TestBroker> {
  const broker = await startBroker(...options)
  cleanups.push(() => broker.close())
  return broker
}

function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'tidemark-sim-test-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

const optionsFor = (broker: { url: string }): FleetOptions => ({
  url: broker.url,
  devices: 20,
  intervalMs: 50,
  forMs: 1500,
  seed: 11,
  rates: { duplicates: 0.05, late: 0.1, poison: 0.1 }
})

describe('a fleet', () => {
  test('sends what the oracle says, faults and all', async () => {
    const broker = await brokerFor()
    const report = await runFleet(optionsFor(broker))
    expect(report).toMatchObject({ devices: 20, sampled: 600, unacked: 0, ended: 20, redelivered: 0, disconnects: 0 })
    expect(report.acked).toBe(report.published)
    expect(report.run.seqs).toEqual(new Array(20).fill(30))
    for (const sent of [report.duplicatesSent, report.heldBackSent, report.lateSent, report.poisonSent]) expect(sent).toBeGreaterThan(3)
    expect(report.pubackMs.p50).toBeGreaterThan(0)
    expect(report.pubackMs.p999).toBeGreaterThanOrEqual(report.pubackMs.p50)

    const archive = takeIn(broker.received)
    const dir = tempDir()
    await writeArchive(dir, archive)
    const result = await verifyArchive({ archiveDir: dir, run: report.run })
    expect(result).toMatchObject({
      ok: true,
      missing: 0,
      doubled: 0,
      different: 0,
      unexpected: 0,
      late: report.lateSent,
      lateExpected: report.lateSent
    })
    expect(result.expected + result.quarantinedExpected).toBe(600)
    expect(result.quarantined).toBeGreaterThan(3)
  })

  test('ends the stream of every device behind its last reading', async () => {
    const broker = await brokerFor()
    const { run } = await runFleet({ ...optionsFor(broker), forMs: 300 })
    const marks = new Map<string, number>()
    for (const { deviceId, payload } of broker.received) {
      expect(marks.has(deviceId), 'nothing follows a mark').toBe(false)
      const endOfStreamSeq = decodeBatch(payload, () => ROTATING_MACHINE)?.endOfStreamSeq
      if (typeof endOfStreamSeq === 'number') marks.set(deviceId, endOfStreamSeq)
    }
    expect([...marks.values()]).toEqual(run.seqs)
    expect(marks.size).toBe(20)
    expect(broker.sockets.size).toBe(0)
  })

  test('gets everything through a broker that loses connections', async () => {
    const broker: TestBroker = await brokerFor(n => (n % 40 === 0 ? 'lose' : n % 57 === 0 ? 'lose-ack' : 'ack'))
    const report = await runFleet(optionsFor(broker))
    expect(report.unacked).toBe(0)
    expect(report.disconnects).toBeGreaterThan(5)
    expect(report.redelivered).toBeGreaterThan(0)
    const dir = tempDir()
    await writeArchive(dir, takeIn(broker.received))
    expect(await verifyArchive({ archiveDir: dir, run: report.run })).toMatchObject({ ok: true, expected: expect.any(Number), missing: 0 })
  })

  test('sends what fell due while the broker was away once it is back', async () => {
    // away from the 100th PUBLISH of 1,200 until the sampling is over
    const broker: TestBroker = await brokerFor(n => {
      if (n === 100) broker.setUp(false)
      return 'ack'
    })
    const onProgress = ({ phase }: FleetProgress) => {
      if (phase === 'draining') broker.setUp(true)
    }
    const report = await runFleet({ ...optionsFor(broker), forMs: 3000 }, onProgress)
    expect(report).toMatchObject({ sampled: 1200, unacked: 0, ended: 20 })
    expect(report.disconnects).toBeGreaterThanOrEqual(20)
    // Counted from when they were due: most of them waited, though they were acked soon once they could be sent.
    expect(report.pubackMs.p50).toBeGreaterThan(1000)
    const dir = tempDir()
    await writeArchive(dir, takeIn(broker.received))
    expect(await verifyArchive({ archiveDir: dir, run: report.run })).toMatchObject({ ok: true, missing: 0 })
  })

  test('gives up after its time to drain, and says how much was not acked', async () => {
    const broker = await brokerFor()
    const onProgress = ({ acked }: FleetProgress) => {
      if (acked > 0) broker.setUp(false)
    }
    const report = await runFleet({ ...optionsFor(broker), forMs: 1200, drainMsMax: 100 }, onProgress)
    expect(report.unacked).toBeGreaterThan(0)
    expect(report.unacked).toBeLessThan(report.sampled)
    expect(report.ended).toBe(0)
  })

  test('stops early when it is told to, with all that it sampled acked', async () => {
    const broker = await brokerFor()
    const stop = new AbortController()
    const phases = new Set<string>()
    const onProgress = ({ phase, acked }: FleetProgress) => {
      phases.add(phase)
      if (acked > 0) stop.abort()
    }
    const report = await runFleet({ ...optionsFor(broker), forMs: 3_600_000, signal: stop.signal }, onProgress)
    expect(report.sampled).toBeGreaterThan(0)
    expect(report.unacked).toBe(0)
    expect(report.sampled).toBe(report.run.seqs.reduce((sum, seq) => sum + seq, 0))
    expect([...phases]).toEqual(expect.arrayContaining(['sampling']))
  })

  test('that is told to stop before it began samples nothing', async () => {
    const broker = await brokerFor()
    const report = await runFleet({ ...optionsFor(broker), signal: AbortSignal.abort() })
    expect(report).toMatchObject({ sampled: 0, published: 0, unacked: 0 })
    expect(broker.received).toEqual([])
  })

  test('counts its event times from the start that it is given', async () => {
    const broker = await brokerFor()
    const startMs = Date.UTC(2026, 0, 2, 3, 4, 5)
    const { run } = await runFleet({ ...optionsFor(broker), rates: { duplicates: 0, late: 0, poison: 0 }, startMs, forMs: 200 })
    const times = broker.received.flatMap(({ payload }) => [...(decodeBatch(payload, () => ROTATING_MACHINE)?.eventTimesMs ?? [])])
    expect(run.plan.startMs).toBe(startMs)
    expect(Math.min(...times)).toBe(startMs)
    expect(Math.max(...times)).toBeLessThan(startMs + 200)
  })

  test('shares its devices out to several runs', async () => {
    const broker = await brokerFor()
    const { run } = await runFleet({ ...optionsFor(broker), devices: 3, firstDevice: 70, forMs: 100 })
    expect(new Set(broker.received.map(({ deviceId }) => deviceId))).toEqual(new Set(['sim-000070', 'sim-000071', 'sim-000072']))
    expect(run.plan).toMatchObject({ firstDevice: 70, devices: 3 })
  })

  test('says so when there is no broker, or when it refuses', async () => {
    const gone = await startBroker()
    await gone.close()
    await expect(runFleet(optionsFor(gone))).rejects.toThrow(BrokerUnreachableError)
    await expect(runFleet(optionsFor(gone))).rejects.toThrow(/no broker can be reached at 127\.0\.0\.1:\d+ .*start one/)
    const refusing = await brokerFor(() => 'ack', true)
    await expect(runFleet(optionsFor(refusing))).rejects.toThrow(BrokerRefusedError)
  })

  test('refuses options that make no sense, with a word on what would', async () => {
    const options = optionsFor({ url: 'mqtt://127.0.0.1:1' })
    const wrong: [Partial<FleetOptions>, RegExp][] = [
      [{ url: 'nonsense' }, /is no URL: write it like/],
      [{ url: 'mqtts://127.0.0.1' }, /mqtt:\/\/ only/],
      [{ url: 'mqtt://me:secret@127.0.0.1' }, /no credentials/],
      [{ devices: 0 }, /number of devices must be a whole number from 1/],
      [{ intervalMs: 0.5 }, /interval/],
      [{ startMs: 0 }, /start/],
      [{ rates: { duplicates: 0.5, late: 0.4, poison: 0.2 } }, /add up to more than 1/],
      [{ rates: { duplicates: -1, late: 0, poison: 0 } }, /not in 0\.\.1/]
    ]
    for (const [change, message] of wrong) {
      await expect(runFleet({ ...options, ...change })).rejects.toThrow(UsageError)
      await expect(runFleet({ ...options, ...change })).rejects.toThrow(message)
    }
  })
})
