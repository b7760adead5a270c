/**
 * Which threads the system runs first where there are more than cores. PUBACKs wait for the main thread and the log's worker, and for
 * nothing else: the processor, the archive's DuckDB (which computes in libuv's pool) and V8's helpers give way, or each flush delays
 * the PUBACKs of a second. Linux alone has priorities by thread; elsewhere nothing changes.
 */
import { readdirSync, readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'
import { basename } from 'node:path'

/** A thirtieth of the weight of 0: they give way, and do not starve. */
const NICE = 15

/** The system's number of the thread that asks; null where it has none. */
export function threadId(): number | null {
  try {
    return Number(basename(readlinkSync('/proc/thread-self')))
  } catch {
    return null
  }
}

/** Has all threads of this process give way, those that they will start as well, except these. */
export function giveWayTo(threads: readonly (number | null)[]): void {
  if (threads.includes(null)) return
  for (const name of readdirSync('/proc/self/task')) {
    const thread = Number(name)
    if (threads.includes(thread)) continue
    try {
      setPriority(thread, NICE)
    } catch {
      // it has ended, or is nicer already
    }
  }
}
