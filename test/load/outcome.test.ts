/** The load runner's verdict: what makes it false, each alone. */
import { expect, test } from 'vitest'
import type { Machine } from '../../load/src/run/machine.js'
import { resultOf } from '../../load/src/run/outcome.js'
import type { Played } from '../../load/src/run/play.js'
import { readScenario } from '../../load/src/run/scenario.js'

const MACHINE: Machine = {
  cpu: 'x',
  cores: 2,
  memory_gb: 4,
  kernel: '6',
  node: 'v20',
  commit: 'x',
  version: '0',
  date: '2026-01-01T00:00:00Z'
}
const QUANTILES = { p50: 5, p90: 8, p99: 20, p999: 30, max: 40 }
const ROLES = { gateway: 1, front: 1, simulator: 1, runner: 1, peer: 0 }

function played(): Played {
  const point = {
    atS: 1,
    phase: 'sampling',
    connected: 10,
    inFlight: 0,
    readingsPerS: 10,
    p50Ms: 5,
    p99Ms: 20,
    p999Ms: 30,
    rssMb: ROLES,
    cores: ROLES
  }
  const counts = {
    published: 100,
    acked: 100,
    sampled: 100,
    readingsAcked: 100,
    duplicatesSent: 0,
    heldBackSent: 0,
    lateSent: 0,
    poisonSent: 0
  }
  const traffic = { payloadBytes: 1, redelivered: 0, disconnects: 0, cut: 0, wireSentBytes: 1, wireReceivedBytes: 1, ended: 10 }
  const plan = { seed: 1, firstDevice: 0, devices: 10, startMs: 0, intervalMs: 1000, rates: { duplicates: 0, late: 0, poison: 0 } }
  const times = { connectedAtStart: 10, connectMs: 1, sampledMs: 10_000, drainMs: 1, rate: 10 }
  const latencies = { pubackMs: QUANTILES, backlogMs: QUANTILES }
  const archived = { expected: 100, archived: 100, missing: 0, doubled: 0, different: 0, unexpected: 0, lateExpected: 0, late: 0 }
  const rest = {
    quarantinedExpected: 0,
    quarantined: 0,
    quarantineMissing: 0,
    quarantineUnexpected: 0,
    undecodableExpected: 0,
    undecodable: 0
  }
  const base = readScenario('small')
  return {
    scenario: { ...base, want: { puback_p99_ms: 20, readings_per_s: 10, recover_s: 3 } },
    reports: [{ ...counts, ...traffic, ...times, ...latencies, devices: 10, connections: 10, unacked: 0, run: { plan, seqs: [10] } }],
    steps: [],
    verified: { ...archived, ...rest, ok: true },
    verifyMs: 1,
    archiveMs: { p50: 1, p99: 1 },
    archiveFrom: 'event_time',
    recoverS: [3],
    points: [point],
    cpuS: { gateway: 1, simulator: 1 },
    writtenBytes: 1,
    disk: { processed: 1, curated: 1, raw: 1, quarantine: 1, log: 1, snapshots: 1 },
    loopDelaysMs: [],
    gcS: 0,
    groupCommits: 1
  }
}

test('a run that lost nothing and stayed within its limits, to the digit, holds', () => {
  const { ok, limits } = resultOf(played(), MACHINE)
  expect(ok).toBe(true)
  expect(limits.map(({ held }) => held)).toEqual([true, true, true])
})

const fine = played()
const [report] = fine.reports

test.each<[string, Partial<Played>]>([
  ['a reading that was not acked', { reports: [{ ...report, readingsAcked: 99 }] }],
  ['a reading that is missing', { verified: { ...fine.verified, missing: 1 } }],
  ['a reading that is there twice', { verified: { ...fine.verified, doubled: 1 } }],
  ['a reading that differs', { verified: { ...fine.verified, different: 1 } }],
  ['a reading that nobody sent', { verified: { ...fine.verified, unexpected: 1 } }],
  ['a reading that should be in the quarantine', { verified: { ...fine.verified, quarantineMissing: 1 } }],
  ['a reading that should not be in the quarantine', { verified: { ...fine.verified, quarantineUnexpected: 1 } }],
  ['a verification that found something else', { verified: { ...fine.verified, ok: false } }],
  ['a latency above its limit', { reports: [{ ...report, pubackMs: { ...QUANTILES, p99: 21 } }] }],
  ['a rate below its limit', { reports: [{ ...report, rate: 9 }] }],
  ['a recovery that took longer than its limit', { recoverS: [1, 4] }],
  ['a recovery that did not come', { recoverS: [1, null] }]
])('%s alone makes the verdict false', (_, change) => {
  expect(resultOf({ ...fine, ...change }, MACHINE).ok).toBe(false)
})

/** Memory by the second, MB; an hour long. */
function grown(memory: (second: number) => number): number {
  const [point] = fine.points
  const points = Array.from({ length: 3600 }, (_, atS) => ({ ...point, atS, rssMb: { ...ROLES, gateway: memory(atS), front: 0 } }))
  const beside = (phase: string, atS: number) => ({ ...point, phase, atS, rssMb: { ...ROLES, gateway: 5000 } })
  const all = [beside('connecting', -1), ...points, beside('draining', 3600), beside('draining', 3700)]
  return resultOf({ ...fine, points: all }, MACHINE).rss_growth_percent
}

test('memory grows by what it has become more behind the first ten minutes', () => {
  expect(grown(() => 700)).toBe(0)
  expect(grown(second => 700 + Math.max(0, second - 600) * (70 / 2999))).toBeCloseTo(10, 1)
  expect(grown(second => 700 - Math.max(0, second - 600) * (70 / 2999))).toBeCloseTo(-10, 1)
  expect(grown(second => Math.min(700, 100 + second))).toBe(0)
})

test('garbage that comes and goes is no growth, whenever the run ends', () => {
  for (const period of [45, 60, 170]) expect(Math.abs(grown(second => 700 + 50 * ((second % period) / period)))).toBeLessThan(0.5)
})
