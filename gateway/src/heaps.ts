/**
 * V8's heaps, of a size that they keep. Left to themselves they grow for hours, as if memory leaked: a young generation doubles whenever
 * enough has survived in it, in Node 24 to 134 MB a thread; and what becomes garbage when it is old, which is little in a broker, may
 * lie until the heap is a multiple of what lives in it.
 */
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import type { ResourceLimits } from 'node:worker_threads'

/** How much a heap may grow before it is collected as a whole. */
const GROWTH_PERCENT = 20

/** V8's own limit for years, MiB a semi-space. */
const SEMI_SPACE_MAX = 16

/** A young generation has two. */
const SEMI_SPACES = 2

/** V8 counts a third for what is large. */
const SPACES = 3

/**
 * Has heaps be collected before they grow by much, and gives this thread the young generation that it keeps, of so many MiB a
 * semi-space. Holds for workers that are started from now on as well; `youngGenerationOf` says how large theirs may be.
 */
export function settleHeaps(semiSpaceMebibytes = SEMI_SPACE_MAX): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`)
  setFlagsFromString(`--min-semi-space-size=${SEMI_SPACE_MAX}`) // of workers, as far as their limits allow: they begin with what they would come to
  growYoungGeneration(SEMI_SPACES * semiSpaceMebibytes * 2 ** 20)
  setFlagsFromString('--semi-space-growth-factor=1')
}

/** A limit for a worker's young generation, in MiB a semi-space: 4 do for one that keeps little of what it makes. */
export function youngGenerationOf(semiSpaceMebibytes = 4): ResourceLimits {
  return { maxYoungGenerationSizeMb: SPACES * semiSpaceMebibytes }
}

/** In chunks of 1.8 MB that survive; nine are enough for 16 MiB a semi-space, except in Node 26, which grows more slowly. */
const CHUNKS_MAX = 16

function growYoungGeneration(bytes: number): void {
  const kept: unknown[][] = []
  while (kept.length < CHUNKS_MAX && youngGenerationBytes() < bytes) kept.push(Array.from({ length: 10_000 }, () => new Array(16)))
}

function youngGenerationBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_size ?? 0
}
