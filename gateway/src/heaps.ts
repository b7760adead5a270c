/** How much memory V8's heaps may take beyond what lives in them. Left to itself it takes more for hours, as if memory leaked. */
import { setFlagsFromString } from 'node:v8'
import type { ResourceLimits } from 'node:worker_threads'

/**
 * How much a heap may grow before it is collected as a whole. V8 waits for a multiple where little becomes garbage that is old, as in
 * a broker, which makes most of its objects for a moment.
 */
const GROWTH_PERCENT = 20

/** For all threads of this process, those that it will start as well. */
export function growHeapsSlowly(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`)
}

/** V8's name for it is the sum of three. */
const SPACES = 3

/**
 * A worker whose young generation grows up to so many MiB a semi-space, and no further: V8 doubles it whenever enough has survived in
 * it, be it in hours, up to 16, or 64 in Node 24.
 */
export function youngGenerationOf(mebibytes: number): ResourceLimits {
  return { maxYoungGenerationSizeMb: SPACES * mebibytes }
}
