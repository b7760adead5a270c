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

/** The error of a failed write, naming `path` and what to do. */
export function writeError(path: string, cause: unknown): ArchiveWriteError {
  if (cause instanceof ArchiveWriteError) return cause
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new ArchiveWriteError(path, `cannot write the archive in ${path}: ${reason}; ${remedy(cause, reason)}`, cause)
}

function remedy(cause: unknown, reason: string): string {
  const code = (cause as { code?: unknown } | null)?.code
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'SQLITE_FULL' || /No space left|disk is full|quota/i.test(reason))
    return 'free disk space there'
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS' || /Permission denied|Read-only/i.test(reason))
    return 'check its owner and permissions'
  if (code === 'EXDEV') return 'staging/ and archive/ must be on one file system'
  if (/Out of Memory/i.test(reason)) return 'give the archive more memory or its spill folder more space'
  return 'check the disk'
}
