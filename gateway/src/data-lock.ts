/** One gateway a data folder: an exclusive SQLite transaction, which the kernel releases however the process ends. */
import { existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ConfigError } from './config.js'
import { type Database, Sqlite } from './sqlite.js'

/** Makes the folder and takes its lock. Throws a `ConfigError` where it cannot be written, or a running gateway holds it. */
export function lockDataDir(dataDir: string): Database {
  try {
    // recursive only where it is needed: Node spins for ever where the parent exists and refuses, as /proc does
    if (!existsSync(dataDir)) mkdirSync(dataDir, { recursive: !existsSync(dirname(dataDir)) })
    const lock = new Sqlite(join(dataDir, 'lock.sqlite'), { timeout: 0 })
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
