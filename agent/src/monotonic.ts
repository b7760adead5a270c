/**
 * The clock that never steps: ms since the machine was booted (CLOCK_MONOTONIC), the same for every process of a boot, so that a
 * reading which one process took can be rebased by another.
 */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000
}
