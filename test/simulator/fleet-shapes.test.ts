/** Fleets in other shapes: in several processes, over shared connections, in batches, with troubles, with a backlog. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeBatch, ROTATING_MACHINE } from '@tidemark/protocol'
import { expect, onTestFinished, test } from 'vitest'
import { BrokerUnreachableError, resolveDestinations, UsageError } from '../../simulator/src/broker.js'
import type { FleetOptions, FleetProgress, FleetReport } from '../../simulator/src/fleet-options.js'
import { LEAVE_PER_S, MESSAGE_READINGS_MAX } from '../../simulator/src/limits.js'
import { runOf } from '../../simulator/src/run-file.js'
import { runFleet } from '../../simulator/src/run-fleet.js'
import { verifyArchive } from '../../simulator/src/verify.js'
import { takeIn, writeArchive } from './archive-writer.js'
import { startBroker, type TestBroker } from './mqtt-broker.js'

async function brokerFor(...options: Parameters<typeof startBroker>): Promise<TestBroker> {
  const broker = await startBroker(...options)
  onTestFinished(() => broker.close())
  return broker
}

const optionsFor = (broker: { url: string }): FleetOptions => ({
  url: broker.url,
  devices: 24,
  intervalMs: 50,
  forMs: 1200,
  seed: 11,
  connectPerS: 5000
})

async function expectWhole(broker: TestBroker, report: FleetReport): Promise<void> {
  expect(report).toMatchObject({ unacked: 0, ended: report.devices })
  const dir = mkdtempSync(join(tmpdir(), 'tidemark-sim-shapes-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  await writeArchive(dir, takeIn(broker.received))
  const { seqs } = report.run
  const verified = await verifyArchive({ archiveDir: dir, run: report.run })
  expect(verified).toMatchObject({ ok: true, missing: 0, doubled: 0, different: 0 })
  expect(verified.expected + verified.quarantinedExpected).toBe(seqs.reduce((sum, seq) => sum + seq, 0))
}

test('processes share the devices, begin together and add up', async () => {
  const broker = await brokerFor()
  const tellings: FleetProgress[] = []
  const rates = { duplicates: 0.05, late: 0.1, poison: 0.1 }
  const report = await runFleet({ ...optionsFor(broker), processes: 3, rates }, telling => tellings.push(telling))
  expect(report).toMatchObject({ devices: 24, connections: 24, connectedAtStart: 24, sampled: 24 * 24 })
  expect(report.run.seqs).toEqual(new Array(24).fill(24))
  expect(runOf(report.run.plan, 1200)).toEqual(report.run)
  expect(report.published).toBe(report.acked)
  expect(report.pubackMs.p50).toBeGreaterThan(0)
  expect(tellings.at(-1)).toMatchObject({ phase: 'done', sampled: 576, inFlight: 0, share: 1 })
  await expectWhole(broker, report)
})

test('processes that are told to stop end with what they have sampled', async () => {
  const broker = await brokerFor()
  const stop = new AbortController()
  const report = await runFleet({ ...optionsFor(broker), processes: 2, forMs: 3_600_000, signal: stop.signal }, ({ acked }) => {
    if (acked > 0) stop.abort()
  })
  expect(report.sampled).toBeGreaterThan(0)
  await expectWhole(broker, report)
})

test('when their time is over devices leave one after the other, not in a burst', async () => {
  const broker = await brokerFor()
  const report = await runFleet({ ...optionsFor(broker), devices: 400, intervalMs: 1000, forMs: 1000 })
  expect(report.drainMs).toBeGreaterThan((400_000 / LEAVE_PER_S) * 0.95)
  await expectWhole(broker, report)
})

test('what a process meets is told as if it had been met here', async () => {
  const gone = await startBroker()
  await gone.close()
  await expect(runFleet({ ...optionsFor(gone), processes: 2 })).rejects.toThrow(BrokerUnreachableError)
})

test('what was not acked is sent again by whichever process it belongs to', async () => {
  const broker = await brokerFor(n => (n % 100 === 0 ? 'lose' : n % 150 === 0 ? 'lose-ack' : 'ack'))
  const report = await runFleet({ ...optionsFor(broker), processes: 2 })
  expect(report.redelivered).toBeGreaterThan(0)
  await expectWhole(broker, report)
})

test('connections that are cut, silence, delays and skewed clocks lose nothing', async () => {
  const broker = await brokerFor()
  const troubles = { disconnects: 0.02, delays: 0.05, silence: 0.5, skew: 0.5 }
  const report = await runFleet({ ...optionsFor(broker), troubles, rates: { duplicates: 0.05, late: 0.1, poison: 0.1 } })
  expect(report.cut).toBeGreaterThan(3)
  expect(report.disconnects).toBeGreaterThanOrEqual(report.cut - 24)
  expect(report.run.plan.troubles).toEqual(troubles)
  await expectWhole(broker, report)
})

test('a few connections carry many devices', async () => {
  const broker = await brokerFor(n => (n % 200 === 0 ? 'lose' : 'ack'))
  const report = await runFleet({ ...optionsFor(broker), connections: 3 })
  expect(report).toMatchObject({ connections: 3, connectedAtStart: 3, sampled: 576 })
  await expectWhole(broker, report)
})

test('a message holds as many readings as it is told to, and messages are spread over the time that one collects', async () => {
  const broker = await brokerFor()
  const report = await runFleet({ ...optionsFor(broker), intervalMs: 20, readingsPerMessage: 10 })
  expect(report.published).toBeLessThan(report.sampled / 5)
  const firsts = new Map<string, number>()
  for (const { deviceId, payload } of broker.received) {
    const count = decodeBatch(payload, () => ROTATING_MACHINE)?.header.seqs.length ?? 0
    if (!firsts.has(deviceId)) firsts.set(deviceId, count)
    expect(count).toBeLessThanOrEqual(10)
  }
  expect(new Set(firsts.values()).size).toBe(10)
  await expectWhole(broker, report)
})

test('devices with a backlog come later, in messages of many readings, and their latency is told apart', async () => {
  const broker = await brokerFor()
  let most = 0
  const report = await runFleet(
    { ...optionsFor(broker), forMs: 2500, backlog: { devices: 6, ms: 60_000, atMs: 1200 } },
    ({ phase, connected }) => {
      if (phase === 'sampling') most = Math.max(most, connected)
    }
  )
  expect(report.connectedAtStart).toBe(18)
  expect(most).toBe(24)
  expect(report.sampled).toBe(24 * 50 + 6 * 1200)
  expect(report.run.seqs.filter(seq => seq === 1250).length).toBe(6)
  expect(runOf(report.run.plan, 2500)).toEqual(report.run)
  expect(report.backlogMs.p50).toBeGreaterThan(0)
  const counts = broker.received.map(({ payload }) => decodeBatch(payload, () => ROTATING_MACHINE)?.header.seqs.length ?? 0)
  expect(Math.max(...counts)).toBe(MESSAGE_READINGS_MAX)
  await expectWhole(broker, report)
})

test('JSON readings go on the topic of those, one a message', async () => {
  const broker = await brokerFor()
  const report = await runFleet({ ...optionsFor(broker), format: 'json' })
  const events = broker.received.map(({ deviceId, payload }) => `${deviceId}/${JSON.parse(Buffer.from(payload).toString()).event_id}`)
  expect(new Set(events).size).toBe(report.sampled)
})

test('connections to this machine are spread so that none of its addresses gets half of the ports', async () => {
  const addresses = await resolveDestinations('mqtt://127.0.0.1:1883', 100_000)
  expect(100_000 / addresses.length).toBeLessThan(28_232 / 2)
  expect(new Set(addresses.map(({ host }) => host)).size).toBe(addresses.length)
})

test('shapes that make no sense are refused, with a word on what would', async () => {
  const options = optionsFor({ url: 'mqtt://127.0.0.1:1' })
  const wrong: [Partial<FleetOptions>, RegExp][] = [
    [{ readingsPerMessage: 5, rates: { duplicates: 0.1, late: 0, poison: 0 } }, /one reading a message/],
    [{ format: 'json', rates: { duplicates: 0.1, late: 0, poison: 0 } }, /without faults/],
    [{ connections: 25 }, /number of connections must be a whole number from 1 to 24/],
    [{ connections: 5, backlog: { devices: 2, ms: 1000, atMs: 5 } }, /leave out --connections/],
    [{ devices: 100_000, processes: 2 }, /use 6, or leave it out/],
    [{ destinations: ['nowhere'] }, /no IPv4 address/],
    [{ troubles: { disconnects: 2, delays: 0, silence: 0, skew: 0 } }, /not in 0\.\.1/]
  ]
  for (const [change, message] of wrong) {
    await expect(runFleet({ ...options, ...change })).rejects.toThrow(UsageError)
    await expect(runFleet({ ...options, ...change })).rejects.toThrow(message)
  }
})
