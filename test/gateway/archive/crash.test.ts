import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { recoverArchive } from '../../../gateway/src/archive/recover.js'
import { readLedger } from '../../../gateway/src/commands/ledger.js'
import type { Flush } from '../../../gateway/src/processor/flush.js'
import { filesBelow, flushOf, HOUR_MS, NOON_MS, partsOf, query, range, readings, temporaryFolder, writeLog } from './kit.js'
import { runWriter, writeWriter } from './writer-process.js'

/** Two flushes of ten entries, each of two processed files and a raw one, and a snapshot. */
const FLUSHES = [0, 1].map((k): Flush => {
  const strings: string[] = []
  const files = [
    readings(NOON_MS, range(k * 10 + 1, k * 10 + 5), strings),
    readings(NOON_MS + HOUR_MS, range(k * 10 + 6, k * 10 + 10), strings)
  ]
  return flushOf([k * 10 + 1, k * 10 + 10], files, strings, { snapshotIsDue: true })
})
const FILES_PER_FLUSH = 3

function dataFolder(): string {
  const dataDir = temporaryFolder()
  writeLog(dataDir, 20)
  writeWriter(dataDir, FLUSHES)
  return dataDir
}

/** What a stranger's glob finds: seqs of readings, entries of frames. */
async function globbed(dataDir: string): Promise<{ seqs: number[]; entries: number[] }> {
  const files = filesBelow(join(dataDir, 'archive'))
  const read = async (layer: string, column: string) => {
    if (!files.some(file => file.startsWith(layer) && file.endsWith('.parquet'))) return []
    return (await query(`SELECT ${column} FROM '${dataDir}/archive/${layer}/*/*/*/*.parquet' ORDER BY 1`)).flat().map(Number)
  }
  return { seqs: await read('processed', 'seq'), entries: (await read('raw', 'entry')).filter((_, i) => i % 2 === 0) }
}

const WHOLE = (() => {
  let made: Promise<Map<string, string>> | null = null
  const make = async () => {
    const dataDir = dataFolder()
    expect(await runWriter(dataDir)).toBeNull()
    return hexOf(join(dataDir, 'archive'))
  }
  return () => {
    made ??= make()
    return made
  }
})()

function hexOf(folder: string): Map<string, string> {
  return new Map(filesBelow(folder).map(path => [path, readFileSync(join(folder, path)).toString('hex')]))
}

/** Each crash point, how often it is reached, and how many flushes are committed when it is reached for the k-th time. */
const POINTS = [
  { point: 'flush', times: 2, committed: (k: number) => k - 1 },
  { point: 'commit', times: 2, committed: (k: number) => k },
  { point: 'rename', times: 2 * FILES_PER_FLUSH, committed: (k: number) => Math.ceil(k / FILES_PER_FLUSH) },
  { point: 'snapshot', times: 2, committed: (k: number) => k }
]

for (const { point, times, committed } of POINTS) {
  test(`killed at any ${point}, the archive shows nothing uncommitted, and holds after recovery exactly what was committed, and in the end everything once`, async () => {
    const whole = await WHOLE()
    for (let k = 1; k <= times; k++) {
      const dataDir = dataFolder()
      expect(await runWriter(dataDir, `${point}:${k}`), `${point}:${k}`).toBe('SIGKILL')
      const entries = committed(k) * 10
      const before = await globbed(dataDir)
      expect(
        before.seqs.every(seq => seq <= entries) && before.entries.every(entry => entry <= entries),
        'nothing uncommitted is seen'
      ).toBe(true)
      expect((await readLedger(dataDir)).total.archived, 'our own tools see all that is committed').toBe(entries)

      const recovered = recoverArchive(dataDir, 0, message => expect.unreachable(message))
      expect(recovered.committedEntry, `${point}:${k}`).toBe(entries)
      expect(await globbed(dataDir), `${point}:${k}`).toEqual({ seqs: range(1, entries), entries: range(1, entries) })
      expect(filesBelow(join(dataDir, 'staging'))).toEqual([])
      const snapshot = recovered.loadNewestSnapshot()
      expect(snapshot === null || snapshot.entry <= entries, 'no snapshot is ahead of the archive').toBe(true)
      if (snapshot !== null) expect(partsOf(snapshot)).toEqual(['state as of ', String(snapshot.entry)])
      expect(filesBelow(join(dataDir, 'snapshots')).filter(file => file.endsWith('.tmp'))).toEqual([])

      expect(await runWriter(dataDir)).toBeNull()
      expect(hexOf(join(dataDir, 'archive')), 'the same bytes as without the kill').toEqual(whole)
    }
  }, 120_000)
}
