/** What can go wrong with a buffer's file, in words that say what to do. */

/** The buffer cannot be used as it is configured: a mistake to correct before the agent starts. Exit code 2. */
export class BufferOpenError extends Error {
  readonly code = 'BUFFER_OPEN'
}

/** A commit failed. Nothing of it is in the file; what was committed before is. Exit code 1 when it lasts. */
export class BufferWriteError extends Error {
  readonly code = 'BUFFER_WRITE'
  /** Whether trying again later may help: space may be freed, a lock may go away. */
  readonly passing: boolean

  constructor(path: string, cause: unknown) {
    const sqlite = sqliteCode(cause)
    super(`cannot write ${path}: ${remedyFor(sqlite)} (${sqlite || String(cause)})`, { cause })
    this.passing = sqlite === 'SQLITE_FULL' || sqlite.startsWith('SQLITE_BUSY') || sqlite.startsWith('SQLITE_IOERR')
  }
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
  if (code === 'SQLITE_CORRUPT' || code === 'SQLITE_NOTADB') return 'the file is damaged: move it away and start anew'
  return 'check its owner and the disk'
}
