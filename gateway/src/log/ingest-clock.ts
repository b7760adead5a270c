import { readFileSync } from 'node:fs'

/**
 * Where ingest times come from: the clock of this machine, unless `TIDEMARK_CLOCK_FILE` names a file that holds Unix ms as decimal
 * digits. Then a history that is played in minutes gets the ingest times that it would have got when it happened, because whoever plays
 * it moves the time in the file along. For simulations and proofs only; the log still lets no time run back.
 */
export type IngestClock = () => number

/** The file can hold no time. Once one was read, a later failure leaves the time where it was. */
export class ClockFileError extends Error {
  readonly code = 'CLOCK_FILE'
}

/** Throws a `ClockFileError` where the file holds no time to begin with. */
export function ingestClock(path: string | undefined): IngestClock {
  if (path === undefined || path === '') return Date.now
  let nowMs = readTime(path)
  if (nowMs === null)
    throw new ClockFileError(`TIDEMARK_CLOCK_FILE: ${path} holds no Unix ms: write the time there at which the history begins, or unset it`)
  return () => {
    nowMs = readTime(path) ?? nowMs
    return nowMs as number
  }
}

function readTime(path: string): number | null {
  try {
    const text = readFileSync(path, 'utf8').trim()
    return /^\d{1,15}$/.test(text) ? Number(text) : null
  } catch {
    return null
  }
}
