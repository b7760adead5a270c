import type { Network } from './network.js'
import type { Plant } from './plants.js'
import type { Scheduler } from './scheduler.js'
import type { Truth } from './truth.js'

/** What the parts of a simulation share. */
export interface World {
  readonly seed: number
  readonly scheduler: Scheduler
  readonly network: Network
  readonly truth: Truth
  /** The bug that is planted; null in earnest. */
  readonly plant: Plant | null
}
