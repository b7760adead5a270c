import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { UsageError } from '../../simulator/src/broker.js'
import { deviceOf, type RunPlan } from '../../simulator/src/device.js'
import { endOfStream, lastStep, oldestSeqAt, publicationsAt } from '../../simulator/src/publication.js'
import { parseRun, type Run, runToJson } from '../../simulator/src/run-file.js'
import { verifyArchive } from '../../simulator/src/verify.js'
import { type Archive, takeIn, writeArchive } from './archive-writer.js'
import type { Received } from './mqtt-broker.js'

const dirs: string[] = []
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true })
})

const plan: RunPlan = {
  seed: 21,
  firstDevice: 5,
  devices: 12,
  startMs: Date.UTC(2026, 0, 1),
  intervalMs: 5000,
  rates: { duplicates: 0.05, late: 0.1, poison: 0.1 }
}
const run: Run = { plan, seqs: Array.from({ length: plan.devices }, (_, i) => 60 + i) }

/** What a gateway would have made of the run: all that its devices publish, taken in without a network. */
function archiveOf({ plan, seqs }: Run): Archive {
  const received: Received[] = []
  for (const [i, lastSeq] of seqs.entries()) {
    const device = deviceOf(plan, plan.firstDevice + i)
    for (let step = 1; step <= lastStep(lastSeq); step++) {
      const header = { oldestHeldSeq: oldestSeqAt(step), highestSampledSeq: Math.min(step, lastSeq), buffered: 1 }
      for (const { payload } of publicationsAt(plan, device, step, lastSeq, header))
        received.push({ deviceId: device.id, payload, isRedelivery: false })
    }
    if (lastSeq > 0) received.push({ deviceId: device.id, payload: endOfStream(device, lastSeq).payload, isRedelivery: false })
  }
  return takeIn(received)
}

async function verify(archive: Archive, of: Run = run) {
  const archiveDir = mkdtempSync(join(tmpdir(), 'tidemark-verify-test-'))
  dirs.push(archiveDir)
  await writeArchive(archiveDir, archive)
  return verifyArchive({ archiveDir, run: of })
}

/** The index of an archived row somewhere in the middle. */
const MIDDLE = 333

describe('verify', () => {
  test('is content with an archive that holds exactly what was sent', async () => {
    const archive = archiveOf(run)
    const result = await verify(archive)
    expect(result).toMatchObject({
      ok: true,
      missing: 0,
      doubled: 0,
      different: 0,
      unexpected: 0,
      quarantineMissing: 0,
      quarantineUnexpected: 0
    })
    expect(result.expected).toBe(archive.rows.length)
    expect(result.archived).toBe(archive.rows.length)
    expect(result.quarantined).toBe(archive.quarantine.filter(({ seq }) => seq !== null).length)
    expect(result.undecodable).toBe(result.undecodableExpected)
    expect(result.late).toBe(result.lateExpected)
    for (const count of [result.late, result.quarantined, result.undecodable]) expect(count).toBeGreaterThan(10)
    expect(result.expected + result.quarantinedExpected).toBe(run.seqs.reduce((sum, seq) => sum + seq, 0))
  })

  test('gives the same counts in whatever order the rows stand', async () => {
    const archive = archiveOf(run)
    archive.rows.splice(MIDDLE, 1)
    archive.rows.push(archive.rows[7])
    const shuffled = { ...archive, rows: [...archive.rows].sort((a, b) => a.seq - b.seq || (a.deviceId < b.deviceId ? 1 : -1)) }
    expect(await verify(shuffled)).toEqual(await verify(archive))
    expect(await verify(shuffled)).toMatchObject({ missing: 1, doubled: 1 })
  })

  test('counts a row that is missing', async () => {
    const archive = archiveOf(run)
    archive.rows.splice(MIDDLE, 1)
    expect(await verify(archive)).toMatchObject({ ok: false, missing: 1, doubled: 0, different: 0, unexpected: 0 })
  })

  test('counts a row that is there twice', async () => {
    const archive = archiveOf(run)
    archive.rows.push(archive.rows[MIDDLE])
    expect(await verify(archive)).toMatchObject({ ok: false, missing: 0, doubled: 1, different: 0, unexpected: 0 })
  })

  test('counts a row with a value that differs by one step of its resolution, whichever value it is', async () => {
    const steps: [number, (value: never) => number | boolean | string | null][] = [
      [0, (value: number) => Math.round(value * 100 + 1) / 100],
      [3, (value: number) => value + 1],
      [5, (value: number) => Math.round(value * 10 - 1) / 10],
      [6, () => null],
      [8, (value: boolean) => !value],
      [9, (value: string) => `${value}0`]
    ]
    for (const [metric, change] of steps) {
      const archive = archiveOf(run)
      const at = archive.rows.findIndex(row => row.metrics[metric] !== null)
      archive.rows[at].metrics[metric] = change(archive.rows[at].metrics[metric] as never)
      expect(await verify(archive)).toMatchObject({ ok: false, missing: 0, doubled: 0, different: 1, unexpected: 0 })
    }
  })

  test('counts a row whose event time is off by a millisecond', async () => {
    const archive = archiveOf(run)
    archive.rows[MIDDLE].eventTimeMs += 1
    expect(await verify(archive)).toMatchObject({ ok: false, different: 1, missing: 0 })
  })

  test('counts a reading that was archived though it belongs into the quarantine', async () => {
    const archive = archiveOf(run)
    const at = archive.quarantine.findIndex(({ reason }) => reason === 'metric-out-of-range')
    const [{ deviceId, epoch, seq }] = archive.quarantine.splice(at, 1)
    archive.rows.push({ ...archive.rows[0], deviceId, epoch: epoch!, seq: seq! })
    expect(await verify(archive)).toMatchObject({ ok: false, unexpected: 1, quarantineMissing: 1, missing: 0, different: 0 })
  })

  test('counts a seq that the run never reached', async () => {
    const archive = archiveOf(run)
    archive.rows.push({ ...archive.rows[0], seq: 5000 })
    expect(await verify(archive)).toMatchObject({ ok: false, unexpected: 1, doubled: 0, different: 0 })
  })

  test('counts a reading that is quarantined for a wrong reason, twice, or without need', async () => {
    const wrongReason = archiveOf(run)
    wrongReason.quarantine.find(({ reason }) => reason === 'event-time-in-future')!.reason = 'metric-missing'
    expect(await verify(wrongReason)).toMatchObject({ ok: false, quarantineMissing: 1, quarantineUnexpected: 1 })
    const twice = archiveOf(run)
    twice.quarantine.push(twice.quarantine.find(({ seq }) => seq !== null)!)
    expect(await verify(twice)).toMatchObject({ ok: false, quarantineMissing: 0, quarantineUnexpected: 1 })
    const needless = archiveOf(run)
    const { deviceId, epoch, seq } = needless.rows[MIDDLE]
    needless.quarantine.push({ deviceId, epoch, seq, reason: 'event-id-reused' })
    expect(await verify(needless)).toMatchObject({ ok: false, missing: 0, quarantineMissing: 0, quarantineUnexpected: 1 })
  })

  test('wants at least as many undecodable messages as were sent, since a redelivery doubles them', async () => {
    const archive = archiveOf(run)
    const at = archive.quarantine.findIndex(({ reason }) => reason === 'undecodable')
    archive.quarantine.push(archive.quarantine[at])
    expect(await verify(archive)).toMatchObject({ ok: true })
    archive.quarantine = archive.quarantine.filter(({ reason }) => reason !== 'undecodable')
    expect(await verify(archive)).toMatchObject({ ok: false, undecodable: 0, quarantineMissing: 0 })
  })

  test('looks neither at other devices nor at other runs of the same devices', async () => {
    const archive = archiveOf(run)
    const other = archiveOf({ ...run, plan: { ...plan, startMs: plan.startMs + 86_400_000 } })
    archive.rows.push(...other.rows, { ...archive.rows[0], deviceId: 'pump-7' }, { ...archive.rows[0], deviceId: 'sim-000004' })
    archive.quarantine.push(...other.quarantine.filter(({ seq }) => seq !== null))
    expect(await verify(archive)).toMatchObject({ ok: true, unexpected: 0 })
  })

  test('finds everything missing in an empty archive, and says so when there is none', async () => {
    const archiveDir = mkdtempSync(join(tmpdir(), 'tidemark-verify-test-'))
    dirs.push(archiveDir)
    const result = await verifyArchive({ archiveDir, run })
    expect(result).toMatchObject({ ok: false, archived: 0, quarantined: 0 })
    expect(result.missing).toBe(result.expected)
    expect(result.quarantineMissing).toBe(result.quarantinedExpected)
    await expect(verifyArchive({ archiveDir: join(archiveDir, 'nowhere'), run })).rejects.toThrow(UsageError)
  })

  test('holds the devices that sent nothing for fine', async () => {
    const idle: Run = { plan, seqs: run.seqs.map((seq, i) => (i % 3 === 0 ? 0 : seq)) }
    expect(await verify(archiveOf(idle), idle)).toMatchObject({ ok: true })
  })
})

describe('the file of a run', () => {
  test('gives the run back', () => {
    expect(parseRun(JSON.stringify({ ...runToJson(run), report: { acked: 3 } }))).toEqual(run)
  })

  test('that is none is refused with a reason', () => {
    expect(() => parseRun('not json')).toThrow(/no JSON/)
    expect(() => parseRun('{}')).toThrow(/seed/)
    expect(() => parseRun(JSON.stringify({ ...runToJson(run), seqs: [1] }))).toThrow(/1 elements for 12 devices/)
  })
})
