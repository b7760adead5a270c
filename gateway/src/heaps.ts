/**
 * How far V8's heaps may grow. Left to themselves they do for hours, as if memory leaked: what becomes garbage when it is old, which is
 * little in a broker, lies until the heap is a multiple of what lives in it; and a young generation doubles whenever enough has
 * survived in it, in Node 24 to 134 MB a thread.
 */
import { setFlagsFromString } from 'node:v8'
import type { ResourceLimits } from 'node:worker_threads'

/** How much a heap may grow before it is collected as a whole. */
const GROWTH_PERCENT = 20

/** V8 counts two semi-spaces, and a third for what is large. */
const SPACES = 3

/** Has the heaps of all threads of this process, those that it will start as well, collected before they grow by much. */
export function growHeapsSlowly(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`)
}

/** A limit for a worker's young generation, in MiB a semi-space: 4 do for one that keeps little of what it makes. */
export function youngGenerationOf(semiSpaceMebibytes = 4): ResourceLimits {
  return { maxYoungGenerationSizeMb: SPACES * semiSpaceMebibytes }
}
