/**
 * What a gateway's data folder holds, read beside it or after a kill: which entries of the log have messages, how far the catalog
 * has committed, which committed files are not in the archive yet.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { decodeBatch, type Profile } from '@tidemark/protocol'
import { readSqlite } from './sqlite.js'

export interface GatewayDisk {
  /** The last entry of the log that holds a batch with readings; 0: none does. */
  readonly lastBatchEntry: number
  /** The last entry whose flush is committed; 0: none is. */
  readonly committedEntry: number
  /** Archived readings that wait in the log for a later flush. */
  readonly waiting: number
  /** Files that the catalog records and that are still in staging/. */
  readonly unrenamed: number
}

export interface LoggedBatch {
  readonly entry: number
  readonly payload: Buffer
  readonly readings: number
}

/** Of the gateway's log and catalog; the kind's code is that of frames.ts in the gateway. */
const BATCH_KIND = 1

export function readGatewayDisk(dataDir: string, profile: Profile): GatewayDisk {
  const catalogPath = join(dataDir, 'catalog.sqlite')
  const none = { committedEntry: 0, waiting: 0, unrenamed: 0 }
  const catalog = !existsSync(catalogPath)
    ? none
    : readSqlite(catalogPath, database => {
        const hasTables = database.prepare("SELECT count(*) FROM sqlite_master WHERE name = 'snapshots'").pluck().get()
        if (hasTables === 0) return none
        const numberOf = (sql: string) => Number(database.prepare(sql).pluck().get())
        const paths = database.prepare<[], string>('SELECT path FROM files').pluck().all()
        return {
          committedEntry: numberOf('SELECT coalesce(max(last_entry), 0) FROM flushes'),
          waiting: numberOf('SELECT coalesce(sum(waiting), 0) FROM epochs'),
          unrenamed: paths.filter(path => isStaged(dataDir, path)).length
        }
      })
  return { ...catalog, lastBatchEntry: readLoggedBatches(dataDir, profile, catalog.committedEntry).at(-1)?.entry ?? catalog.committedEntry }
}

/** Hours whose features wait for a repair from the archive, since readings came later than panes are kept. */
export function countRepairs(dataDir: string): number {
  return readSqlite(join(dataDir, 'catalog.sqlite'), database =>
    Number(database.prepare('SELECT count(*) FROM repair_marks').pluck().get())
  )
}

function isStaged(dataDir: string, path: string): boolean {
  return !existsSync(join(dataDir, 'archive', path)) && existsSync(join(dataDir, 'staging', path.replaceAll('/', '__')))
}

/** The batches with readings in the log's entries behind `entry`, oldest first. */
export function readLoggedBatches(dataDir: string, profile: Profile, entry: number): LoggedBatch[] {
  const path = join(dataDir, 'log.sqlite')
  if (!existsSync(path)) return []
  const rows = readSqlite(path, database => {
    const hasTable = database.prepare("SELECT count(*) FROM sqlite_master WHERE name = 'entries'").pluck().get()
    if (hasTable === 0) return []
    return database
      .prepare<[number], { entry: number; frames: Buffer }>('SELECT entry, frames FROM entries WHERE entry > ? ORDER BY entry')
      .all(entry)
  })
  return rows.flatMap(({ entry, frames }) =>
    batchPayloads(frames).flatMap(payload => {
      const readings = decodeBatch(payload, () => profile)?.header.seqs.length ?? 0
      return readings === 0 ? [] : [{ entry, payload, readings }]
    })
  )
}

/** A frame is kind (u8), length of the device ID (u8), device ID, length of the payload (u32, little-endian), payload. */
function batchPayloads(frames: Buffer): Buffer[] {
  const payloads: Buffer[] = []
  let at = 0
  while (at < frames.length) {
    const kind = frames[at]
    const behindId = at + 2 + frames[at + 1]
    const payloadStart = behindId + 4
    at = payloadStart + frames.readUInt32LE(behindId)
    if (kind === BATCH_KIND) payloads.push(frames.subarray(payloadStart, at))
  }
  return payloads
}
