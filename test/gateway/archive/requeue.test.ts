/** What `quarantine requeue` reads of a real archive and appends to a real log, against what the flushes say. */
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Catalog } from '../../../gateway/src/archive/catalog.js'
import { Committer } from '../../../gateway/src/archive/commit.js'
import { dataPaths } from '../../../gateway/src/archive/paths.js'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { withViews } from '../../../gateway/src/archive/views.js'
import { readLedger } from '../../../gateway/src/commands/ledger.js'
import { readFrames } from '../../../gateway/src/log/frames.js'
import type { LogEntry } from '../../../gateway/src/log/schema.js'
import { SqliteLog, SqliteLogReader } from '../../../gateway/src/log/sqlite-log.js'
import { decodeRequeue, type Requeue } from '../../../gateway/src/processor/requeue.js'
import { requeue } from '../../../gateway/src/requeue-run.js'
import { log, writeLog } from '../../kit/arbitrary-log.js'
import { requeueFrames, unresolvedRows } from '../../kit/requeues.js'
import { Timeline, timeline } from '../../kit/timeline.js'
import { temporaryFolder } from './kit.js'

/** A data folder that holds the log and the committed flushes. */
class DataFolder {
  readonly dataDir = temporaryFolder()
  private entries = 0
  private flushes = 0

  async catchUp(t: Timeline): Promise<void> {
    this.append(t.entries.slice(this.entries))
    this.entries = t.entries.length
    recoverArchive(this.dataDir, 0, () => {})
    const catalog = Catalog.open(dataPaths(this.dataDir).catalog)
    const committer = new Committer(dataPaths(this.dataDir), catalog, { shard: 0, memoryMiB: 128 })
    for (const flush of t.flushes.slice(this.flushes)) await committer.write(structuredClone(flush))
    this.flushes = t.flushes.length
    committer.close()
    catalog.close()
  }

  /** The frames behind what `catchUp` has written. */
  appended(): LogEntry[] {
    const reader = new SqliteLogReader(join(this.dataDir, 'log.sqlite'))
    const entries = reader.read(this.entries, 1000)
    reader.close()
    return entries
  }

  /** Entries that the command has appended are the timeline's from now on. */
  adopt(t: Timeline): void {
    for (const { frames } of this.appended()) {
      t.append(...Array.from(readFrames(frames), ({ kind, deviceId, payload }) => ({ kind, device: deviceId, payload })))
      this.entries++
    }
  }

  private append(entries: readonly LogEntry[]): void {
    const file = new SqliteLog(join(this.dataDir, 'log.sqlite'))
    for (const { frames, ingestMs } of entries) file.append(frames, ingestMs)
    file.close()
  }
}

function requeuesIn(frames: Iterable<{ readonly kind: string; readonly payload?: Uint8Array }>): unknown[] {
  const requeues = [...frames].filter(({ kind }) => kind === 'requeue').map(({ payload }) => decodeRequeue(payload!))
  return requeues.map(({ run: _run, ...rest }: Requeue) => ({
    ...rest,
    payload: Buffer.from(rest.payload).toString('hex'),
    accounted: [...rest.accounted].sort(),
    unaccounted: [...rest.unaccounted].sort()
  }))
}

async function viewRows(dataDir: string): Promise<number> {
  return await withViews(dataDir, { ownFiles: false }, async connection => {
    const reader = await connection.runAndReadAll('SELECT count(*) FROM quarantine WHERE payload IS NOT NULL')
    return Number(reader.getRows()[0][0])
  })
}

test('of any log all unresolved rows are requeued, those of a message together, and the files balance before and after', async () => {
  await fc.assert(
    fc.asyncProperty(log, async steps => {
      const t = new Timeline()
      writeLog(t, steps)
      const folder = new DataFolder()
      await folder.catchUp(t)
      expect(await viewRows(folder.dataDir)).toBe(unresolvedRows(t.flushes).length)
      const expected = requeuesIn(requeueFrames('expected', t.flushes))
      const done = await requeue(folder.dataDir, {}, null)
      expect(done.messages).toBe(expected.length)
      expect(folder.appended().flatMap(({ frames }) => requeuesIn(readFrames(frames)))).toEqual(expected)
      folder.adopt(t)
      t.tick(61_000)
      t.drain()
      await folder.catchUp(t)
      expect(await viewRows(folder.dataDir)).toBe(unresolvedRows(t.flushes).length)
      const ledger = await readLedger(folder.dataDir)
      expect(ledger.devices.filter(device => !device.balanced || device.doubled > 0)).toEqual([])
    }),
    { numRuns: 4 }
  )
})

test('a requeue takes what its filter says, by reason, device and ingest time', async () => {
  const t = timeline()
  const poison = (device: string, value: number | null) =>
    t.reading({ device, seq: 1, eventTimeMs: t.nowMs, values: { temperature: value } })
  poison('pump-1', 999)
  poison('pump-2', 999)
  poison('pump-3', null)
  t.tick(5000)
  const laterMs = t.nowMs
  poison('pump-4', 999)
  t.drain()
  const folder = new DataFolder()
  await folder.catchUp(t)
  const devices: string[][] = []
  for (const filter of [
    { reason: 'metric-missing' },
    { deviceId: 'pump-2' },
    { fromMs: laterMs },
    { toMs: laterMs, reason: 'metric-out-of-range' },
    { deviceId: "pump-9' OR true --" }
  ]) {
    await requeue(folder.dataDir, filter, null)
    const frames = folder.appended().flatMap(entry => [...readFrames(entry.frames)])
    devices.push(frames.map(({ deviceId }) => deviceId))
    folder.adopt(t)
    t.drain()
    await folder.catchUp(t)
  }
  expect(devices).toEqual([['pump-3'], ['pump-2'], ['pump-4'], ['pump-1', 'pump-2'], []])
})
