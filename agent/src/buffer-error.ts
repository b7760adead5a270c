/** What can go wrong with a buffer's file, in words that say what to do. */

/** The buffer cannot be used as it is configured: a mistake to correct before the agent starts. Exit code 2. */
export class BufferOpenError extends Error {
  readonly code = 'BUFFER_OPEN'
}

/** The file is a database, but not as an agent writes one. */
export class BufferDamagedError extends Error {
  readonly code = 'BUFFER_DAMAGED'
}

/** A commit failed. Nothing of it is in the file; what was committed before is. Exit code 1 when it lasts. */
export class BufferWriteError extends Error {
  readonly code = 'BUFFER_WRITE'
  /** Whether trying again later may help: space may be freed, a lock may go away. */
  readonly passing: boolean
  /** Whether the file should be opened anew before it is tried again. */
  readonly needsReopening: boolean

  constructor(path: string, cause: unknown) {
    const sqlite = sqliteCode(cause)
    super(`cannot write ${path}: ${remedyFor(sqlite)} (${sqlite || String(cause)})`, { cause })
    this.needsReopening = ['SQLITE_IOERR', 'SQLITE_READONLY', 'SQLITE_CANTOPEN'].some(code => sqlite.startsWith(code))
    this.passing = this.needsReopening || sqlite === 'SQLITE_FULL' || sqlite.startsWith('SQLITE_BUSY')
  }
}

/** Whether an error says that the file itself is damaged: it is to be salvaged, not tried again. */
export function isDamage(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof BufferDamagedError || ['SQLITE_CORRUPT', 'SQLITE_NOTADB'].some(code => sqliteCode(at).startsWith(code))) return true
  }
  return false
}

/** SQLite's name of an error, like `SQLITE_FULL`; empty where it is none. */
export function sqliteCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

function remedyFor(code: string): string {
  if (code === 'SQLITE_FULL') return 'the disk is full: free some space'
  if (code.startsWith('SQLITE_BUSY') || code === 'SQLITE_LOCKED') return 'another program holds it: close that program'
  if (code.startsWith('SQLITE_READONLY')) return 'it is read-only: check its owner and the mount'
  if (code.startsWith('SQLITE_IOERR')) return 'the disk does not answer as it should: check it'
  if (code === 'SQLITE_CORRUPT' || code === 'SQLITE_NOTADB') return 'the file is damaged: start the agent again, it keeps what can be read'
  return 'check its owner and the disk'
}
