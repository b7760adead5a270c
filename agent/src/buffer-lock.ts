import { BufferOpenError, sqliteCode } from './buffer-error.js'
import { Sqlite } from './sqlite.js'

/**
 * One agent per buffer. The lock is an exclusive transaction on a database beside the buffer: the system drops it when the
 * process ends, however it ends, so a killed agent leaves no stale lock. The empty file stays.
 */

/** Takes the lock of the buffer at `path` and returns what releases it. Throws a `BufferOpenError` where another agent has it. */
export function lockBuffer(path: string): () => void {
  const lockPath = `${path}.lock`
  try {
    const database = new Sqlite(lockPath, { timeout: 500 })
    try {
      database.exec('BEGIN EXCLUSIVE')
    } catch (error) {
      database.close()
      throw error
    }
    return () => database.close()
  } catch (error) {
    if (sqliteCode(error).startsWith('SQLITE_BUSY')) {
      throw new BufferOpenError(`another agent is running on the buffer ${path}: stop it first, or give this one a buffer.path of its own`)
    }
    throw new BufferOpenError(
      `cannot create ${lockPath}: its folder must exist and be writable (${error instanceof Error ? error.message : error})`
    )
  }
}

/** Whether an agent holds the lock of the buffer at `path` now. */
export function isLocked(path: string): boolean {
  try {
    const database = new Sqlite(`${path}.lock`, { readonly: true, fileMustExist: true, timeout: 0 })
    try {
      database.prepare('SELECT count(*) FROM sqlite_master').get()
      return false
    } finally {
      database.close()
    }
  } catch (error) {
    return sqliteCode(error).startsWith('SQLITE_BUSY')
  }
}
