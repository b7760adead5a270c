/** What the configuration says of backlogs: how fast devices that come back may drain them, all together. */
import { parseRate } from '@tidemark/protocol'
import { z } from 'zod'

export interface DrainConfig {
  /** Readings a second that all devices in backlog share. */
  readonly readingsPerSecond: number
  /** No device is granted less, in readings a second. */
  readonly leastPerSecond: number
  /** A device is in backlog from so many readings on that it has sampled and the gateway has not seen. */
  readonly backlogReadings: number
}

const readingsRate = z
  .string()
  .refine(text => parseRate(text)?.unit === 'readings', 'write readings a second, like 50000/s')
  .transform(text => parseRate(text)!.perSecond)

/** 50,000/s is a small part of what 2 shared cores hold in batches of 60 (load/RESULTS.md): live readings go first. */
export const drainSchema = z.strictObject({
  max_rate: z
    .union([z.literal('none').transform(() => null), readingsRate], 'write readings a second, like 50000/s, or none')
    .prefault('50000/s'),
  least_rate: readingsRate.prefault('1/s'),
  backlog: z.int().min(4).default(600)
})

/** null: nothing is granted, whoever comes back. */
export function drainConfig({ max_rate, least_rate, backlog }: z.output<typeof drainSchema>): DrainConfig | null {
  return max_rate === null ? null : { readingsPerSecond: max_rate, leastPerSecond: least_rate, backlogReadings: backlog }
}
