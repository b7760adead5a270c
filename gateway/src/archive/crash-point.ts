/**
 * A switch for tests: `TIDEMARK_CRASH_AT=<point>:<k>` makes the process kill itself (SIGKILL) right after it has reached the
 * point for the k-th time since it started.
 */
const [wanted, count] = (process.env.TIDEMARK_CRASH_AT ?? '').split(':')
let left = Number(count ?? 1)

export type ArchiveCrashPoint = 'flush' | 'commit' | 'rename' | 'snapshot'

export function crashPoint(point: ArchiveCrashPoint): void {
  if (point === wanted && --left === 0) process.kill(process.pid, 'SIGKILL')
}
