/** One gateway a data folder: an exclusive SQLite transaction, which the kernel releases however the process ends. */
import { existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ConfigError } from './config.js'
import { type Database, Sqlite } from './sqlite.js'

/** A command that looks whether a gateway runs holds the lock for a moment, ms. */
const LOCK_MS_MAX = 300

/** Makes the folder and takes its lock. Throws a `ConfigError` where it cannot be written, or a running gateway holds it. */
export function lockDataDir(dataDir: string): Database {
  try {
    // recursive only where it is needed: Node spins for ever where the parent exists and refuses, as /proc does
    if (!existsSync(dataDir)) mkdirSync(dataDir, { recursive: !existsSync(dirname(dataDir)) })
    const lock = new Sqlite(join(dataDir, 'lock.sqlite'), { timeout: LOCK_MS_MAX })
    lock.exec('BEGIN EXCLUSIVE')
    return lock
  } catch (cause) {
    const code = (cause as { code?: string }).code ?? ''
    if (code === 'SQLITE_BUSY')
      throw new ConfigError(`a running gateway holds the data folder ${dataDir}: stop it, or choose another --data-dir`, { cause })
    throw new ConfigError(
      `cannot write in the data folder ${dataDir} (${(cause as Error).message}): check its owner, or choose another --data-dir`,
      { cause }
    )
  }
}

/** Whether a gateway, or a command that changes the data folder, holds its lock. */
export function isDataDirLocked(dataDir: string): boolean {
  const path = join(dataDir, 'lock.sqlite')
  if (!existsSync(path)) return false
  const probe = new Sqlite(path, { readonly: true, timeout: 0 })
  try {
    probe.prepare('SELECT count(*) FROM sqlite_master').get()
    return false
  } catch (error) {
    if ((error as { code?: string }).code !== 'SQLITE_BUSY') throw error
    return true
  } finally {
    probe.close()
  }
}
