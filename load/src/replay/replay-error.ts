/** The person's mistake; the message says what to change. */
export class UsageError extends Error {
  readonly code = 'USAGE'
}

/** The replay could not be finished: a process did what it must not do, or nothing moved any more. */
export class ReplayError extends Error {
  readonly code = 'REPLAY'
}
