/**
 * How large V8's heaps are. Left to themselves they grow for hours, as if memory leaked: what becomes garbage when it is old, which is
 * little in a broker, lies until the heap is a multiple of what lives in it; and a young generation doubles whenever enough has
 * survived in it, in Node 24 to 134 MB a thread.
 */
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import type { ResourceLimits } from 'node:worker_threads'

/** How much a heap may grow before it is collected as a whole. */
const GROWTH_PERCENT = 20

/** What a young generation comes to, in MiB a semi-space, where nothing limits it to less. */
const SEMI_SPACE_MEBIBYTES = 16

/** V8 counts a third for what is large. */
const SPACES = 3

const LOOK_MS = 50

/**
 * Settles the heaps of this thread, and of workers that it will start: they are collected before they grow by much; and young
 * generations are as large from the start as they may be. V8 begins that of the main thread at 1 MB, and goes back to it when there is
 * nothing to do: it grows in one step.
 */
export function settleHeaps(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`)
  setFlagsFromString(`--min-semi-space-size=${SEMI_SPACE_MEBIBYTES}`) // of workers, as far as their limits allow
  growInOneStep()
  setInterval(growInOneStep, LOOK_MS).unref()
}

/** The next step leads to the whole size; from there, the factor 1 leads nowhere. */
function growInOneStep(): void {
  const { space_used_size: used, space_available_size: left } = getHeapSpaceStatistics().find(space => space.space_name === 'new_space')!
  setFlagsFromString(`--semi-space-growth-factor=${Math.max(1, Math.floor((SEMI_SPACE_MEBIBYTES * 2 ** 20) / (used + left)))}`)
}

/** A limit for a worker's young generation, in MiB a semi-space: 4 do for one that keeps little of what it makes. */
export function youngGenerationOf(semiSpaceMebibytes = 4): ResourceLimits {
  return { maxYoungGenerationSizeMb: SPACES * semiSpaceMebibytes }
}
