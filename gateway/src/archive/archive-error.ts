/** What the archive says when the world fails it; the message tells the operator what to do. */

/** A flush could not be made durable. Nothing of it is half committed; it can be tried again once the cause is gone. */
export class ArchiveWriteError extends Error {
  readonly code = 'ARCHIVE_WRITE'
  constructor(
    readonly path: string,
    message: string,
    cause?: unknown
  ) {
    super(message, { cause })
  }
}

/** The archive cannot be opened: what the catalog records and what the disk holds do not agree, or a folder cannot be used. */
export class ArchiveOpenError extends Error {
  readonly code = 'ARCHIVE_OPEN'
  constructor(
    readonly path: string,
    message: string,
    cause?: unknown
  ) {
    super(message, { cause })
  }
}

/** A flush that the caller must not have sent, or that the log does not bear out. Trying it again cannot help. */
export class FlushRefusedError extends Error {
  readonly code = 'FLUSH_REFUSED'
}

/**
 * What a failed write throws: an `ArchiveWriteError` where disk or memory failed, else `cause` itself, which is our mistake.
 * `needsMemory`: what to do where DuckDB had too little.
 */
export function writeError(path: string, cause: unknown, needsMemory = 'give the gateway more memory'): unknown {
  if (cause instanceof ArchiveWriteError || cause instanceof FlushRefusedError || !isOfTheWorld(cause)) return cause
  return new ArchiveWriteError(path, `cannot write the archive in ${path}: ${cause.message}; ${remedy(cause, needsMemory)}`, cause)
}

interface WorldError extends Error {
  readonly code?: string
}

/** Node and SQLite give their errors a code; DuckDB's begin with their kind. */
function isOfTheWorld(cause: unknown): cause is WorldError {
  if (!(cause instanceof Error)) return false
  return typeof (cause as WorldError).code === 'string' || /^(IO|Out of Memory) Error/.test(cause.message)
}

function remedy({ code, message }: WorldError, needsMemory: string): string {
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'SQLITE_FULL' || /No space left|quota/i.test(message))
    return 'free disk space there'
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS' || /Permission denied|Read-only/i.test(message))
    return 'check its owner and permissions'
  if (code === 'EXDEV') return 'staging/ and archive/ must be on one file system'
  if (message.startsWith('Out of Memory')) return `${needsMemory}, or free disk space for what it spills`
  return 'check the disk'
}
