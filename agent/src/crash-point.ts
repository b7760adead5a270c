/**
 * A switch for tests: `TIDEMARK_CRASH_AT=<point>:<k>` makes the process kill itself the k-th time that it reaches the point.
 * Unset, a point costs one comparison.
 */

/** `commit`: sampled readings are committed. `publish`: a PUBLISH is with the socket. `puback`: one came. `delete`: acked readings are deleted. */
export type CrashPoint = 'commit' | 'publish' | 'puback' | 'delete'

const [point = '', count = ''] = (process.env.TIDEMARK_CRASH_AT ?? '').split(':')
const crashAt: string | null = point === '' ? null : point
let left = Number(count)

/** Kills this process with SIGKILL where the environment says so. */
export function crashPoint(name: CrashPoint): void {
  if (crashAt === null) return
  if (crashAt === name && --left === 0) process.kill(process.pid, 'SIGKILL')
}

/** As `crashPoint`, once what was written in this turn of the event loop has left the process. */
export function crashPointAfterWrites(name: CrashPoint): void {
  if (crashAt === null) return
  setImmediate(() => crashPoint(name))
}
