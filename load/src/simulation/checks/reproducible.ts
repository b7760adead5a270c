/** Promise 5: the whole log in one go, and the log behind each snapshot, give the files that the archive has, to the bit. */

import type { Flush } from '@tidemark/gateway/dist/processor/flush.js'
import type { ArchivedFile } from '../archive.js'
import { SimulatedEventIds } from '../event-ids.js'
import type { Violation } from '../plants.js'
import type { Check } from './evidence.js'
import { digestOf, replay } from './replay.js'

export const reproducible: Check = function* (evidence) {
  const { log, files, snapshots, world } = evidence
  const archived = digests(files.values())
  const eventIds = new SimulatedEventIds(world.plant === 'event-ids-ahead-of-log')
  const whole = replay(evidence, log, eventIds)
  yield* compare('the log in one go', archived, whole)
  for (const [entry, snapshot] of snapshots) {
    const behind = replay(evidence, log.slice(entry), eventIds, snapshot)
    const expected = new Map([...archived].filter(([, { lastEntry }]) => lastEntry > entry))
    yield* compare(`the log behind the snapshot at entry ${entry}`, expected, behind)
  }
}

interface Digested {
  readonly lastEntry: number
  readonly digest: string
}

function digests(files: Iterable<ArchivedFile>): Map<string, Digested> {
  const made = new Map<string, Digested>()
  for (const { path, lastEntry, rows, strings } of files) made.set(path, { lastEntry, digest: digestOf(rows, strings) })
  return made
}

function* compare(what: string, archived: ReadonlyMap<string, Digested>, flushes: readonly Flush[]): Generator<Violation> {
  const again = new Map<string, string>()
  for (const { files, strings, firstEntry, lastEntry } of flushes) {
    for (const [part, rows] of files.filter(file => file.rows > 0).entries())
      again.set(`${rows.layer}/${rows.profile}/${rows.hourMs}/${firstEntry}-${lastEntry}-${part}`, digestOf(rows, strings))
  }
  for (const [path, { digest }] of archived) {
    if (again.get(path) !== digest)
      yield { promise: 'reproducible', message: `${what} gives ${again.has(path) ? 'other rows in' : 'no file'} ${path}` }
  }
  for (const path of again.keys())
    if (!archived.has(path)) yield { promise: 'reproducible', message: `${what} gives ${path}, which the archive lacks` }
}
