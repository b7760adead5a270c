import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { serialize } from 'node:v8'
import type { Flush } from '../../../gateway/src/processor/flush.js'

/** The gateway's archive worker as built: a process that writes what is not committed yet of the flushes in flushes.bin. */
const WRITER = `
  import { readFileSync } from 'node:fs'
  import { deserialize } from 'node:v8'
  import { openArchive } from ${JSON.stringify(new URL('../../../gateway/dist/archive/archive-client.js', import.meta.url).href)}
  import { SnapshotWriter } from ${JSON.stringify(new URL('../../../gateway/dist/archive/snapshot-file.js', import.meta.url).href)}
  const dataDir = process.argv[2]
  const { recovered, archive } = openArchive(dataDir, { warn: message => console.error(message), memoryMiB: 128 })
  for (const flush of deserialize(readFileSync(dataDir + '/flushes.bin'))) {
    if (flush.lastEntry <= recovered.committedEntry) continue
    if (flush.snapshotIsDue) writeSnapshot(flush.lastEntry)
    await archive.write(flush)
    if (flush.snapshotIsDue) await archive.recordSnapshot(flush.lastEntry, flush.fleet.knownAtMs)
  }
  await archive.close()

  function writeSnapshot(entry) {
    const snapshot = new SnapshotWriter(dataDir + '/snapshots', entry)
    for (const part of ['state as of ', String(entry)]) snapshot.append(Buffer.from(part))
    snapshot.close()
  }
`

/** Puts the flushes and the writer into the data folder. */
export function writeWriter(dataDir: string, flushes: readonly Flush[]): void {
  writeFileSync(join(dataDir, 'flushes.bin'), serialize(flushes))
  writeFileSync(join(dataDir, 'writer.mjs'), WRITER)
}

/** Runs the writer to its end, or until it kills itself; returns the signal. */
export async function runWriter(dataDir: string, crashAt?: string): Promise<string | null> {
  const env = { ...process.env, ...(crashAt === undefined ? {} : { TIDEMARK_CRASH_AT: crashAt }) }
  const child = spawn(process.execPath, [join(dataDir, 'writer.mjs'), dataDir], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  const said: Buffer[] = []
  child.stderr.on('data', data => said.push(data))
  const [code, signal] = await once(child, 'close')
  if (code !== 0 && signal === null) throw new Error(Buffer.concat(said).toString())
  return signal
}
