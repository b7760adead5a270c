/**
 * A test-only switch: `TIDEMARK_CRASH_AT=<point>:<k>` makes the process kill itself with SIGKILL right after the k-th time that
 * it reaches the point. Proofs of recovery use it to land where it hurts; unset it costs one comparison. Counted per thread.
 */
const [crashName, crashCount] = (process.env.TIDEMARK_CRASH_AT ?? '').split(':')

let left = Number(crashCount)

export type CrashPoint =
  | 'append'
  | 'flush'
  | 'commit'
  | 'rename'
  | 'snapshot'
  | 'compact-staged'
  | 'compact-commit'
  | 'compact-moved'
  | 'compact-rename'
  | 'repair-flush'
  | 'repair-commit'
  | 'repair-rename'
  | 'reprocess-replay'
  | 'reprocess-staged'
  | 'reprocess-commit'

export function crashPoint(name: CrashPoint): void {
  if (name === crashName && --left === 0) process.kill(process.pid, 'SIGKILL')
}
